"""Features: which attributes models may learn from, and which of them the purpose of an action forbids.

An attribute that follows from others inherits what they forbid, so a feature cannot be smuggled in under another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from decisioning.catalog.derived import DerivedAttribute
from decisioning.catalog.schema import RULE_TYPES, Schema
from decisioning.catalog.strategy import Action

# How a model reads the values of a type. A time counts as the days since then; a list has no number of its own.
KIND_OF_TYPE = {
    "int": "numeric",
    "double": "numeric",
    "timestamp": "numeric",
    "string": "categorical",
    "bool": "flag",
}
_TYPE_NAMES = {each: name for name, each in RULE_TYPES.items()}


def features_of(schema: Schema, derived: Iterable[DerivedAttribute]) -> dict[str, str]:
    """Attribute path -> numeric, categorical or flag."""
    types = {path: each.type for path, each in schema.attributes.items() if each.feature}
    private = schema.attributes.keys() - types.keys()
    types |= {each.name: _TYPE_NAMES.get(each.type, "") for each in derived if each.reads.isdisjoint(private)}
    return {path: KIND_OF_TYPE[name] for path, name in types.items() if name in KIND_OF_TYPE}


def barred_of(
    actions: Iterable[Action], schema: Schema, derived: Iterable[DerivedAttribute]
) -> Mapping[str, frozenset[str]]:
    """Action key -> the attributes that its purpose may not use, for actions that have any."""
    limits = {path: each.allowed_for for path, each in schema.attributes.items()}
    limits |= {each.name: each.allowed_for for each in derived}
    by_purpose = {
        purpose: frozenset(path for path, allowed in limits.items() if allowed is not None and purpose not in allowed)
        for purpose in schema.purposes
    }
    return {action.key: barred for action in actions if (barred := by_purpose.get(action.purpose))}
