"""Groups of predicates that are asked together, for the rows that are left.

Each group takes the rows left and the unknown ones, and returns them: less those it answers no, with those it cannot
answer. Rows are kept as those left, because `& ~mask` on a long Python int costs three times as much as `&`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Protocol

from rules.analysis import Attribute
from rules.closures import CLASSES, is_absent
from rules.compile import Program
from rules.errors import EvaluationError
from rules.lookups import Asked, Constants, Limits, Listed
from rules.questions import Topic

Activation = Mapping[str, Any]
Predicates = Sequence[tuple[Program, int]]  # each with the rows that have it


class Group(Protocol):
    """Predicates that are asked together."""

    rows: int  # every row that has one of them

    def ask(self, activation: Activation, left: int, unknown: int) -> tuple[int, int]:
        """The rows still left and the unknown ones, which may be left or not."""


class Evaluated:
    """Predicates that need the same attribute, or none, and are evaluated, those of many rows first: a no there saves
    the most work behind it.
    """

    __slots__ = ("_need", "_predicates", "rows")

    def __init__(self, need: Attribute | None, predicates: Predicates, every_row: int) -> None:
        self.rows = _all_rows(predicates)
        self._need = need
        ordered = sorted(predicates, key=lambda each: -each[1].bit_count())
        self._predicates: list[tuple[Callable[[Any], bool], int, int]] = [
            (program.evaluate, rows, every_row ^ rows) for program, rows in ordered
        ]

    def ask(self, activation: Activation, left: int, unknown: int) -> tuple[int, int]:
        """Only those with a row that is still left are evaluated: a look into history takes more than a look at it."""
        if self._need is not None and is_absent(activation, self._need):
            return left, unknown | self.rows
        for holds, rows, others in self._predicates:
            if rows & left:
                try:
                    if not holds(activation):
                        left &= others
                except EvaluationError:
                    unknown |= rows
        return left, unknown


class LookedUp:
    """Questions about one topic, which is read once for all of them."""

    __slots__ = ("_need", "_without", "lookup", "rows", "strict", "topic")

    def __init__(self, topic: Topic, asked: Asked, every_row: int) -> None:
        self.rows = _all_rows(asked)
        self.topic = topic
        self.lookup = Listed(asked, every_row) if topic.lists else Limits(asked, every_row)
        self.strict = _all_rows([each for each in asked if each[0].without is None])  # unknown without what it needs
        self._need = min(topic.needs, default=None)
        self._without = next((question.without for question, _ in asked if question.without is not None), None)

    def ask(self, activation: Activation, left: int, unknown: int) -> tuple[int, int]:
        if self._need is not None and is_absent(activation, self._need):
            return left, unknown | self.strict
        try:
            value = self.topic.read(activation)
        except EvaluationError:
            return left, unknown | (self.strict if self._does_without(activation) else self.rows)
        return self.lookup.left(value, left, unknown)

    def _does_without(self, activation: Activation) -> bool:
        try:
            return self._without is not None and bool(self._without(activation))
        except EvaluationError:
            return False


class LookedUpAttributes:
    """Questions about the attributes of one variable; each attribute is the topic of a group."""

    __slots__ = ("_attributes", "_groups", "_variable", "rows")

    def __init__(self, variable: str, groups: Sequence[LookedUp]) -> None:
        self.rows = reduce(or_, (group.rows for group in groups))
        self._variable = variable
        self._groups = groups
        self._attributes = list(map(_spelled_out, groups))

    # Most of what rules ask is found here, so what a group does with a plain value is spelled out to save five calls,
    # which are two thirds of the time. Whatever is not plain, as NaN, is left to the group.
    def ask(self, activation: Activation, left: int, unknown: int) -> tuple[int, int]:
        known = activation.get(self._variable)
        if type(known) is not dict:
            for group in self._groups:
                left, unknown = group.ask(activation, left, unknown)
            return left, unknown
        for name, class_, constants, kept_at, strict, group in self._attributes:
            value = known.get(name)
            if type(value) is class_ and value == value:
                left &= kept_at[bisect_left(constants, value) + bisect_right(constants, value)]
            elif value is None and name not in known:
                unknown |= strict
            else:
                left, unknown = group.ask(activation, left, unknown)
        return left, unknown


def _spelled_out(group: LookedUp) -> tuple[str, type | None, Constants, list[int], int, LookedUp]:
    assert group.topic.attribute is not None and isinstance(group.lookup, Limits)
    class_ = CLASSES.get(group.topic.type.kind)
    return group.topic.attribute[1], class_, group.lookup.constants, group.lookup.kept_at, group.strict, group


def _all_rows(about: Sequence[tuple[object, int]]) -> int:
    return reduce(or_, (rows for _, rows in about), 0)
