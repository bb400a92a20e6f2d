"""Comparison: CPU per request beside floors and peers, in one run, on one core, as ratios; see contest.py."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from loadtest import claims
from loadtest.chart import chart
from loadtest.claims import Claim
from loadtest.contest import FRESH_NAME, LEASED_NAME, Contestant, Ratio, ours, run_rounds
from loadtest.machine import machine
from loadtest.measuring import started
from loadtest.peers.running import PEERS, run_peers
from loadtest.report import head, in_columns, write
from loadtest.service import Bank, prepare, serving

NAMES = (*PEERS, "nextbest")
BASE, FLOOR = "get", "bare"
BANKS = ("linear-200", "linear-1000", "boosted-200")  # form of the model, and actions
# Requests of a round beside those of a decision: each should run for about a second.
TIMES = {"bare": 16, "noop": 8, "get": 4, "afternoon": 0.5, "feast": 0.3, "growthbook": 0.4}
# What a fresh decision may cost at most, in times of BASE, by bank; and how many times as much as it a peer costs.
LIMITS = {"linear-200": 1.0, "linear-1000": 1.5, "boosted-200": 1.5}
PEER_LIMITS = {"afternoon": 10.0, "feast": 5.0}

Contestants = Mapping[str, Contestant]


def peers(options: argparse.Namespace) -> None:
    """Bank by bank, interleaved rounds of all that are asked for; fresh decisions and renders apart."""
    banks = {name: _bank(name, options) for name in options.banks}
    for bank in banks.values():
        prepare(bank, options.cache)
    before = machine()
    found = {name: (bank, _contest(bank, options)) for name, bank in banks.items()}
    made = [claim for name, (_, contestants) in found.items() for claim in claims_of(name, contestants)]
    report = {
        **head("peers", before),
        "rounds": options.rounds,
        "banks": {name: {"bank": str(bank), "contestants": figures_of(each)} for name, (bank, each) in found.items()},
        "claims": [claim.as_json() for claim in made],
    }
    tables = [f"{bank}\n{table_of(contestants)}" for bank, contestants in found.values()]
    charts = {f"peers-{name}": _chart(bank, contestants) for name, (bank, contestants) in found.items()}
    write(options.out, "peers", report, "\n\n".join([*tables, claims.table_of(made)]), charts)


def _bank(name: str, options: argparse.Namespace) -> Bank:
    form, _, actions = name.partition("-")
    return Bank(int(actions), options.attributes, options.customers, options.interactions, options.seed, form)


def _contest(bank: Bank, options: argparse.Namespace) -> dict[str, Contestant]:
    prepared = prepare(bank, options.cache)
    names = [name for name in PEERS if name in options.only]
    with ExitStack() as stack:
        others = run_peers(names, options.cache, prepared / "strategy", customers=bank.customers, seed=bank.seed)
        contestants = {
            name: Contestant(peer.address, peer.roles, peer.traffic, round(options.requests * TIMES[name]))
            for name, peer in stack.enter_context(others).items()
        }
        if "nextbest" in options.only:
            service = stack.enter_context(serving(prepared))
            contestants |= ours(service, started(service, bank), options.requests)
        run_rounds(contestants, options.rounds)
    return contestants


def claims_of(bank_name: str, contestants: Contestants) -> list[Claim]:
    """What is claimed of this bank, as far as those were measured whom it takes."""
    if not {FRESH_NAME, LEASED_NAME, BASE} <= contestants.keys():
        return []
    fresh, limit = contestants[FRESH_NAME], LIMITS.get(bank_name)
    made = []
    for name in (FRESH_NAME, LEASED_NAME) if limit else ():
        to_base = Ratio.of(contestants[name].server_us, contestants[BASE].server_us)
        made.append(Claim(f"{bank_name}: {name}, × {BASE}", to_base, limit or 0.0))
    for name, least in PEER_LIMITS.items():
        if name in contestants:
            ratio = Ratio.of(contestants[name].server_us, fresh.server_us)
            made.append(Claim(f"{bank_name}: {name}, × {FRESH_NAME}", ratio, least, is_least=True))
    return made


def figures_of(contestants: Contestants) -> dict[str, dict[str, Any]]:
    """By name: medians, all rounds, and the ratios to base and floor of the same round."""
    return {
        name: {
            **each.as_json(),
            **{f"times_{other}": Ratio.of(each.server_us, contestants[other].server_us).as_json()
               for other in (BASE, FLOOR) if other in contestants},
        }
        for name, each in contestants.items()
    }  # fmt: skip


def table_of(contestants: Contestants) -> str:
    """For people."""
    rows: list[Sequence[str]] = [
        ["CPU per request", "server µs", "store µs", "sum µs", f"server × {BASE} (range)", f"sum × {BASE}",
         f"server × {FLOOR}", "as asked", "errors"]
    ]  # fmt: skip
    for name, each in contestants.items():
        figures = each.as_json()
        rows.append(
            [
                name,
                *(f"{figures[column]:.0f}" for column in ("server_us", "store_us", "sum_us")),
                str(Ratio.of(each.server_us, contestants[BASE].server_us)) if BASE in contestants else "–",
                f"{Ratio.of(each.sum_us, contestants[BASE].sum_us).median:.2f}" if BASE in contestants else "–",
                f"{Ratio.of(each.server_us, contestants[FLOOR].server_us).median:.1f}" if FLOOR in contestants else "–",
                f"{each.share_as_expected:.0%}",
                str(each.errors.total()),
            ]
        )
    return in_columns(rows)


def _chart(bank: Bank, contestants: Contestants) -> str:
    lines = {name: [(index + 1.0, us) for index, us in enumerate(each.server_us)] for name, each in contestants.items()}
    return chart(f"Server CPU per request, {bank.actions:,} actions", "round", "µs", lines, log_x=False, log_y=True)
