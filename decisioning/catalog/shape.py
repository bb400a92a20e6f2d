"""Shapes: what a file may contain, declared, and checked with all faults at once.

A shape checks a node and gives back what is left to work with: entries that break their shape are dropped, a collection
that is none becomes an empty one. Later checks therefore meet only values of the declared kind, and one fault never
causes another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from collections.abc import Mapping as Names
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.yaml_text import Listing, Mapping, Node, Scalar
from decisioning.nouns import counted

WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")
DOTTED = re.compile(r"[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63}){0,3}")


class Shape(Protocol):
    """One kind of value."""

    def check(self, node: Node, faults: Faults) -> Node | None:
        """Note what is wrong; what is left of the node, or None when nothing is."""
        ...


def describe(node: Node) -> str:
    """A value in an author's words."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Listing):
        return "a list"
    value = node.value if isinstance(node, Scalar) else None
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the number {value}" if isinstance(value, (int, float)) else f"the text {value!r}"


@dataclass(frozen=True, slots=True)
class Anything:
    """Checked elsewhere."""

    def check(self, node: Node, faults: Faults) -> Node | None:
        return node


@dataclass(frozen=True, slots=True)
class Text:
    """Text, not empty; of a pattern, or one of a few words."""

    pattern: re.Pattern[str] | None = None
    form: str = ""  # the pattern in words
    words: tuple[str, ...] = ()

    def check(self, node: Node, faults: Faults) -> Node | None:
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(value, str):
            number = isinstance(value, (int, float))
            way_out = f'Put it in quotes: "{str(value).lower()}"' if number else "Write one line of text"
            faults.add(node, f"expected text, found {describe(node)}", way_out)
            return None
        if not value.strip():
            faults.add(node, "expected text, found an empty one", "Write it, or remove the line")
        elif self.words and value not in self.words:
            faults.add(node, f"unknown word {value!r}", known(value, self.words))
        elif self.pattern and not self.pattern.fullmatch(value):
            faults.add(node, f"{value!r} is not {self.form}", f"Write {self.form}")
        else:
            return node
        return None


@dataclass(frozen=True, slots=True)
class Expression(Text):
    """Text in the language of rules."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number within bounds; a whole one where parts make no sense."""

    minimum: float = -math.inf
    maximum: float = math.inf
    whole: bool = False

    def check(self, node: Node, faults: Faults) -> Node | None:
        value = node.value if isinstance(node, Scalar) else None
        kind = "a whole number" if self.whole else "a number"
        if (
            isinstance(value, bool)
            or not isinstance(value, int if self.whole else (int, float))
            or not math.isfinite(value)
        ):
            faults.add(node, f"expected {kind}, found {describe(node)}", "Write digits without quotes or units")
            return None
        if not self.minimum <= value <= self.maximum:
            faults.add(node, f"{value} is out of bounds", f"Write {kind} {self._bounds()}")
            return None
        return node

    def _bounds(self) -> str:
        if math.isinf(self.maximum):
            return f"of at least {self.minimum:g}"
        return f"from {self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def check(self, node: Node, faults: Faults) -> Node | None:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node
        faults.add(node, f"expected true or false, found {describe(node)}", "Write true or false without quotes")
        return None


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of one kind of thing, without repeats of the same text."""

    item: Shape
    least: int = 0

    def check(self, node: Node, faults: Faults) -> Node | None:
        if not isinstance(node, Listing):
            faults.add(
                node, f"expected a list, found {describe(node)}", "Write [one, two], or one line with a dash for each"
            )
            return Listing(node.file, node.line, node.column)
        if len(node.items) < self.least:
            found = counted(len(node.items), "entry", "entries")
            faults.add(node, f"the list has {found}", f"Name at least {self.least}")
        kept = [left for item in node.items if (left := self.item.check(item, faults)) is not None]
        return Listing(node.file, node.line, node.column, _without_repeats(kept, faults))


def _without_repeats(items: list[Node], faults: Faults) -> list[Node]:
    seen: set[Any] = set()
    kept = []
    for item in items:
        if isinstance(item, Scalar) and isinstance(item.value, str):
            if item.value in seen:
                faults.add(item, f"{item.value!r} stands twice in this list", "Remove one of them")
                continue
            seen.add(item.value)
        kept.append(item)
    return kept


@dataclass(frozen=True, slots=True)
class Named:
    """Things of one kind under names of the author's choice."""

    item: Shape
    pattern: re.Pattern[str] | None = WORD
    form: str = "a name of lower-case letters, digits and _"

    def check(self, node: Node, faults: Faults) -> Node | None:
        mapping = _as_mapping(node, faults)
        kept = replace(mapping, entries={})
        for name, value in mapping.entries.items():
            if self.pattern and not self.pattern.fullmatch(name):
                faults.add(mapping.keys[name], f"{name!r} is not {self.form}", f"Write {self.form}")
            left = self.item.check(value, faults)
            if left is not None:
                kept.entries[name] = left
        return kept


@dataclass(frozen=True, slots=True)
class Record:
    """A closed set of entries, each of its own kind."""

    required: Names[str, Shape] = field(default_factory=dict)
    optional: Names[str, Shape] = field(default_factory=dict)

    def check(self, node: Node, faults: Faults) -> Node | None:
        mapping = _as_mapping(node, faults)
        kept = replace(mapping, entries={})
        for name, value in mapping.entries.items():
            shape = self.required.get(name) or self.optional.get(name)
            if shape is None:
                faults.add(mapping.keys[name], f"unknown key {name!r}", known(name, [*self.required, *self.optional]))
                continue
            left = shape.check(value, faults)
            if left is not None:
                kept.entries[name] = left
        for name in self.required:
            if mapping is node and name not in mapping.entries:
                faults.add(mapping.heading, f"{name!r} is missing here", f"Add {name}: …")
        return kept


def _as_mapping(node: Node, faults: Faults) -> Mapping:
    if isinstance(node, Mapping):
        return node
    faults.add(node, f"expected names with values, found {describe(node)}", "Write name: value")
    return Mapping(node.file, node.line, node.column)


def expressions_in(shape: Shape, node: Node) -> Iterator[Scalar]:
    """The texts of a tree that its shape declares as expressions; what breaks its shape is passed over."""
    match shape, node:
        case Expression(), Scalar(value=str()):
            yield node
        case Listed(item=item), Listing(items=items):
            for each in items:
                yield from expressions_in(item, each)
        case Named(item=item), Mapping(entries=entries):
            for each in entries.values():
                yield from expressions_in(item, each)
        case Record(), Mapping(entries=entries):
            shapes = {**shape.required, **shape.optional}
            for name, each in entries.items():
                if name in shapes:
                    yield from expressions_in(shapes[name], each)
