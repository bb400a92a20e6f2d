"""CPU time per request of scoring all actions for one customer, beside scikit-learn's predict_proba for as many rows.

A request hands in attribute values and gets the propensity and the optimistic one of every action: encoding is part of
the figure. scikit-learn gets rows that are encoded already. Everything is measured in one run, in rounds, so that a
machine that slows down slows all of it. A figure is the lower quartile of its rounds: other work on the machine makes
rounds up to twice as slow, and none of them faster. Ends with 1 when one is above its limit.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import quantiles
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from models.features import Column, FeatureEncoder
from tests.bench.workload.models import (
    LEAF_COUNT,
    TREE_COUNT,
    actions,
    customers,
    encoder_of,
    forest_of,
    model_of,
    table,
)

SEED = 20261121
CUSTOMER_COUNT = 50
ROUND_COUNT = 25
WARM_UP_COUNT = 2
ACTION_COUNTS = (200, 1000)
LIMITS_US = {("linear", 200): 40.0, ("boosted", 200): 200.0}

LINE = (
    "{form:8} {actions:7} | {ours_us:5.1f} {ours_median_us:6.1f} | "
    "{sklearn_us:12.1f} {sklearn_median_us:6.1f} | {limit_us}"
)

Score = Callable[[Any], object]


@dataclass(slots=True)
class Measurement:
    """One way to score, for one number of actions."""

    form: str
    action_count: int
    way: str
    score: Score
    asked: Sequence[Any]
    rounds_us: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One round: the CPU time of each of the customers once."""
        began_s = time.process_time()
        for each in self.asked:
            self.score(each)
        self.rounds_us.append((time.process_time() - began_s) / len(self.asked) * 1e6)


def measurements() -> list[Measurement]:
    """Ours and scikit-learn's, linear and boosted, for each number of actions."""
    random = Random(SEED)
    columns = table(random)
    encoder, asked = encoder_of(columns), customers(columns, random, CUSTOMER_COUNT)
    forests = {"linear": None, "boosted": forest_of(encoder.width, random)}
    peers = peers_of(encoder, columns)
    found = []
    for form, forest in forests.items():
        for action_count in ACTION_COUNTS:
            keys = actions(action_count)
            paired = model_of(encoder, keys, forest).paired(keys)
            found.append(Measurement(form, action_count, "ours", paired.scores, asked))
            rows = np.repeat(encoder.encode(asked[0])[None, :], action_count, axis=0)
            found.append(Measurement(form, action_count, "sklearn", peers[form].predict_proba, [rows] * 5))
    return found


def peers_of(encoder: FeatureEncoder, columns: dict[str, Column]) -> dict[str, Any]:
    """scikit-learn's models of the same shape, fitted to nothing in particular."""
    encoded = encoder.encode_table(columns)
    labels = np.random.default_rng(SEED).random(len(encoded)) < 0.3
    boosted = HistGradientBoostingClassifier(
        max_iter=TREE_COUNT, max_leaf_nodes=LEAF_COUNT, min_samples_leaf=5, early_stopping=False
    )
    return {"linear": LogisticRegression(C=0.1).fit(encoded, labels), "boosted": boosted.fit(encoded, labels)}


def report(found: Sequence[Measurement]) -> bool:
    """Print the table and the same as JSON; whether ours keeps its limits."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for each in found:
        row = rows.setdefault((each.form, each.action_count), {"form": each.form, "actions": each.action_count})
        low, middle, _ = quantiles(each.rounds_us, n=4)
        row |= {f"{each.way}_us": round(low, 1), f"{each.way}_median_us": round(middle, 1)}
    for size, row in rows.items():
        row["limit_us"] = LIMITS_US.get(size)
        row["keeps_limit"] = row["limit_us"] is None or row["ours_us"] <= row["limit_us"]
    print("CPU µs per request, 30 attributes; scikit-learn: predict_proba of as many encoded rows")
    print("form     actions |  ours median | scikit-learn median | limit")
    for row in rows.values():
        print(LINE.format(**{**row, "limit_us": row["limit_us"] or ""}).rstrip())
    keeps = all(row["keeps_limit"] for row in rows.values())
    print(json.dumps({"benchmark": "scoring", "keeps_limits": keeps, "sizes": list(rows.values())}))
    return keeps


def main() -> int:
    found = measurements()
    with threadpool_limits(1):
        for each in found * WARM_UP_COUNT:
            each.measure()
            each.rounds_us.clear()
        for _ in range(ROUND_COUNT):
            for each in found:
                each.measure()
    return 0 if report(found) else 1


if __name__ == "__main__":
    sys.exit(main())
