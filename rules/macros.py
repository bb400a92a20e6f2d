"""Macros that walk over a list or a map, by name and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to write a macro: how many loop variables, then how many expressions evaluated per element."""

    variable_count: int
    argument_count: int


# The same macro with a filter has one argument more, and the filter stands first.
MACROS: Mapping[str, tuple[Shape, ...]] = {
    "all": (Shape(1, 1), Shape(2, 1)),
    "exists": (Shape(1, 1), Shape(2, 1)),
    "exists_one": (Shape(1, 1), Shape(2, 1)),
    "filter": (Shape(1, 1),),
    "map": (Shape(1, 1), Shape(1, 2)),
    "transformList": (Shape(2, 1), Shape(2, 2)),
    "transformMap": (Shape(2, 1), Shape(2, 2)),
    "transformMapEntry": (Shape(2, 1), Shape(2, 2)),
}
SPELLINGS: Mapping[str, str] = {"existsOne": "exists_one"}  # CEL has two spellings; the tree keeps one


def shape_of(macro: str, argument_count: int) -> Shape | None:
    """The shape of a call with so many arguments in all, or None when the macro has none such."""
    shapes = MACROS.get(macro, ())
    return next((shape for shape in shapes if shape.variable_count + shape.argument_count == argument_count), None)
