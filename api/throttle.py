"""Throttle: how often each of many callers may come who hold no API key.

One process counts for itself. Callers are remembered up to a bound, the one that was silent longest is forgotten first:
whoever floods with ever new names pushes out others' counts, which only makes room for them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from api.errors import Problem

REMEMBERED_MAX = 50_000  # callers, about 10 MB while their names are short, which whoever names them sees to


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

    def give_back(self, caller: str) -> None:
        """A request that was counted was none."""
        if caller in self._buckets:
            level, since_s = self._buckets[caller]
            self._buckets[caller] = (min(self._burst, level + 1), since_s)


def network_of(address: str) -> str:
    """What one caller holds of the network: an IPv4 address, but the first half of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # no address at all, as of a test or a socket
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or f"{int(parsed) >> 64:x}::/64")
