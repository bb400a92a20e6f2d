"""Comparison: CPU per request beside floors and peers, in one run, on one core, as ratios.

Rounds go from one to the next and start again, so that a machine that slows down slows all of them; of the rounds the
median counts. Servers are asked flat out over a few connections, as the floors' figures were always taken: CPU time per
request hardly depends on the rate, and latencies of such a run mean nothing and are not shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from loadtest.accounting import usages
from loadtest.chart import chart
from loadtest.drive import Driver, Measured
from loadtest.machine import machine
from loadtest.measurements import head, started
from loadtest.peers.running import PEERS, run_peers
from loadtest.report import in_columns, write
from loadtest.service import Bank, prepare, serving
from loadtest.traffic import ONLY_FRESH, ONLY_LEASED, Asked, DecisionTraffic, Shares, Traffic, Verdict

CONNECTIONS = 16
FRESH_NAME, LEASED_NAME = "nextbest, fresh", "nextbest, leased"
NAMES = (*PEERS, "nextbest")
BASE = "get"
# Requests of a round beside those of a decision: enough for about a second of CPU, which is counted in hundredths.
TIMES = {"bare": 16, "noop": 8, "get": 4, "afternoon": 0.5, "feast": 0.3, "growthbook": 0.4}


@dataclass(slots=True)
class Contestant:
    """One server under one kind of request, and what its rounds found."""

    address: tuple[str, int]
    roles: Mapping[str, int]
    traffic: Traffic
    count: int
    server_us: list[float] = field(default_factory=list)
    store_us: list[float] = field(default_factory=list)
    errors: int = 0

    def run(self) -> Measured:
        """One round."""
        before = usages(self.roles)
        measured = Driver(self.address, self.traffic, connections_max=CONNECTIONS).flat_out(self.count)
        spent = {role: usage.since(before[role]).cpu_s for role, usage in usages(self.roles).items()}
        answered = max(measured.count, 1)
        self.server_us.append(spent["server"] / answered * 1e6)
        self.store_us.append(spent["store"] / answered * 1e6)
        self.errors += measured.errors.total()
        return measured


def peers(bank: Bank, options: argparse.Namespace) -> None:
    """Interleaved rounds of all that are asked for; fresh decisions and renders apart."""
    prepared, before = prepare(bank, options.cache), machine()
    names = [name for name in PEERS if name in options.only]
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {}
        others = run_peers(names, options.cache, prepared / "strategy", customers=bank.customers, seed=bank.seed)
        for name, peer in stack.enter_context(others).items():
            count = round(options.requests * TIMES[name])
            contestants[name] = Contestant(peer.address, peer.roles, peer.traffic, count)
        if "nextbest" in options.only:
            service = stack.enter_context(serving(prepared))
            traffic = started(service, bank)
            contestants |= _ours(service.address, service.roles, traffic, options.requests)
        for _ in range(options.rounds):
            for contestant in contestants.values():
                contestant.run()
    report = {**head("peers", bank, before), "rounds": options.rounds, "contestants": figures_of(contestants)}
    write(options.out, "peers", report, table_of(report["contestants"]), _chart(report["contestants"]))


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


def _ours(
    address: tuple[str, int], roles: Mapping[str, int], traffic: DecisionTraffic, count: int
) -> dict[str, Contestant]:
    served = {role: pid for role, pid in roles.items() if role in ("server", "store")}
    return {
        FRESH_NAME: Contestant(address, served, OneKind(traffic, ONLY_FRESH), count),
        LEASED_NAME: Contestant(address, served, OneKind(traffic, ONLY_LEASED), count),
    }


def figures_of(contestants: Mapping[str, Contestant]) -> dict[str, dict[str, Any]]:
    """By name: medians, all rounds, and the ratio to the base of the same round."""
    base = contestants.get(BASE)
    found = {}
    for name, each in contestants.items():
        ratios = [ours / theirs for ours, theirs in zip(each.server_us, base.server_us, strict=True)] if base else []
        found[name] = {
            "server_us": round(median(each.server_us), 1),
            "store_us": round(median(each.store_us), 1),
            "server_us_rounds": [round(figure, 1) for figure in each.server_us],
            "ratio": round(median(ratios), 3) if ratios else None,
            "ratio_low": round(min(ratios), 3) if ratios else None,
            "ratio_high": round(max(ratios), 3) if ratios else None,
            "errors": each.errors,
        }
    return found


def table_of(found: Mapping[str, Mapping[str, Any]]) -> str:
    """For people."""
    rows: list[Sequence[str]] = [["CPU per request", "server µs", "store µs", "sum µs", f"× {BASE}", "range", "errors"]]
    for name, each in found.items():
        ratio = "–" if each["ratio"] is None else f"{each['ratio']:.2f}"
        spread = "–" if each["ratio"] is None else f"{each['ratio_low']:.2f}–{each['ratio_high']:.2f}"
        total = each["server_us"] + each["store_us"]
        rows.append(
            [
                name,
                f"{each['server_us']:.0f}",
                f"{each['store_us']:.0f}",
                f"{total:.0f}",
                ratio,
                spread,
                str(each["errors"]),
            ]
        )
    return in_columns(rows)


def _chart(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = {
        name: [(index + 1.0, us) for index, us in enumerate(each["server_us_rounds"])] for name, each in found.items()
    }
    return chart("Server CPU per request", "round", "µs", lines, log_x=False, log_y=True)
