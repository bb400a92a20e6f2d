"""Measurements of the service itself: under load, and over hours."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from loadtest.accounting import cores, pin, pin_driver, usages
from loadtest.drive import Driver, Measured
from loadtest.machine import machine
from loadtest.peers.running import run_peers
from loadtest.report import Phase, percentile_chart, table_of, write
from loadtest.saturation import keeps_up, saturation
from loadtest.service import Bank, Service, prepare, serving
from loadtest.soak import Samples, drift_of
from loadtest.traffic import MIXED, ONLY_FRESH, ONLY_LEASED, DecisionTraffic, Traffic

Measurement = Callable[[Bank, argparse.Namespace], None]

WARM_RATE, WARM_SECONDS = 100.0, 3.0
ATTEMPT_SECONDS = 4.0  # of each rate that is tried on the way to saturation
FIRST_RATE = 300.0
COST_SECONDS = 10.0  # of phases of one kind of request
LOAD_SHARE, SOAK_SHARE = 0.5, 0.6  # of the saturation rate


def load(bank: Bank, options: argparse.Namespace) -> None:
    """Saturation, a long run at half of it, what each kind costs; and a service that does nothing at the same rate."""
    prepared, before = prepare(bank, options.cache), machine()
    with serving(prepared) as service:
        traffic = started(service, bank)
        saturation_rate = None if options.rate else found_saturation(service.address, traffic)
        rate = options.rate or LOAD_SHARE * (saturation_rate or 0.0)
        phases = [phase("mixed", service.address, service.roles, traffic, rate, options.seconds)]
        for name, shares in (("only fresh", ONLY_FRESH), ("only leased", ONLY_LEASED)):
            traffic.with_shares(shares)
            phases.append(phase(name, service.address, service.roles, traffic, rate, COST_SECONDS))
    floor = run_peers(["noop"], options.cache, prepared / "strategy", customers=bank.customers, seed=bank.seed)
    with floor as running:
        noop = running["noop"]
        phases.append(phase("noop", noop.address, noop.roles, noop.traffic, rate, options.seconds))
    report = {
        **head("load", bank, before),
        "shares": str(MIXED),
        "saturation_per_second": saturation_rate,
        "phases": [each.as_json() for each in phases],
    }
    told = f"saturation: {saturation_rate:.0f} requests/s\n\n" if saturation_rate else ""
    svg = percentile_chart(
        f"Latency at {rate:.0f} requests/s", {each.name: each.measured.latencies for each in phases[:1] + phases[-1:]}
    )
    write(options.out, "load", report, told + table_of(phases), svg)


def soak(bank: Bank, options: argparse.Namespace) -> None:
    """One rate for a long time."""
    prepared, before = prepare(bank, options.cache), machine()
    with serving(prepared) as service:
        traffic = started(service, bank)
        rate = options.rate or SOAK_SHARE * found_saturation(service.address, traffic)
        samples = Samples(service.roles)
        driver = Driver(service.address, traffic, window_s=options.window_seconds, on_window=samples.take)
        spent = usages(service.roles)
        measured = driver.at_rate(rate, 60.0 * options.minutes)
        long_run = Phase("soak", rate, measured, _since(service.roles, spent))
    drift = drift_of(measured, samples.taken, window_s=options.window_seconds)
    report = {**head("soak", bank, before), "phases": [long_run.as_json()], "drift_per_hour": drift.as_json()}
    write(options.out, "soak", report, f"{table_of([long_run])}\n\n{drift.table()}", drift.chart())


def started(service: Service, bank: Bank) -> DecisionTraffic:
    """The server on a core of its own, the first requests behind it; returns the traffic for the rest."""
    own, other = cores()
    pin_driver(other)
    pin([service.roles["server"]], own)
    pin([service.roles["store"], service.roles["worker"]], other)
    traffic = DecisionTraffic(bank.seed, range(1, bank.customers + 1))
    Driver(service.address, traffic).at_rate(WARM_RATE, WARM_SECONDS)
    return traffic


def found_saturation(address: tuple[str, int], traffic: Traffic) -> float:
    """The highest rate that the service keeps up with. Raises RuntimeError when there is none."""

    def holds(per_second: float) -> bool:
        measured = Driver(address, traffic).at_rate(per_second, ATTEMPT_SECONDS)
        verdict = keeps_up(measured, per_second)
        print(f"loadtest: {per_second:.0f} requests/s {'hold' if verdict else 'are too many'}", file=sys.stderr)
        time.sleep(0.5)  # what was too much is worked off before the next rate is tried
        return verdict

    found = saturation(holds, first=FIRST_RATE)
    if not found:
        raise RuntimeError("the service keeps up with no rate at all; name one with --rate")
    return found


def phase(
    name: str,
    address: tuple[str, int],
    roles: Mapping[str, int],
    traffic: Traffic,
    per_second: float,
    seconds: float,
) -> Phase:
    """A run at one rate, with its costs."""
    spent = usages(roles)
    measured: Measured = Driver(address, traffic).at_rate(per_second, seconds)
    return Phase(name, per_second, measured, _since(roles, spent))


def head(what: str, bank: Bank, before: Mapping[str, Any]) -> dict[str, Any]:
    """What every report begins with."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"what": what, "at": at, "bank": asdict(bank), "machine": before}


def _since(roles: Mapping[str, int], before: Mapping[str, Any]) -> dict[str, Any]:
    return {role: usage.since(before[role]) for role, usage in usages(roles).items()}
