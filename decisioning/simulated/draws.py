"""Draws: random numbers that are the same on every machine and Python.

Only `random.random` is promised to stay as it is from one Python to the next, so everything here is made of it. Each
thing that is drawn has a generator of its own, named by the seed and by what it is: customer 7 is the same person
whether ten or a million are written, and another rule changes no customer.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


class Draws:
    """A stream of draws for one purpose."""

    def __init__(self, seed: int, *purpose: str | int) -> None:
        self.uniform = Random(":".join(map(str, (seed, *purpose)))).random

    def chance(self, share: float) -> bool:
        """True so often."""
        return self.uniform() < share

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.uniform() * (high - low + 1))

    def one(self, items: Sequence[Item]) -> Item:
        """Any of them."""
        return items[int(self.uniform() * len(items))]

    def drawn(self, shares: Sequence[tuple[Item, float]]) -> Item:
        """One of them, each as often as its share says; the first also for what the shares lack of 1."""
        left = self.uniform()
        for item, share in shares:
            left -= share
            if left < 0.0:
                return item
        return shares[0][0]

    def early(self, items: Sequence[Item]) -> Item:
        """One of them, the first far more often than the last: some attributes stand in every second rule."""
        return items[int(self.uniform() ** 2 * len(items))]
