"""Derivations: derived attributes as authors wrote them, put into the order in which they build on each other.

`derived.yaml` reads downwards: an expression may name what stands above it. Tables have no place among those lines, so
a circle through one is found by following the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Names
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, NoReturn

from decisioning.catalog.derived import DerivedAttribute
from decisioning.catalog.expressions import NOBODY, Expressions
from decisioning.catalog.faults import Faults
from decisioning.catalog.schema import RULE_TYPES
from decisioning.catalog.tables import TableDraft
from decisioning.catalog.template import Piece
from decisioning.catalog.yaml_text import Mapping, Node, Scalar
from rules import DYN, EvaluationError

LEVELS_MAX = 16  # of derived attributes that read derived attributes: each takes a few frames of Python's stack


@dataclass(frozen=True, slots=True)
class Formula:
    """One entry of derived.yaml."""

    name: str
    heading: Node
    text: Scalar | None
    stated: str | None  # its type

    def mentions(self, expressions: Expressions) -> Iterator[tuple[str, Node]]:
        """The derived attributes its expression names, and where."""
        if self.text is not None:
            for path, offset in expressions.derived_in(Piece(self.text.value, 0)).items():
                yield path, self.text.at(offset)

    def attribute(self, expressions: Expressions, faults: Faults) -> DerivedAttribute | None:
        """The attribute, None when its expression is faulty."""
        if self.text is None:
            return None
        expected = RULE_TYPES[self.stated] if self.stated else None
        program = expressions.program(self.text, Piece(self.text.value, 0), NOBODY, expected)
        if program is None:
            return None
        if program.type not in RULE_TYPES.values():
            way_out = f"State its type, or turn it into one of {', '.join(RULE_TYPES)}"
            faults.add(self.text, f"{self.name} is of type {program.type}, which no attribute has", way_out)
            return None
        return DerivedAttribute(
            self.name,
            program.type,
            program,
            expressions.attributes_behind(program.reads),
            expressions.allowed_for(program.reads),
            expressions.reads_moment(program),
        )


Derivation = Formula | TableDraft


def derived_of(
    tree: Mapping, tables: Sequence[TableDraft], expressions: Expressions, faults: Faults
) -> dict[str, DerivedAttribute]:
    """All derived attributes by short name, each declared to the expressions that follow."""
    formulas = [
        Formula(f"derived.{name}", node.heading, node.scalar("expression"), node.value("type"))
        for name, node in tree.named()
    ]
    derivations = _by_name([*formulas, *(table for table in tables if table.gives == "derived")], faults)
    mentions = {
        name: {path: place for path, place in each.mentions(expressions) if path in derivations}
        for name, each in derivations.items()
    }
    refused = _refuse_what_stands_below([each.name for each in formulas], mentions, faults)
    attributes: dict[str, DerivedAttribute] = {}
    levels: dict[str, int] = {}
    for name in _in_order(mentions, refused, faults):
        levels[name] = 1 + max((levels[path] for path in mentions[name] if path in levels), default=0)
        if levels[name] > LEVELS_MAX and name not in refused:
            message = f"{name} builds on more than {LEVELS_MAX} levels of derived attributes"
            faults.add(derivations[name].heading, message, "Write some of them out")
            refused.add(name)
        found = None if name in refused else derivations[name].attribute(expressions, faults)
        # What is faulty is declared all the same: its readers are not wrong because of it.
        attribute = found or DerivedAttribute(name, DYN, _faulty, frozenset(), None, False)
        expressions.declare(attribute)
        attributes[attribute.short_name] = attribute
    return attributes


def _faulty(activation: Names[str, Any]) -> NoReturn:
    raise EvaluationError("a faulty strategy decides nothing")


def _by_name(derivations: Sequence[Derivation], faults: Faults) -> dict[str, Derivation]:
    named: dict[str, Derivation] = {}
    for each in derivations:
        first = named.setdefault(each.name, each)
        if first is not each:
            message = f"{each.name} exists already, at {first.heading.where}"
            faults.add(each.heading, message, "Rename or remove one of them")
    return named


def _refuse_what_stands_below(order: Sequence[str], mentions: dict[str, dict[str, Node]], faults: Faults) -> set[str]:
    """The formulas that name themselves or one further down; those names are taken out of their mentions."""
    refused = set()
    for position, name in enumerate(order):
        below = order[position:]
        for path in [path for path in mentions[name] if path in below]:
            if path == name:
                faults.add(mentions[name][path], f"{name} reads itself", "Name what it follows from")
            else:
                faults.add(mentions[name][path], f"{path} stands below {name}", "Move it above, where readers look")
            del mentions[name][path]
            refused.add(name)
    return refused


def _in_order(mentions: dict[str, dict[str, Node]], refused: set[str], faults: Faults) -> list[str]:
    """All names, each after those it mentions; every circle is noted where it closes, and cut there."""
    while True:
        try:
            return list(TopologicalSorter(mentions).static_order())
        except CycleError as error:
            circle = error.args[1]  # each is mentioned by the next, and the last is the first
            name, path = circle[1], circle[0]
            place = mentions[name].pop(path)
            chain = ", which reads ".join(reversed(circle[1:]))
            faults.add(place, f"{name} follows from itself: it reads {chain}", "Break the circle")
            refused.add(name)
