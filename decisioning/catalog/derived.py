"""Derived attributes: what a strategy works out of a customer and a moment, once, under a name of its own.

A value comes from an expression (`derived.yaml`) or from the rows of a table (`tables/`). It is never stored: a
decision works it out when something asks, a replay works it out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rules import EvaluationError, Type


@dataclass(frozen=True, slots=True)
class DerivedAttribute:
    """One attribute that follows from others."""

    name: str  # derived.age_band
    type: Type
    evaluate: Callable[[Mapping[str, Any]], Any]  # raises EvaluationError when it is unknown
    reads: frozenset[str]  # what it asks for: attribute paths, those behind other derived attributes included
    allowed_for: frozenset[str] | None  # purposes for which everything it reads may be read; None: all
    reads_moment: bool  # it may change from render to render

    @property
    def short_name(self) -> str:
        """The name within its root: `age_band` of `derived.age_band`."""
        return self.name.partition(".")[2]


class DerivedValues(dict[str, Any]):
    """The `derived` root of rules: values by short name, each worked out when it is first asked for.

    A value that is unknown is as absent as a missing attribute. What was worked out is kept by the dictionary itself,
    so that asking again costs what asking for any attribute costs.
    """

    __slots__ = ("_attributes", "_roots", "_unknown")

    def __init__(self, attributes: Mapping[str, DerivedAttribute], roots: Mapping[str, Any]) -> None:
        super().__init__()
        self._attributes = attributes
        self._roots = roots
        self._unknown: set[str] = set()

    def __missing__(self, name: str) -> Any:
        attribute = self._attributes.get(name)
        if attribute is None or name in self._unknown:
            raise KeyError(name)
        try:
            # Joined here and not once: roots that held this mapping would be a cycle, left to the garbage collector.
            value = self[name] = attribute.evaluate({**self._roots, "derived": self})
        except EvaluationError:
            self._unknown.add(name)
            raise KeyError(name) from None
        return value

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        try:
            self[name]
        except KeyError:
            return False
        return True
