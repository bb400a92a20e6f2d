"""Measuring: what every measurement of the service begins with, and one run at one rate."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from loadtest.accounting import other_core, pin, pin_driver, serving_cores, usages
from loadtest.drive import Driver
from loadtest.report import Phase
from loadtest.saturation import keeps_up, saturation
from loadtest.service import Bank, Service
from loadtest.traffic import CHANNEL_SHARES, ONE_PLACEMENT, DecisionTraffic, Traffic

WARM_RATE, WARM_SECONDS = 100.0, 3.0
ATTEMPT_SECONDS = 4.0  # of each rate that is tried on the way to saturation
ATTEMPTS = 3  # a rate that fails all of them is too much; what disturbs the machine for a moment spoils one
FIRST_RATE = 300.0


def started(
    service: Service,
    bank: Bank,
    *,
    workers: int = 1,
    channel_shares: Mapping[str, float] = CHANNEL_SHARES,
    placement_shares: Mapping[int, float] = ONE_PLACEMENT,
    asked: int | None = None,
) -> DecisionTraffic:
    """Put serving processes on cores of their own as far as there are some, and the first requests behind them.

    asked    about so many customers, from all over the store; None: all of them, in order
    Returns the traffic for the rest.
    """
    pin_driver(other_core())
    pin([service.roles["server"]], *serving_cores(workers))
    pin([service.roles["store"], service.roles["worker"]], other_core())
    step = max(bank.customers // asked, 1) if asked else 1
    traffic = DecisionTraffic(
        bank.seed,
        range(1, bank.customers + 1, step),
        channel_shares=channel_shares,
        placement_shares=placement_shares,
    )
    Driver(service.address, traffic).at_rate(WARM_RATE, WARM_SECONDS)
    return traffic


def found_saturation(address: tuple[str, int], traffic: Traffic) -> float:
    """The highest rate that the service keeps up with. Raises RuntimeError when there is none."""

    def holds(per_second: float) -> bool:
        verdict = any(attempt(per_second) for _ in range(ATTEMPTS))
        print(f"loadtest: {per_second:.0f} requests/s {'hold' if verdict else 'are too many'}", file=sys.stderr)
        return verdict

    def attempt(per_second: float) -> bool:
        measured = Driver(address, traffic).at_rate(per_second, ATTEMPT_SECONDS)
        time.sleep(0.5)  # what was too much is worked off before the next rate is tried
        return keeps_up(measured, per_second)

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
    measured = Driver(address, traffic).at_rate(per_second, seconds)
    used = {role: usage.since(spent[role]) for role, usage in usages(roles).items()}
    return Phase(name, per_second, measured, used)
