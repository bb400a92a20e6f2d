"""Measure: what decisions are truly worth, because in a simulated bank the truth is known.

    python examples/retail_bank/measure.py --customers 4000

Trains a model on the generated past as `make run` does, lets every policy choose among the same candidates that passed
all gates, and values the choices by truth.py. Prints JSON: mean true value per decision in euro with 95 % intervals
over customers, and the share of the way from a random eligible action to the oracle. Holdout, experiment and
exploration are switched off, so that policies are compared and not arms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy, indexes_of, members
from decisioning.customer import Snapshot
from decisioning.decide import decide, prepare
from decisioning.history.load import load_customers
from decisioning.request import Request
from decisioning.scoring import ModelScorer, Scorer, load_model
from decisioning.store.memory import MemoryStore
from decisioning.training import train_model
from examples.retail_bank.truth import true_propensity

HERE = Path(__file__).parent
PLACEMENTS = ("web.home.hero", "email.hero", "call_center.next_action")
POLICIES = ("oracle", "nextbest", "highest_propensity", "highest_value", "random_eligible")
RESAMPLES = 2000

Floats = NDArray[np.float64]


def main() -> None:
    """Train, decide, value, print."""
    options = _options()
    strategy = replace(load_directory(HERE), holdout=None, exploration=None, experiments=())
    with tempfile.TemporaryDirectory() as folder:
        trained = train_model(
            [options.data / "history.parquet"], HERE / "mapping.yaml", Path(folder), _tell, strategy=strategy
        )
        scorer = ModelScorer(strategy, load_model(trained.folder))
    rows = [
        json.loads(line)
        for line in islice((options.data / "customers.jsonl").open(encoding="utf-8"), options.customers)
    ]
    snapshots = asyncio.run(stored(strategy, rows))
    values = {name: values_of(name, strategy, scorer, snapshots, rows) for name in PLACEMENTS}
    report = {name: _report(found) for name, found in values.items()}
    report["all"] = _report(
        {policy: np.mean([values[name][policy] for name in PLACEMENTS], axis=0) for policy in POLICIES}
    )
    print(json.dumps({"customers": len(rows), "simulated": True, **report}, indent=1))
    reached = report["all"]["way_from_random_to_oracle"]
    if reached["low"] < options.floor:
        sys.exit(f"only {reached['low']:.3f} of the way at the lower end, below {options.floor}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the example's decisions are truly worth.")
    parser.add_argument("--customers", type=int, default=4000)
    parser.add_argument("--data", type=Path, default=HERE / "generated", help="Where generate.py wrote its tables.")
    parser.add_argument(
        "--floor", type=float, default=0.8, help="Fail when the interval's lower end is below this share."
    )
    return parser.parse_args()


def _tell(what: str, done: int, total: int) -> None:
    print(f"{what} {done}/{total}", file=sys.stderr)


async def stored(strategy: Strategy, rows: Sequence[Mapping[str, Any]]) -> list[Snapshot]:
    """The customers as the store has them after `nextbest load`."""
    store = MemoryStore()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "customers.jsonl")
        table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        now_ms = time.time_ns() // 1_000_000
        rejects = Path(folder, "rejects.csv")
        await load_customers(
            [table],
            strategy.schema,
            store,
            channels=strategy.channels,
            at_ms=now_ms,
            rejects_path=rejects,
            progress=lambda done, total: None,
        )
    return await store.read([row["customer_id"] for row in rows])


def values_of(
    name: str, strategy: Strategy, scorer: Scorer, snapshots: Sequence[Snapshot], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Floats]:
    """True value of each policy's choice, per customer."""
    placement = strategy.placements[name]
    candidates = placement.candidates
    is_offer = members(strategy.offer_mask, len(strategy.actions))[candidates.action_index]
    offers = [strategy.actions[index].key for index in candidates.action_index[is_offer]]
    columns = {each: [row.get(each) for row in rows] for each in {key for row in rows for key in row}}
    chance = np.ones((len(rows), candidates.action_index.size))
    chance[:, is_offer] = true_propensity(_without_consents(columns), offers, placement.channel)
    worth = chance * strategy.worth[candidates.action_index] - strategy.channels[placement.channel].contact_cost
    request = Request("", placement.channel, (name,), {})
    found: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    position_of = {strategy.actions[index].key: at for at, index in enumerate(candidates.action_index)}
    for row, snapshot in enumerate(snapshots):
        asked = replace(request, customer_key=snapshot.customer_key)
        (placed,) = decide(asked, snapshot, strategy, scorer, decision_id="measure").placements
        filling = prepare(asked, snapshot, strategy, scorer, decision_id="measure")
        contenders = indexes_of(candidates.mask & filling.gated.all_reachable())
        there = np.searchsorted(candidates.action_index, contenders)
        nothing = placement.nothing_value
        found["nextbest"].append(nothing if placed.action is None else float(worth[row, position_of[placed.action]]))
        if there.size == 0:
            for policy in set(POLICIES) - {"nextbest"}:
                found[policy].append(nothing)
            continue
        mine = worth[row, there]
        offer = np.where(is_offer[there], 0.0, -np.inf)
        score = filling.appraisal.propensity[contenders] + offer
        found["oracle"].append(max(float(mine.max()), nothing))
        found["random_eligible"].append(float(mine.mean()))
        found["highest_value"].append(float(mine[np.argmax(strategy.worth[contenders] + offer)]))
        found["highest_propensity"].append(float(mine[np.argmax(score)]))
    return {policy: np.array(each) for policy, each in found.items()}


def _without_consents(columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    return {
        name: values for name, values in columns.items() if not name.startswith("consent.") and name != "customer_id"
    }


def _report(values: Mapping[str, Floats]) -> dict[str, Any]:
    """Means with 95 % intervals, customers as the unit, and the way from random to oracle by the bootstrap."""
    count = len(values["oracle"])
    drawn = np.random.default_rng(1).integers(0, count, (RESAMPLES, count))
    means = {policy: values[policy][drawn].mean(axis=1) for policy in POLICIES}
    way = (means["nextbest"] - means["random_eligible"]) / (means["oracle"] - means["random_eligible"])
    report: dict[str, Any] = {policy: _interval(float(values[policy].mean()), means[policy]) for policy in POLICIES}
    point = {policy: values[policy].mean() for policy in POLICIES}
    share = (point["nextbest"] - point["random_eligible"]) / (point["oracle"] - point["random_eligible"])
    report["way_from_random_to_oracle"] = _interval(float(share), way)
    return report


def _interval(mean: float, resampled: Floats) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


if __name__ == "__main__":
    main()
