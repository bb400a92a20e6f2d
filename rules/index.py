"""Many predicates over many rows (actions), answered in one pass.

Rows share most of their predicates, so each distinct text is evaluated at most once per call, and its verdict is folded into all rows
that have it by one operation on a bit mask. A predicate whose rows have all been answered *no* is not evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rules.compile import Program
from rules.errors import EvaluationError


class PredicateIndex:
    """Rows of predicates; a row holds when all its predicates do. Programs of equal text must be of one environment."""

    def __init__(self, rows: Sequence[Sequence[Program]]) -> None:
        self._rows = tuple(tuple(row) for row in rows)
        masks: dict[str, int] = {}
        programs: dict[str, Program] = {}
        for position, row in enumerate(self._rows):
            for program in row:
                masks[program.text] = masks.get(program.text, 0) | 1 << position
                programs.setdefault(program.text, program)
        # The predicates of many rows first: a no there saves the most work behind it. Text breaks ties, so that order is stable.
        ordered = sorted(masks, key=lambda text: (-masks[text].bit_count(), text))
        self._distinct = tuple((programs[text].evaluate, masks[text]) for text in ordered)

    def evaluate(self, activation: Mapping[str, Any]) -> tuple[int, int]:
        """Bit masks of the rows answered no and of those that stay unknown, disjoint; the remaining rows hold.

        As in `&&`, one no outweighs any unknown.
        """
        no = unknown = 0
        for evaluate, rows in self._distinct:
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
