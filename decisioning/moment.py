"""A moment: everything rules, models and content may see of one customer in one channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decisioning.catalog.derived import DerivedValues
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Snapshot
from decisioning.interactions import History
from decisioning.request import Request
from rules import Timestamp


@dataclass(slots=True)
class Moment:
    """The roots of rules (`customer`, `context`, `history`, `now`, `channel`, `derived`) and where they come from."""

    channel: str
    now_ms: int
    activation: dict[str, Any]

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The customer's attributes that were asked for and are known, typed, without their prefix."""
        return self.activation["customer"]  # type: ignore[no-any-return]  # roots are of many types

    def values(self, paths: frozenset[str]) -> dict[str, Any]:
        """Feature values by attribute path, known ones only."""
        values: dict[str, Any] = {"channel": self.channel}
        for root in ("customer", "context"):
            values.update(
                (path, value) for name, value in self.activation[root].items() if (path := f"{root}.{name}") in paths
            )
        return values


def moment_of(request: Request, snapshot: Snapshot, strategy: Strategy, reads: frozenset[str]) -> Moment:
    """What is known now, decoded as far as strategy and model can ask."""
    now_ms = snapshot.now_ms
    activation = {
        "customer": strategy.schema.attributes_of(snapshot.profile, now_ms, reads),
        "context": request.context,
        "history": History(snapshot.state, channel=request.channel, now_ms=now_ms),
        "now": Timestamp.from_ms(now_ms),
        "channel": request.channel,
    }
    if strategy.derived:
        activation["derived"] = DerivedValues(strategy.derived, activation.copy())
    return Moment(request.channel, now_ms, activation)
