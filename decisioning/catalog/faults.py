"""Faults: what is wrong in a strategy's text, where exactly, and the way out.

Every stage of loading adds to one `Faults` and goes on, so that an author sees everything at once. Positions count from
1, columns in characters, as editors show them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing to mend; printed as `file:line:column: message. way out`."""

    file: str
    line: int
    column: int
    message: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}. {self.way_out}"


class Place(Protocol):
    """Anything with a position in a file."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Faults:
    """Collects faults; the same fault met twice (a rule shared by two checks) counts once."""

    def __init__(self) -> None:
        self._found: set[Fault] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, place: Place, message: str, way_out: str) -> None:
        """Note a fault at the position of a node."""
        self._found.add(Fault(place.file, place.line, place.column, message, way_out))

    def sorted(self) -> list[Fault]:
        """All faults by file, line and column."""
        return sorted(self._found)


def known(name: str, names: Iterable[str]) -> str:
    """The way out of an unknown name: the nearest known ones, or all of them while they are few."""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not names:
        return "None are declared"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"Known: {', '.join(names[:8])}{more}"
