"""Saturation: the highest rate that a service keeps up with."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.drive import Measured

GROWTH = 1.5  # from one rate to the next, until one is too much
EXACTNESS = 0.05  # of the rate that is found
P99_MAX_S = 0.1  # slower than this it does not keep up: a queue grows, whatever the throughput says
KEPT_UP_SHARE = 0.99  # of the offered rate, answered


def saturation(holds: Callable[[float], bool], *, first: float) -> float:
    """The highest rate found to hold, within EXACTNESS of one that did not; 0 when not even a tenth of `first` does."""
    low, high = 0.0, first
    while holds(high):
        low, high = high, high * GROWTH
    while low == 0.0 and high > first / 10:
        low, high = (high / 2, high) if holds(high / 2) else (0.0, high / 2)
    while high - low > EXACTNESS * high and low > 0.0:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def keeps_up(measured: Measured, per_second: float) -> bool:
    """Every answer came, most of them soon, and as many as were asked for."""
    slow = [each for each in measured.latencies.values() if (each.percentile(0.99) or each.max_s) > P99_MAX_S]
    return not measured.errors and not slow and measured.per_second >= KEPT_UP_SHARE * per_second
