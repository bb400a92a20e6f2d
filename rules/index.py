"""Many predicates over many rows (actions), answered in one pass.

Rows share most of their predicates, so each distinct text is evaluated at most once per call, and its verdict is folded
into all rows that have it by one operation on a bit mask. Predicates that ask about the value of the same attribute
have it read and tested for them once. Two things are not evaluated at all: what none of the rows asked for has, or only
rows that have been answered *no*, and what needs an absent attribute. The latter is most of the work for an anonymous
visitor, and raising an error for each would cost ten times the look-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rules.analysis import Attribute
from rules.closures import is_absent, read_attribute
from rules.compile import Program
from rules.errors import EvaluationError
from rules.loops import Evaluate
from rules.types import BOOL
from rules.values import Value

_Predicates = tuple[tuple[Callable[[Any], bool], int, int], ...]  # each with the rows that have it, and all others


@dataclass(frozen=True, slots=True)
class _Group:
    """Predicates asked together: all about the value of one attribute, or all about the activation."""

    need: Attribute | None  # the attribute without which all of them are unknown, if there is one
    read: Evaluate | None  # reads the value they ask about; None when they ask about the activation
    rows: int  # every row that has one of the predicates
    predicates: _Predicates


class PredicateIndex:
    """Rows of predicates; a row holds when all its predicates do. All programs must be of one environment."""

    def __init__(self, rows: Sequence[Sequence[Program]]) -> None:
        """Raises ValueError for a program that is not of type bool."""
        self._rows = tuple(tuple(row) for row in rows)
        programs: dict[str, Program] = {}
        masks: Counter[str] = Counter()
        for position, row in enumerate(self._rows):
            for program in row:
                if program.type != BOOL:
                    raise ValueError(f"{program.text} is {program.type}; a predicate is checked to be bool")
                programs.setdefault(program.text, program)
                masks[program.text] |= 1 << position
        self._groups = _grouped(programs.values(), masks, (1 << len(self._rows)) - 1)

    def evaluate(self, activation: Mapping[str, Any], among: int) -> tuple[int, int]:
        """Bit masks of the rows answered no and of those that stay unknown, disjoint; the rest of `among` holds.

        among: the rows that are asked for. As in `&&`, one no outweighs any unknown.
        """
        # Rows are kept as those still left, because `& ~mask` on a long Python int costs three times as much as `&`.
        left, unknown = among, 0
        for group in self._groups:
            if not group.rows & left:
                continue
            if group.need is not None and is_absent(activation, group.need):
                unknown |= group.rows
                continue
            if group.read is None:
                left, unknown = _ask_where_open(group.predicates, activation, left, unknown)
                continue
            try:
                value = group.read(activation)
            except EvaluationError:
                unknown |= group.rows
            else:
                left, unknown = _ask(group.predicates, value, left, unknown)
        return among ^ left, unknown & left

    def predicates(self, row: int) -> tuple[Program, ...]:
        """The predicates of a row in their given order, for explanations."""
        return self._rows[row]


def _ask(predicates: _Predicates, value: Value, left: int, unknown: int) -> tuple[int, int]:
    """Rows still left and rows unknown, after questions about a value: each costs as little as a look at its rows."""
    for holds, rows, others in predicates:
        try:
            if not holds(value):
                left &= others
        except EvaluationError:
            unknown |= rows
    return left, unknown


def _ask_where_open(predicates: _Predicates, activation: Mapping[str, Any], left: int, unknown: int) -> tuple[int, int]:
    """The same for predicates that take more, such as a look into history: only those with a row that is still left."""
    for holds, rows, others in predicates:
        if rows & left:
            try:
                if not holds(activation):
                    left &= others
            except EvaluationError:
                unknown |= rows
    return left, unknown


def _grouped(programs: Iterable[Program], masks: Mapping[str, int], every_row: int) -> tuple[_Group, ...]:
    """Groups and their predicates, those of many rows first: a no there saves the most work behind it."""
    members: dict[tuple[Attribute | None, bool], list[Program]] = {}
    for program in programs:
        members.setdefault((min(program.needs, default=None), program.question is not None), []).append(program)
    groups = [_group(need, sharing, masks, every_row) for (need, _), sharing in members.items()]
    return tuple(sorted(groups, key=lambda group: (-group.rows.bit_count(), group.need or (), group.read is None)))


def _group(need: Attribute | None, programs: list[Program], masks: Mapping[str, int], every_row: int) -> _Group:
    # Text breaks ties, so that the order does not depend on the order of the rows.
    programs.sort(key=lambda program: (-masks[program.text].bit_count(), program.text))
    rows = 0
    predicates = []
    for program in programs:
        own = masks[program.text]
        rows |= own
        predicates.append((program.question.holds if program.question else program.evaluate, own, every_row ^ own))
    question = programs[0].question
    read = read_attribute(*question.attribute, question.type) if question else None
    return _Group(need, read, rows, tuple(predicates))
