"""The work a program with loops may spend, counted during evaluation.

A tree without loops costs at most its nodes times the longest value. Nested loops multiply, and a list that holds the
same list twice doubles without getting longer, so there every element visited and every value handled is charged
against one account.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rules.errors import EvaluationError
from rules.limits import MAX_WORK
from rules.values import Value

ACCOUNT = "@work"  # where an evaluation keeps its account; no text can spell the name
_CHARACTERS_PER_UNIT = 64  # copying or comparing that many costs about one node evaluation


class Account:
    """What is left to spend in one evaluation."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_WORK

    def charge(self, units: int) -> None:
        """Spend units. Raises EvaluationError when there are not enough."""
        self.left -= units
        if self.left < 0:
            raise EvaluationError(f"the loops of this expression need more than {MAX_WORK} steps")

    def charge_values(self, values: Iterable[Value]) -> None:
        """Spend what it takes to look at all of these values, however they nest."""
        waiting: list[Any] = list(values)
        while waiting:
            value = waiting.pop()
            if isinstance(value, str | bytes):
                self.charge(len(value) // _CHARACTERS_PER_UNIT)
            elif isinstance(value, dict):
                self.charge(2 * len(value))
                waiting.extend(value.values())
            elif isinstance(value, list | tuple):
                self.charge(len(value))
                waiting.extend(value)
