"""`python -m loadtest`: how a service behaves under load, how long it stays so, and what it costs beside others.

    python -m loadtest load               saturation, then two minutes at half of it, then costs by kind of request
    python -m loadtest soak --minutes 60  one rate for an hour: does anything drift?
    python -m loadtest peers              CPU per request beside floors and peers, interleaved, as ratios

Everything it starts ends with it. What is made once (simulated banks, environments of peers) stays in --cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from loadtest import comparison, measurements
from loadtest.service import Bank

CACHE, OUT = Path(".nextbest/loadtest"), Path(".nextbest/loadtest/reports")


def main(words: Sequence[str] | None = None) -> None:
    """Run one measurement."""
    options = _parser().parse_args(words)
    bank = Bank(
        options.actions,
        options.attributes,
        options.customers,
        options.interactions,
        options.seed,
        options.model,
    )
    options.measure(bank, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="load | soak | peers")
    load = _command(commands, "load", measurements.load, customers=60_000, interactions=0)
    load.add_argument("--seconds", type=float, default=120.0, help="of the measurement at half of saturation")
    load.add_argument("--rate", type=float, help="requests a second, in place of half of what is found")
    soak = _command(commands, "soak", measurements.soak, customers=200_000, interactions=0)
    soak.add_argument("--minutes", type=float, default=60.0)
    soak.add_argument("--window-seconds", type=float, default=60.0, help="of which each has percentiles of its own")
    soak.add_argument("--rate", type=float, help="requests a second, in place of 60 %% of saturation")
    peers = _command(commands, "peers", comparison.peers, customers=8_000, interactions=20)
    peers.add_argument("--rounds", type=int, default=5)
    peers.add_argument("--requests", type=int, default=1_500, help="of each in a round; cheap ones get more")
    peers.add_argument("--only", nargs="+", choices=comparison.NAMES, default=comparison.NAMES)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    measure: measurements.Measurement,
    *,
    customers: int,
    interactions: int,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name)
    command.set_defaults(measure=measure)
    command.add_argument("--actions", type=int, default=200)
    command.add_argument("--attributes", type=int, default=30)
    command.add_argument("--customers", type=int, default=customers)
    command.add_argument("--interactions", type=int, default=interactions, help="of each customer, before it begins")
    command.add_argument("--model", choices=("linear", "boosted"), default="linear")
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--cache", type=Path, default=CACHE)
    command.add_argument("--out", type=Path, default=OUT)
    return command


if __name__ == "__main__":
    main()
