"""Many predicates over many rows (actions), answered in one pass.

Rows share most of their predicates, so each distinct text is evaluated at most once per call, and its verdict is folded
into all rows that have it by one operation on a bit mask. Two things are not evaluated at all: a predicate whose rows
have all been answered *no*, and a predicate that needs an absent attribute. The latter is most of the work for an
anonymous visitor, and raising an error for each would cost ten times the look-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rules.analysis import Attribute
from rules.compile import Program
from rules.errors import EvaluationError
from rules.loops import Evaluate
from rules.types import BOOL


@dataclass(frozen=True, slots=True)
class _Group:
    """Predicates that need one attribute, or none they have in common."""

    need: Attribute | None
    rows: int  # every row that has one of the predicates
    predicates: tuple[tuple[Evaluate, int], ...]  # with the rows that have it


class PredicateIndex:
    """Rows of predicates; a row holds when all its predicates do. Programs of equal text must be of one environment."""

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
        self._groups = _grouped(programs.values(), masks)

    def evaluate(self, activation: Mapping[str, Any]) -> tuple[int, int]:
        """Bit masks of the rows answered no and of those that stay unknown, disjoint; the remaining rows hold.

        As in `&&`, one no outweighs any unknown.
        """
        no = unknown = 0
        for group in self._groups:
            if group.need is not None:
                variable, attribute = group.need
                holder = activation.get(variable)
                if type(holder) is dict and attribute not in holder:
                    unknown |= group.rows
                    continue
            for evaluate, rows in group.predicates:
                if rows & ~no:
                    try:
                        if not evaluate(activation):
                            no |= rows
                    except EvaluationError:
                        unknown |= rows
        return no, unknown & ~no

    def predicates(self, row: int) -> tuple[Program, ...]:
        """The predicates of a row in their given order, for explanations."""
        return self._rows[row]


def _grouped(programs: Iterable[Program], masks: Mapping[str, int]) -> tuple[_Group, ...]:
    """Groups and their predicates, those of many rows first: a no there saves the most work behind it."""
    members: dict[Attribute | None, list[Program]] = {}
    for program in programs:
        members.setdefault(min(program.needs, default=None), []).append(program)
    groups = []
    for need, sharing in members.items():
        # Text breaks ties, so that the order does not depend on the order of the rows.
        sharing.sort(key=lambda program: (-masks[program.text].bit_count(), program.text))
        rows = 0
        for program in sharing:
            rows |= masks[program.text]
        groups.append(_Group(need, rows, tuple((program.evaluate, masks[program.text]) for program in sharing)))
    return tuple(sorted(groups, key=lambda group: (-group.rows.bit_count(), group.need or ())))
