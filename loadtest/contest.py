"""Contest: servers that are asked in turns, on one core, and what a request costs each.

Rounds go from one to the next and start again, so that a machine that slows down slows all of them. Ratios are taken
within a round, and of the rounds the median counts. Servers are asked flat out over a few connections: CPU time per
request hardly depends on the rate, and latencies of such a run mean nothing and are not shown.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from loadtest.accounting import usages
from loadtest.drive import Driver
from loadtest.service import Service
from loadtest.traffic import FRESH, LEASED, ONLY_FRESH, ONLY_LEASED, Asked, DecisionTraffic, Shares, Traffic, Verdict

CONNECTIONS = 16
FRESH_NAME, LEASED_NAME = "nextbest, fresh", "nextbest, leased"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much, over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Round by round, in order. Raises ValueError when they have not as many rounds."""
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        return cls(median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"

    def as_json(self) -> dict[str, float]:
        """Rounded."""
        return {"median": round(self.median, 3), "low": round(self.low, 3), "high": round(self.high, 3)}


@dataclass(slots=True)
class Contestant:
    """One server under one kind of request, and what its rounds found."""

    address: tuple[str, int]
    roles: Mapping[str, int]
    traffic: Traffic
    count: int  # requests in a round
    connections: int = CONNECTIONS
    expected: str | None = None  # the kind that answers should be of; None: any
    server_us: list[float] = field(default_factory=list)
    store_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """One round."""
        before = usages(self.roles)
        measured = Driver(self.address, self.traffic, connections_max=self.connections).flat_out(self.count)
        spent = {role: usage.since(before[role]).cpu_s for role, usage in usages(self.roles).items()}
        answered = max(measured.count, 1)
        self.server_us.append(spent["server"] / answered * 1e6)
        self.store_us.append(spent["store"] / answered * 1e6)
        self.per_second.append(measured.per_second)
        self.kinds.update({kind: each.count for kind, each in measured.latencies.items()})
        self.errors.update(measured.errors)

    @property
    def sum_us(self) -> list[float]:
        """Server and store together."""
        return [server + store for server, store in zip(self.server_us, self.store_us, strict=True)]

    @property
    def share_as_expected(self) -> float:
        """Of the answers that were of the kind that was asked for."""
        return self.kinds[self.expected] / max(self.kinds.total(), 1) if self.expected else 1.0

    def as_json(self) -> dict[str, Any]:
        """Medians and all rounds."""
        return {
            "server_us": round(median(self.server_us), 1),
            "store_us": round(median(self.store_us), 1),
            "sum_us": round(median(self.sum_us), 1),
            "server_us_rounds": [round(figure, 1) for figure in self.server_us],
            "store_us_rounds": [round(figure, 1) for figure in self.store_us],
            "per_second": round(median(self.per_second)),
            "share_as_expected": round(self.share_as_expected, 3),
            "errors": dict(self.errors),
        }


@dataclass(slots=True)
class OneKind:
    """Traffic that shares its customers with another kind: who was asked freshly is rendered for later."""

    traffic: DecisionTraffic
    shares: Shares

    def next(self) -> Asked:
        """A request of this kind."""
        self.traffic.with_shares(self.shares)
        return self.traffic.next()

    def answered(self, asked: Asked, status: int, body: bytes) -> Verdict:
        """As the shared traffic says."""
        return self.traffic.answered(asked, status, body)


def ours(
    service: Service, traffic: DecisionTraffic, count: int, *, connections: int = CONNECTIONS
) -> dict[str, Contestant]:
    """The service, fresh decisions and renders of what was promised apart."""
    served = {role: pid for role, pid in service.roles.items() if role in ("server", "store")}
    return {
        name: Contestant(service.address, served, OneKind(traffic, shares), count, connections, kind)
        for name, shares, kind in ((FRESH_NAME, ONLY_FRESH, FRESH), (LEASED_NAME, ONLY_LEASED, LEASED))
    }


def run_rounds(contestants: Mapping[str, Contestant], rounds: int) -> None:
    """All of them, in turns."""
    for number in range(1, rounds + 1):
        for contestant in contestants.values():
            contestant.run()
        told = ", ".join(f"{name} {each.server_us[-1]:.0f}" for name, each in contestants.items())
        print(f"loadtest: round {number} of {rounds}, server µs: {told}", file=sys.stderr, flush=True)
