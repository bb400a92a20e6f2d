"""Schema: the attributes of customers and contexts, their types, quality rules and permitted purposes.

Typing is strict and guesses nothing: `true` is no int, "44" is no number, an int may stand for a double. Writing a
wrong value raises; reading one from a stored profile makes it *missing*, because a decision must not fail on what a
source once sent.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from collections.abc import Mapping as Names
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.yaml_text import Mapping
from decisioning.customer import Profile, SourceFacts
from decisioning.errors import InvalidAttribute
from rules import BOOL, DOUBLE, DYN, INT, STRING, TIMESTAMP, RuleError, Timestamp, Type, list_of

TEXT_LENGTH_MAX = 4_096  # code points
LIST_LENGTH_MAX = 1_000
DAY_MS = 86_400_000
_INT64 = 1 << 63

RULE_TYPES: Names[str, Type] = {
    "int": INT,
    "double": DOUBLE,
    "string": STRING,
    "bool": BOOL,
    "timestamp": TIMESTAMP,
    "list<string>": list_of(STRING),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One declared fact about a customer or a moment."""

    name: str  # customer.age
    type: str  # int, double, string, bool, timestamp or list<string>
    min: float | None
    max: float | None
    enum: frozenset[str] | None
    source: str | None  # the only system whose word counts; None: the latest word of any
    stale_after_ms: int | None  # older values are missing, by the source's time
    personal: bool  # sealed in records, kept out of logs
    allowed_for: frozenset[str] | None  # purposes of actions that may use it; None: all
    feature: bool  # models may learn from it

    @property
    def short_name(self) -> str:
        """The name within its root: `age` of `customer.age`."""
        return self.name.partition(".")[2]

    def typed(self, raw: Any) -> Any:
        """The value rules compute with. Raises InvalidAttribute with the reason."""
        value = reader_of(self)(raw)
        if value is None:
            raise InvalidAttribute(f"{self.name}: {_reason(self, raw)}")
        return value


Reader = Callable[[Any], Any]  # the typed value of a raw one (JSON), None when it is wrong


def reader_of(attribute: Attribute) -> Reader:
    """Types this attribute and holds it to its quality rules, without raising: every decision reads dozens of them."""
    convert, words = _CONVERTERS[attribute.type], attribute.enum
    if words is not None:
        if attribute.type == "string":
            return lambda raw: raw if type(raw) is str and raw in words else None
        return lambda raw: raw if convert(raw) is not None and words.issuperset(raw) else None
    if attribute.type not in ("int", "double"):
        return convert
    low = -math.inf if attribute.min is None else attribute.min
    high = math.inf if attribute.max is None else attribute.max
    return _ints(low, high) if attribute.type == "int" else _doubles(low, high)


def _reason(attribute: Attribute, raw: Any) -> str:
    """Why a raw value is none of this attribute's."""
    value = _CONVERTERS[attribute.type](raw)
    if value is None:
        return f"expected {_FORMS[attribute.type]}, found {_found(raw)}"
    if attribute.enum is not None:
        return f"{_found(raw)} is not one of {', '.join(sorted(attribute.enum))}"
    if attribute.min is not None and value < attribute.min:
        return f"{value} is below its minimum {attribute.min:g}"
    return f"{value} is above its maximum {attribute.max:g}"


def _text(raw: Any) -> str | None:
    return raw if type(raw) is str and len(raw) <= TEXT_LENGTH_MAX else None


def _ints(low: float, high: float) -> Reader:
    low, high = max(low, -_INT64), min(high, _INT64 - 1)
    return lambda raw: raw if type(raw) is int and low <= raw <= high else None


def _doubles(low: float, high: float) -> Reader:
    low, high = max(low, -sys.float_info.max), min(high, sys.float_info.max)  # what no number is outside of, is finite

    def read(raw: Any) -> float | None:
        if type(raw) is int and -_INT64 <= raw < _INT64:
            raw = float(raw)
        return raw if type(raw) is float and low <= raw <= high else None

    return read


def _bool(raw: Any) -> bool | None:
    return raw if type(raw) is bool else None


def _timestamp(raw: Any) -> Timestamp | None:
    if _text(raw) is None:
        return None
    try:
        return Timestamp.parse(raw)
    except (ValueError, RuleError):
        return None


def _texts(raw: Any) -> list[str] | None:
    if type(raw) is not list or len(raw) > LIST_LENGTH_MAX:
        return None
    for item in raw:
        if _text(item) is None:
            return None
    return raw


# One converter a type: the typed value, or None when the raw one (JSON) is of another kind.
_CONVERTERS: Names[str, Reader] = {
    "int": _ints(-math.inf, math.inf),
    "double": _doubles(-math.inf, math.inf),
    "string": _text,
    "bool": _bool,
    "timestamp": _timestamp,
    "list<string>": _texts,
}

_FORMS: Names[str, str] = {
    "int": "a whole number of 64 bits",
    "double": "a finite number",
    "string": f"text of at most {TEXT_LENGTH_MAX} characters",
    "bool": "true or false",
    "timestamp": "a time in RFC 3339 with its zone, like 2026-03-01T09:30:00Z",
    "list<string>": f"a list of at most {LIST_LENGTH_MAX} texts",
}


def _found(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


# What decoding needs of one attribute (short name, when it is stale, reader), and of all that come from one source.
_Step = tuple[str, int | None, Reader]
_Plan = tuple[tuple[str | None, list[_Step]], ...]


@dataclass(frozen=True)  # not with slots, beside which no cached property can live
class Schema:
    """All attributes by path (`customer.age`, `context.page`), and the purposes that actions may have."""

    attributes: Names[str, Attribute] = field(default_factory=dict)
    purposes: tuple[str, ...] = ()
    _plans: dict[frozenset[str] | None, _Plan] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def personal(self) -> frozenset[str]:
        """Paths of the attributes whose values are sealed in records and masked in answers."""
        return frozenset(path for path, each in self.attributes.items() if each.personal)

    @cached_property
    def personal_names(self) -> Names[str, frozenset[str]]:
        """The same by root, without it."""
        parts = [path.partition(".") for path in self.personal]
        return {each: frozenset(name for root, _, name in parts if root == each) for each in ("customer", "context")}

    def type_of(self, path: str) -> Type:
        """The type that rules see. Raises InvalidAttribute for an unknown path."""
        return RULE_TYPES.get(self._attribute(path).type, DYN)  # DYN: its type is a fault already

    def typed(self, name: str, raw: Any) -> Any:
        """The typed value of an attribute given by its path. Raises InvalidAttribute with the reason."""
        return self._attribute(name).typed(raw)

    def context_of(self, raw: Names[str, Any]) -> dict[str, Any]:
        """A request's context, typed. Raises InvalidAttribute for an unknown key or a wrong value."""
        return {name: self.typed(f"context.{name}", value) for name, value in raw.items()}

    def attributes_of(self, profile: Profile | None, now_ms: int, names: frozenset[str] | None) -> dict[str, Any]:
        """The `customer` root of rules: typed values by short name; what is unknown, stale or invalid is absent.

        names: the attribute paths that are asked for, others are not decoded; None for all.
        """
        values: dict[str, Any] = {}
        if profile is None:
            return values
        for source, steps in self._plan(names):
            if source is None:
                _decode_latest(profile, now_ms, steps, values)
                continue
            facts = profile.sources.get(source)
            if facts is not None:
                _decode(facts, now_ms, steps, values)
        return values

    def _attribute(self, path: str) -> Attribute:
        attribute = self.attributes.get(path)
        if attribute is None:
            # Who tells a context need not know how customers are described.
            nearby = [each for each in self.attributes if each.partition(".")[0] == path.partition(".")[0]]
            raise InvalidAttribute(f"{path}: unknown attribute. {known(path, nearby)}")
        return attribute

    def _plan(self, names: frozenset[str] | None) -> _Plan:
        """Attributes asked for, by source; kept, because a strategy asks for the same few sets for ever."""
        plan = self._plans.get(names)
        if plan is None:
            steps: dict[str | None, list[_Step]] = {}
            for path, each in self.attributes.items():
                if path.startswith("customer.") and (names is None or path in names):
                    steps.setdefault(each.source, []).append((each.short_name, each.stale_after_ms, reader_of(each)))
            plan = tuple(steps.items())
            self._plans[names] = plan
        return plan


def _decode(facts: SourceFacts, now_ms: int, steps: Iterable[_Step], values: dict[str, Any]) -> None:
    raw, times_ms, at_ms = facts.attributes, facts.times_ms, facts.at_ms
    for name, stale_after_ms, read in steps:
        found = raw.get(name)
        if found is None or (stale_after_ms is not None and now_ms - times_ms.get(name, at_ms) > stale_after_ms):
            continue
        value = read(found)
        if value is not None:
            values[name] = value


def _decode_latest(profile: Profile, now_ms: int, steps: list[_Step], values: dict[str, Any]) -> None:
    """Attributes without a declared source: later words replace earlier ones."""
    words: dict[tuple[int, str], list[_Step]] = {}  # what was said at once: when and by whom
    for source, facts in profile.sources.items():
        at_ms, times_ms = facts.at_ms, facts.times_ms
        if times_ms and len(profile.sources) > 1:  # a source that is alone replaces nothing
            for each in steps:
                words.setdefault((times_ms.get(each[0], at_ms), source), []).append(each)
        else:
            words[at_ms, source] = steps
    for word in sorted(words):
        _decode(profile.sources[word[1]], now_ms, words[word], values)


def schema_of(tree: Mapping, faults: Faults) -> Schema:
    """The schema a file declares; its shape is checked already."""
    purposes = tuple(node.value for node in tree.scalars("purposes"))
    attributes = {}
    for root in ("customer", "context"):
        for name, node in tree.mapping(root).entries.items():
            if isinstance(node, Mapping):
                attribute = _attribute(f"{root}.{name}", node, purposes, faults)
                attributes[attribute.name] = attribute
    return Schema(MappingProxyType(attributes), purposes)


def _attribute(path: str, node: Mapping, purposes: tuple[str, ...], faults: Faults) -> Attribute:
    kind = node.value("type", "")
    low, high = _bounds(kind, node, faults)
    for purpose in node.scalars("allowed_for"):
        if purpose.value not in purposes:
            faults.add(purpose, f"unknown purpose {purpose.value!r}", known(purpose.value, purposes))
    words = frozenset(item.value for item in node.scalars("enum"))
    days = node.value("stale_after_days")
    allowed = frozenset(item.value for item in node.scalars("allowed_for"))
    return Attribute(
        name=path,
        type=kind,
        min=low,
        max=high,
        enum=words or None,
        source=node.value("source"),
        stale_after_ms=None if days is None else round(days * DAY_MS),
        personal=node.value("personal", False),
        allowed_for=allowed or None,
        feature=node.value("feature", True),
    )


def _bounds(kind: str, node: Mapping, faults: Faults) -> tuple[float | None, float | None]:
    for name, kinds in (("min", ("int", "double")), ("max", ("int", "double")), ("enum", ("string", "list<string>"))):
        if name in node.entries and kind and kind not in kinds:
            faults.add(
                node.keys[name], f"{name} means nothing for the type {kind}", f"Only {' and '.join(kinds)} have it"
            )
    low, high = node.value("min"), node.scalar("max")
    if low is not None and high is not None and high.value < low:
        faults.add(high, f"max {high.value} is below min {low}", "Exchange them")
        return None, None
    return low, node.value("max")
