"""Histogram: durations in logarithmic buckets, so that a percentile is as exact at 100 µs as at 10 s.

A doubling has 64 buckets, each 1.1 % wider than the one before. Percentiles are the upper edge of their bucket: never
below the true value, and at most 1.1 % above it.
"""

from __future__ import annotations

from collections import Counter
from math import ceil, log2

BUCKETS_PER_DOUBLING = 64
ERROR_MAX = 2 ** (1 / BUCKETS_PER_DOUBLING) - 1
BEYOND_MIN = 10  # values that must lie beyond a percentile; with fewer it is an anecdote
SMALLEST_S = 1e-6  # everything below counts as this


class Histogram:
    """Counts of durations in seconds."""

    __slots__ = ("_counts", "count", "max_s")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.max_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        self._counts[int(BUCKETS_PER_DOUBLING * log2(max(duration_s / SMALLEST_S, 1.0)))] += 1
        self.count += 1
        self.max_s = max(self.max_s, duration_s)

    def merge(self, other: Histogram) -> None:
        """Count everything that another one has counted."""
        self._counts.update(other._counts)
        self.count += other.count
        self.max_s = max(self.max_s, other.max_s)

    def percentile(self, share: float) -> float | None:
        """Seconds that this share of durations does not exceed; None where too few lie beyond to say."""
        if self.count * (1.0 - share) < BEYOND_MIN - 1e-6:
            return None
        wanted, seen = ceil(share * self.count), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return float(min(SMALLEST_S * 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING), self.max_s))
        return None
