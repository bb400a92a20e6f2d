"""A moment: everything rules, models and content may see of one customer in one channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from decisioning.catalog.derived import DerivedValues
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Snapshot
from decisioning.interactions import DAY_MS, History
from decisioning.quiet_hours import quiet_until, zone_of
from decisioning.request import Request
from rules import Timestamp

ROOTS = ("customer", "context", "derived")  # what has attributes


@dataclass(slots=True)
class Moment:
    """The roots of rules (`customer`, `context`, `history`, `now`, `channel`, `derived`) and where they come from."""

    channel: str
    now_ms: int
    activation: dict[str, Any]
    quiet_until_ms: int | None = None  # until when nothing may be sent; None: it may, or nothing is being sent

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The customer's attributes that were asked for and are known, typed, without their prefix."""
        return self.activation["customer"]  # type: ignore[no-any-return]  # roots are of many types

    def values(self, paths: frozenset[str]) -> dict[str, Any]:
        """Feature values by attribute path, known ones only; a time is the days from it to now."""
        values: dict[str, Any] = {"channel": self.channel}
        for root, names in _by_root(paths):
            known = self.activation.get(root, ())
            for name, path in names:
                if name in known:
                    value = known[name]
                    values[path] = self._days_since(value) if isinstance(value, Timestamp) else value
        return values

    def _days_since(self, time: Timestamp) -> float:
        return (self.now_ms - time.to_ms()) / DAY_MS


@lru_cache(maxsize=256)  # a process asks for the features of its few models, for ever
def _by_root(paths: frozenset[str]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Root of the activation -> the names below it with their paths."""
    split = [(path.partition("."), path) for path in sorted(paths)]
    return tuple((root, tuple((name[2], path) for name, path in split if name[0] == root)) for root in ROOTS)


def moment_of(request: Request, snapshot: Snapshot, strategy: Strategy, reads: frozenset[str]) -> Moment:
    """What is known now, decoded as far as strategy and model can ask."""
    now_ms = snapshot.now_ms
    activation: dict[str, Any] = {
        "customer": strategy.schema.attributes_of(snapshot.profile, now_ms, reads),
        "context": request.context,
        "history": History(snapshot.state, channel=request.channel, now_ms=now_ms),
        "now": Timestamp.from_ms(now_ms),
        "channel": request.channel,
    }
    if strategy.derived:
        activation["derived"] = DerivedValues(strategy.derived, activation.copy())
    quiet = strategy.channels[request.channel].quiet
    if quiet is None or not request.sending:
        return Moment(request.channel, now_ms, activation)
    zone = zone_of(strategy, activation["customer"])
    return Moment(request.channel, now_ms, activation, quiet_until(quiet, zone, now_ms=now_ms))
