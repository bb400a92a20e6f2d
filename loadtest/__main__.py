"""`python -m loadtest`: how a service behaves under load, how long it stays so, and what it costs beside others.

    python -m loadtest load               saturation, two minutes at half of it beside `noop`, costs by kind of request
    python -m loadtest soak --minutes 60  one rate for an hour: does anything drift?
    python -m loadtest peers              CPU per request beside floors and peers, interleaved, as ratios; the claims
    python -m loadtest growth             CPU per decision as actions, attributes, customers … become more
    python -m loadtest startup            seconds until ready, memory, and compiling a large strategy
    python -m loadtest profile            flame graphs of fresh decisions and of renders
    python -m loadtest claims             what was claimed and found, of all reports

Everything it starts ends with it. What is made once (simulated banks, environments of peers) stays in --cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest import claims, comparison, growth, latency, profile, soak, startup

CACHE, OUT = Path(".nextbest/loadtest"), Path(".nextbest/loadtest/reports")

Measurement = Callable[[argparse.Namespace], None]


def main(words: Sequence[str] | None = None) -> None:
    """Run one measurement."""
    options = _parser().parse_args(words)
    if options.duration:
        told = f"loadtest: {options.command} takes {options.duration}; the first run also prepares"
        print(told, file=sys.stderr, flush=True)
    options.measure(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="load | soak | peers | growth | startup | profile | claims")
    _add_load(commands)
    _add_soak(commands)
    _add_peers(commands)
    _add_growth(commands)
    _add_startup(commands)
    _add_profile(commands)
    _command(commands, "claims", claims.told, duration="")
    return parser


Commands = argparse._SubParsersAction  # has no public name


def _add_load(commands: Commands[argparse.ArgumentParser]) -> None:
    load = _command(commands, "load", latency.load, duration="about six minutes")
    _bank(load, customers=60_000, interactions=20)
    load.add_argument("--workers", type=int, default=1, help="serving processes")
    load.add_argument("--seconds", type=float, default=120.0, help="of the measurement at half of saturation")
    load.add_argument("--rate", type=float, help="requests a second, in place of half of what is found")


def _add_soak(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "soak", soak.soak, duration="--minutes and two more")
    # So many that nobody is asked more than a few times in an hour, as elsewhere: a past that grows costs more to read.
    _bank(command, customers=1_000_000, interactions=0)
    command.add_argument("--workers", type=int, default=1, help="serving processes")
    command.add_argument("--minutes", type=float, default=60.0)
    command.add_argument("--window-seconds", type=float, default=60.0, help="of which each has percentiles of its own")
    command.add_argument("--rate", type=float, help="requests a second, in place of 60 %% of saturation")


def _add_peers(commands: Commands[argparse.ArgumentParser]) -> None:
    peers = _command(commands, "peers", comparison.peers, duration="two minutes a bank")
    _customers(peers, customers=8_000, interactions=20)
    peers.add_argument("--banks", nargs="+", default=comparison.BANKS, metavar="FORM-ACTIONS", help="linear-200 …")
    peers.add_argument("--rounds", type=int, default=5)
    peers.add_argument("--requests", type=int, default=1_500, help="of each in a round; cheap ones get more")
    peers.add_argument("--only", nargs="+", choices=comparison.NAMES, default=comparison.NAMES)


def _add_growth(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "growth", growth.growth, duration="two minutes an axis")
    _bank(command, customers=8_000, interactions=20)  # banks that peers are measured with, too
    command.add_argument("--axis", nargs="+", choices=growth.AXES, default=tuple(growth.AXES))
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--requests", type=int, default=600, help="of each kind in a round")


def _add_startup(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "startup", startup.startup, duration="one minute")
    command.add_argument("--actions", type=int, default=1_000, help="of the strategy that is compiled")
    command.add_argument("--strategy", type=Path, default=Path("examples/retail_bank"), help="that is served")
    command.add_argument("--rounds", type=int, default=5)


def _add_profile(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "profile", profile.profile, duration="one minute")
    _bank(command, customers=60_000, interactions=20)
    command.add_argument("--seconds", type=float, default=20.0, help="of samples of each kind")


def _command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    measure: Measurement,
    *,
    duration: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name)
    command.set_defaults(measure=measure, command=name, duration=duration)
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--cache", type=Path, default=CACHE)
    command.add_argument("--out", type=Path, default=OUT)
    return command


def _bank(command: argparse.ArgumentParser, *, customers: int, interactions: int) -> None:
    command.add_argument("--actions", type=int, default=200)
    command.add_argument("--model", choices=("linear", "boosted"), default="linear")
    _customers(command, customers=customers, interactions=interactions)


def _customers(command: argparse.ArgumentParser, *, customers: int, interactions: int) -> None:
    command.add_argument("--attributes", type=int, default=30)
    command.add_argument("--customers", type=int, default=customers)
    command.add_argument("--interactions", type=int, default=interactions, help="of each customer, before it begins")


if __name__ == "__main__":
    main()
