"""Growth: how the CPU of a decision grows with what there is, one axis after the other, as a ratio to `get`.

Every point is a service of its own with `get` beside it, in interleaved rounds (see contest.py), so that points taken
at different times can be compared. An axis that is measured again takes the place of its earlier figures in the report.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

from loadtest import claims
from loadtest.chart import chart
from loadtest.claims import Claim
from loadtest.contest import CONNECTIONS, FRESH_NAME, LEASED_NAME, Contestant, Ratio, ours, run_rounds
from loadtest.machine import machine
from loadtest.measuring import started
from loadtest.peers.running import run_peers
from loadtest.report import head, in_columns, write
from loadtest.service import Bank, bank_of, prepare, serving
from loadtest.traffic import CHANNEL_SHARES, ONE_PLACEMENT

BASE = "get"
BASE_TIMES = 3  # requests of a round beside those of a decision
LINEAR_LIMIT, FLAT_LIMIT = 1.0, 1.1  # an exponent below 1 is sub-linear; within a tenth is as exact as this gets
NAMES = (FRESH_NAME, LEASED_NAME)
PATIENT = {"NEXTBEST_DEADLINE_MS": "5000"}  # 256 requests at once wait longer for each other than a customer would


@dataclass(frozen=True, slots=True)
class Setting:
    """What is served at a point, and how it is asked."""

    bank: Bank
    workers: int = 1
    connections: int = CONNECTIONS
    channel_shares: Mapping[str, float] = field(default_factory=lambda: CHANNEL_SHARES)
    placement_shares: Mapping[int, float] = field(default_factory=lambda: ONE_PLACEMENT)


@dataclass(frozen=True, slots=True)
class Axis:
    """Something that grows while all else stays as it is."""

    name: str
    points: Sequence[int]
    at: Callable[[Setting, int], Setting]
    is_log: bool = True


def _with_bank(name: str, **fixed: Any) -> Callable[[Setting, int], Setting]:
    def at(base: Setting, x: int) -> Setting:
        changes: dict[str, Any] = {**fixed, name: x}
        return replace(base, bank=replace(base.bank, **changes))

    return at


def _with_placements(base: Setting, count: int) -> Setting:
    """Web pages alone, as only they have several placements; one bank for all points."""
    bank = replace(base.bank, placements=10)
    return replace(base, bank=bank, channel_shares={"web": 1.0}, placement_shares={count: 1.0})


AXES = {
    axis.name: axis
    for axis in (
        Axis("actions", (50, 200, 1_000, 5_000), _with_bank("actions")),
        # With trees throughout: they are what training takes for hundreds of attributes of which few matter.
        Axis("attributes", (10, 30, 100, 500), _with_bank("attributes", model="boosted")),
        Axis("interactions", (0, 20, 100, 500), _with_bank("interactions"), is_log=False),
        # Without a past: twenty interactions of a million customers take ten minutes to write and say nothing more.
        Axis("customers", (10_000, 100_000, 1_000_000), _with_bank("customers", interactions=0)),
        Axis("placements", (1, 2, 3, 5, 10), _with_placements, is_log=False),
        Axis("workers", (1, 2), lambda base, x: replace(base, workers=x), is_log=False),
        Axis("concurrency", (1, 4, 16, 64, 256), lambda base, x: replace(base, connections=x)),
    )
}

Point = dict[str, Any]  # x, bank, and by name the figures of each contestant with its ratio to the base


def growth(options: argparse.Namespace) -> None:
    """Measure the axes that are asked for, and report those together with the ones that were measured before."""
    base = Setting(bank_of(options))
    # All of them first: what runs beside a measurement is kept on one core, and slow.
    possible = {name: [x for x in AXES[name].points if _is_prepared(name, x, base, options)] for name in options.axis}
    before = machine()
    for name, found in possible.items():
        points = []
        for number, x in enumerate(found, start=1):
            print(f"loadtest: {name} {x:,} ({number} of {len(found)})", file=sys.stderr, flush=True)
            points.append(measured_at(x, AXES[name].at(base, x), base.bank, options))
        _report(options.out, name, {**head("growth", before), "rounds": options.rounds, "points": points})


def _is_prepared(axis: str, x: int, base: Setting, options: argparse.Namespace) -> bool:
    """Whether a point can be measured; one that cannot is told, and does not cost the others."""
    try:
        prepare(AXES[axis].at(base, x).bank, options.cache)
    except RuntimeError as error:
        print(f"loadtest: {axis} {x:,} is left out: {error}", file=sys.stderr, flush=True)
        return False
    return True


def measured_at(x: int, setting: Setting, base: Bank, options: argparse.Namespace) -> Point:
    """One point: interleaved rounds of `get`, which stays as it is for all points, fresh decisions and renders."""
    bank = setting.bank
    prepared = prepare(bank, options.cache)
    with ExitStack() as stack:
        service = stack.enter_context(serving(prepared, workers=setting.workers, settings=PATIENT))
        traffic = started(
            service,
            bank,
            workers=setting.workers,
            channel_shares=setting.channel_shares,
            placement_shares=setting.placement_shares,
            asked=options.customers,
        )
        same = prepare(base, options.cache) / "strategy"
        peers = run_peers([BASE], options.cache, same, customers=base.customers, seed=base.seed)
        get = stack.enter_context(peers)[BASE]
        count, connections = options.requests, setting.connections
        contestants = {
            BASE: Contestant(get.address, get.roles, get.traffic, BASE_TIMES * count, connections),
            **ours(service, traffic, count, connections=connections),
        }
        run_rounds(contestants, options.rounds)
    return {"x": x, "bank": str(bank), **figures_of(contestants)}


def figures_of(contestants: Mapping[str, Contestant]) -> dict[str, dict[str, Any]]:
    """By name: medians, all rounds, and the ratio to the base of the same round."""
    base = contestants[BASE].server_us
    return {
        name: {**each.as_json(), f"times_{BASE}": Ratio.of(each.server_us, base).as_json()}
        for name, each in contestants.items()
    }


def table_of(axis: str, points: Sequence[Point]) -> str:
    """For people: a line a point, and how the cost grows from each to the next."""
    heads = [axis, f"{BASE} µs"]
    for name in ("fresh", "leased"):
        heads += [f"{name} µs", f"store µs, {name}", f"{name} × {BASE} (range)", "as asked"]
    rows = [[*heads, "errors"]]
    for point in points:
        row = [f"{point['x']:,}", f"{point[BASE]['server_us']:.0f}"]
        for name in NAMES:
            figures = point[name]
            ratio = Ratio(**figures[f"times_{BASE}"])
            row += [f"{figures['server_us']:.0f}", f"{figures['store_us']:.0f}", str(ratio)]
            row.append(f"{figures['share_as_expected']:.0%}")
        rows.append([*row, str(sum(sum(point[name]["errors"].values()) for name in (BASE, *NAMES)))])
    return "\n".join([in_columns(rows), *(growth_of(name, axis, points) for name in NAMES)])


def claims_of(axis: str, points: Sequence[Point]) -> list[Claim]:
    """Sub-linear in actions, flat in customers; of fresh decisions and of renders."""
    made = []
    for name in NAMES if axis in ("actions", "customers") else ():
        (first, least), (last, most) = (
            (point["x"], Ratio(**point[name][f"times_{BASE}"])) for point in (points[0], points[-1])
        )
        # The range is what the extremes of both ends allow; they were not measured in the same rounds.
        grown = Ratio(most.median / least.median, most.low / least.high, most.high / least.low)
        if axis == "customers":
            made.append(Claim(f"{name}, {last:,} customers × {first:,}", grown, FLAT_LIMIT))
        else:
            exponent = Ratio(*(log(each) / log(last / first) for each in (grown.median, grown.low, grown.high)))
            made.append(Claim(f"{name}, exponent of actions {first:,} → {last:,}", exponent, LINEAR_LIMIT))
    return made


def growth_of(name: str, axis: str, points: Sequence[Point]) -> str:
    """In words: from the first point to the last, and the steepest step. An exponent below 1 is sub-linear growth."""
    ratios = [(point["x"], point[name][f"times_{BASE}"]["median"]) for point in points]
    (first, least), (last, most) = ratios[0], ratios[-1]
    told = f"{name}: {axis} {first:,} → {last:,} cost {most / least:.2f} times as much"
    steps = [log(after / before) / log(x / w) for (w, before), (x, after) in pairwise(ratios) if w > 0]
    if first > 0 and steps:
        told += f", exponent {log(most / least) / log(last / first):.2f} (steepest step {max(steps):.2f})"
    return told


def _report(out: Path, axis: str, found: dict[str, Any]) -> None:
    """Merge an axis into the report and write all of it."""
    path = out / "growth.json"
    before = json.loads(path.read_text())["axes"] if path.exists() else {}
    measured = before | {axis: found}
    axes = {name: measured[name] for name in AXES if name in measured}
    tables = [
        f"{name}, measured {each['at']}\n{table_of(name, each['points'])}" for name, each in axes.items()
    ]  # fmt: skip
    charts = {f"growth-{name}": _chart(AXES[name], each["points"]) for name, each in axes.items()}
    made = [claim for name, each in axes.items() for claim in claims_of(name, each["points"])]
    latest = {name: found[name] for name in ("what", "at", "machine")}
    report = {**latest, "axes": axes, "claims": [claim.as_json() for claim in made]}
    write(out, "growth", report, "\n\n".join([*tables, claims.table_of(made)]), charts)


def _chart(axis: Axis, points: Sequence[Point]) -> str:
    lines = {name: [(float(point["x"]), point[name][f"times_{BASE}"]["median"]) for point in points] for name in NAMES}
    title = f"Server CPU of a decision by {axis.name}"
    return chart(title, axis.name, f"× {BASE}", lines, log_x=axis.is_log, log_y=False)
