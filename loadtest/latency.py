"""Latency: saturation, a long run at half of it beside a service that does nothing, and what each kind costs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from functools import reduce

from loadtest import claims
from loadtest.claims import Claim
from loadtest.contest import Ratio
from loadtest.drive import Measured
from loadtest.histogram import Histogram
from loadtest.machine import machine
from loadtest.measuring import found_saturation, phase, started
from loadtest.peers.running import RunningPeer, run_peers
from loadtest.report import PERCENTILES, Phase, head, in_columns, percentile_chart, table_of, write
from loadtest.service import Service, bank_of, prepare, serving
from loadtest.traffic import FRESH, LEASED, MIXED, ONLY_FRESH, ONLY_LEASED, SOME_PLACEMENTS, DecisionTraffic

COST_SECONDS = 10.0  # of phases of one kind of request
SLICES = 4  # of the long run, each followed by one of the floor: what disturbs the machine disturbs both
LOAD_SHARE = 0.5  # of the saturation rate
FLOOR, P99_LIMIT = "noop", 4.0  # p99 of decisions in times of that of the floor
DECISIONS = "decisions"


def load(options: argparse.Namespace) -> None:
    """Measure and report."""
    bank = bank_of(options)
    prepared = prepare(bank, options.cache)
    before = machine()
    with ExitStack() as stack:
        service = stack.enter_context(serving(prepared, workers=options.workers))
        traffic = started(service, bank, workers=options.workers, placement_shares=SOME_PLACEMENTS)
        floors = run_peers([FLOOR], options.cache, prepared / "strategy", customers=bank.customers, seed=bank.seed)
        floor = stack.enter_context(floors)[FLOOR]
        saturation_rate = None if options.rate else found_saturation(service.address, traffic)
        rate = options.rate or LOAD_SHARE * (saturation_rate or 0.0)
        slices = in_slices(service, traffic, floor, rate, options.seconds)
        made = latency_claims([(mixed.measured, nothing.measured) for mixed, nothing in slices])
        mixed, nothing = (reduce(Phase.then, phases) for phases in zip(*slices, strict=True))
        phases = [mixed, nothing]
        for name, shares in (("only fresh", ONLY_FRESH), ("only leased", ONLY_LEASED)):
            traffic.with_shares(shares)
            phases.append(phase(name, service.address, service.roles, traffic, rate, COST_SECONDS))
    report = {
        **head("load", before),
        "bank": str(bank),
        "shares": str(MIXED),
        "placement_shares": SOME_PLACEMENTS,
        "workers": options.workers,
        "saturation_per_second": saturation_rate,
        "phases": [each.as_json() for each in phases],
        "claims": [claim.as_json() for claim in made],
    }
    found = f"saturation {saturation_rate:.0f} requests/s, " if saturation_rate else ""
    told = f"{bank}\n{found}workers: {options.workers}, {MIXED}"
    beside = beside_floor(mixed.measured, nothing.measured)
    latencies = {each.name: each.measured.latencies for each in (mixed, nothing)}
    svg = percentile_chart(f"Latency at {rate:.0f} requests/s", latencies)
    tables = [told, table_of(phases), beside, claims.table_of(made)]
    write(options.out, "load", report, "\n\n".join(tables), {"load": svg})


def in_slices(
    service: Service, traffic: DecisionTraffic, floor: RunningPeer, rate: float, seconds: float
) -> list[tuple[Phase, Phase]]:
    """The service and the floor by turns at one rate, each so many seconds in all."""
    return [
        (
            phase("mixed", service.address, service.roles, traffic, rate, seconds / SLICES),
            phase(FLOOR, floor.address, floor.roles, floor.traffic, rate, seconds / SLICES),
        )
        for _ in range(SLICES)
    ]


def beside_floor(mixed: Measured, nothing: Measured) -> str:
    """Percentiles of decisions as times of those of a service that does nothing."""
    floor = nothing.latencies[FLOOR]
    rows = [["", *PERCENTILES], [f"{FLOOR} ms", *(_ms(floor.percentile(share)) for share in PERCENTILES.values())]]
    for kind, histogram in _kinds_of(mixed).items():
        rows.append([f"{kind} ms", *(_ms(histogram.percentile(share)) for share in PERCENTILES.values())])
        rows.append([f"{kind} × {FLOOR}", *(_times(histogram, floor, share) for share in PERCENTILES.values())])
    return in_columns(rows)


def latency_claims(slices: Sequence[tuple[Measured, Measured]]) -> list[Claim]:
    """p99 of decisions, together and apart, in times of the floor's in the same slice; none for too few requests."""
    floor_s = [nothing.latencies[FLOOR].percentile(PERCENTILES["p99"]) for _, nothing in slices]
    made = []
    for kind in (DECISIONS, FRESH, LEASED):
        ours_s = [_kinds_of(mixed)[kind].percentile(PERCENTILES["p99"]) for mixed, _ in slices]
        told = [(ours, theirs) for ours, theirs in zip(ours_s, floor_s, strict=True) if ours and theirs]
        if told:
            ratio = Ratio.of([ours for ours, _ in told], [theirs for _, theirs in told])
            made.append(Claim(f"p99 of {kind}, × that of {FLOOR}", ratio, P99_LIMIT))
    return made


def _kinds_of(mixed: Measured) -> dict[str, Histogram]:
    kinds = {kind: mixed.latencies[kind] for kind in (FRESH, LEASED)}
    together = Histogram()
    for histogram in kinds.values():
        together.merge(histogram)
    return {DECISIONS: together, **kinds}


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.2f}"


def _times(ours: Histogram, theirs: Histogram, share: float) -> str:
    ours_s, theirs_s = ours.percentile(share), theirs.percentile(share)
    return f"{ours_s / theirs_s:.1f}" if ours_s and theirs_s else "–"
