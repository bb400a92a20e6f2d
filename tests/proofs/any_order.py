"""Any order: thousands of random operations on the memory twin and a real server, compared and checked after each.

    python -m tests.proofs.any_order [EXAMPLES] [STEPS]

Prints the seed with which the run can be made again: python -m tests.proofs.any_order 500 50 SEED.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from decisioning.store.embedded import EmbeddedServer
from tests.any_order.machine import AnyOrder, Tally
from tests.any_order.sides import Twins


def main(example_count: int = 500, step_count: int = 50, start: int | None = None) -> None:
    """Run, and print what ran; a broken promise ends with the shortest sequence that breaks it."""
    start = secrets.randbits(32) if start is None else start
    tally, started_s = Tally(), time.monotonic()
    print(f"{example_count} sequences of up to {step_count} steps, seed {start}", flush=True)
    profile = settings(
        max_examples=example_count,
        stateful_step_count=step_count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer.start(Path(folder)) as server,
        Twins(server.url) as twins,
    ):
        machine = seed(start)(lambda: AnyOrder(twins, tally))
        run_state_machine_as_test(machine, settings=profile)
    tell(tally, time.monotonic() - started_s)
    if not tally.races_lost:
        sys.exit("no operation ever lost a race: nothing was shown about them")


def tell(tally: Tally, took_s: float) -> None:
    """The figures."""
    print(f"sequences: {tally.examples:,}")
    print(f"steps compared on both sides: {tally.steps:,}, of {tally.operations:,} operations")
    print(f"records compared: {tally.records:,}")
    print(
        f"mails opened and links followed: {tally.openings:,}; held choices that persons answered: {dict(tally.claims)}"
    )
    print(f"races lost, on each side: {tally.races_lost:,.0f}")
    print(f"disagreements: 0; broken promises: 0; {took_s:.0f} s")


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
