"""Lookups: what is asked about one subject, worked out beforehand for every value it can have.

Of a value only its place among the constants matters. Below, at and above n of them there are 2n + 1 places, and for
each the rows that it leaves are kept as one mask, so many questions cost two bisections and one operation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from math import nan

from rules.questions import Question
from rules.values import Value

Asked = Sequence[tuple[Question, int]]  # questions about one subject, each with the rows that have it


class Limits:
    """Questions about a value."""

    __slots__ = ("constants", "kept_at", "rows")

    def __init__(self, asked: Asked, every_row: int) -> None:
        self.constants = sorted({constant for question, _ in asked for constant in question.constants})
        self.rows = 0
        # A place of a value is to the place of a constant what the value is to the constant. NaN has the last of all.
        places = (*range(2 * len(self.constants) + 1), nan)
        self.kept_at = [every_row] * len(places)
        for question, rows in asked:
            self.rows |= rows
            others = every_row ^ rows
            constants = [2 * bisect_left(self.constants, each) + 1 for each in question.constants]
            for position, place in enumerate(places):
                if not question.holds(place, constants):
                    self.kept_at[position] &= others

    def kept(self, value: Value) -> int:
        """Every row but those that are answered no."""
        constants = self.constants
        return self.kept_at[bisect_left(constants, value) + bisect_right(constants, value) if value == value else -1]

    def left(self, value: Value, left: int, unknown: int) -> tuple[int, int]:
        """Of the rows left those that are not answered no, and the unknown ones."""
        return left & self.kept(value), unknown


class Listed:
    """Questions about keys of a mapping. Only keys that it lists are looked at, however many are asked about."""

    __slots__ = ("_by_key", "_kept")

    def __init__(self, asked: Asked, every_row: int) -> None:
        by_key: dict[str | None, list[tuple[Question, int]]] = {}
        for question, rows in asked:
            by_key.setdefault(question.key, []).append((question, rows))
        self._kept = every_row  # while nothing is listed
        self._by_key: dict[str | None, tuple[Limits, int]] = {}  # with the rows that a key has to be listed for
        for key, about in by_key.items():
            limits = Limits(about, every_row)
            kept = limits.kept(about[0][0].subject.unlisted)
            self._by_key[key] = limits, every_row ^ kept
            self._kept &= kept

    def left(self, answers: Mapping[str, Value], left: int, unknown: int) -> tuple[int, int]:
        """Of the rows left those that are not answered no, and the unknown ones."""
        kept, listed_for = left, self._kept
        for key, answer in answers.items():
            about = self._by_key.get(key)
            if about is None:
                continue
            limits, wanting = about
            listed_for |= wanting
            if answer is None:
                unknown |= limits.rows
            else:
                kept &= limits.kept(answer)
        return kept & listed_for, unknown
