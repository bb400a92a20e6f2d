"""Throttle: how often each of many callers may come who hold no API key.

One process counts for itself. Callers are remembered up to a bound, the one that was silent longest is forgotten first:
whoever floods with ever new names pushes out others' counts, which only makes room for them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from api.errors import Problem

REMEMBERED_MAX = 50_000  # callers, about 10 MB


class Throttle:
    """A token bucket for each caller: `burst` at once, `per_second` in the long run."""

    def __init__(self, *, per_second: float, burst: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock_s = clock_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> level, as of second

    def take(self, caller: str, where: str) -> None:
        """Count one request; raises Problem, blaming `where`, for one too many."""
        if not self.allows(caller):
            message = f"More than {self._per_second:g} requests a second. Ask for everything in one request, or wait."
            raise Problem("rate_limited", message, where, retry_after_s=1)

    def allows(self, caller: str) -> bool:
        """Count one request; False for one too many, which is not counted."""
        now_s = self._clock_s()
        level, since_s = self._buckets.pop(caller, (self._burst, now_s))
        level = min(self._burst, level + (now_s - since_s) * self._per_second)
        self._buckets[caller] = (level - 1 if level >= 1 else level, now_s)
        if len(self._buckets) > REMEMBERED_MAX:
            self._buckets.popitem(last=False)
        return level >= 1
