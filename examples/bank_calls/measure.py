"""How well are the calls of examples/bank_calls foreseen? Prints one JSON object.

    python examples/bank_calls/measure.py calls.csv

Reads the table through the mapping beside this file, trains as `nextbest train` does, and scores rows no model has
seen: five random folds with equal shares of yes, and the last tenth of time by a model of the nine tenths before.
Intervals are bootstrap intervals of 95 %.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.history.mapping import read_mapping
from decisioning.history.training import TrainingTable, read_training
from models import Feature, evaluate
from models.train import train

FOLD_COUNT = 5
LATE_SHARE = 0.1
Rows = NDArray[np.int64]
Chances = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the propensity model on the Bank Marketing table.")
    parser.add_argument("table", type=Path, help="CSV, plain or gzipped, with the columns of mapping.yaml")
    table = read_training([parser.parse_args().table], read_mapping(Path(__file__).with_name("mapping.yaml")))
    print(json.dumps({"random_folds": random_folds(table), "last_tenth": last_tenth(table)}, indent=1))


def random_folds(table: TrainingTable) -> dict[str, Any]:
    """Every row scored once, by a model of the other four folds."""
    fold_of_row = stratified_folds(table.labels)
    chances = np.empty(len(table.labels))
    for fold in range(FOLD_COUNT):
        held_out = np.flatnonzero(fold_of_row == fold)
        chances[held_out] = scored(table, np.flatnonzero(fold_of_row != fold), held_out)
    return figures(table.labels.astype(np.float64), chances)


def last_tenth(table: TrainingTable) -> dict[str, Any]:
    """The last contacts, scored by a model of all earlier ones."""
    assert table.order is not None  # the mapping names a time
    by_time = np.argsort(table.order, kind="stable")
    border = int(len(by_time) * (1 - LATE_SHARE))
    early, late = by_time[:border], by_time[border:]
    chances = scored(table, early, late, validation="time", order=table.order[early])
    return figures(table.labels[late].astype(np.float64), chances)


def stratified_folds(labels: NDArray[np.int8]) -> Rows:
    """The fold of each row, positives and negatives dealt out evenly."""
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold_of_row = np.empty(len(labels), dtype=np.int64)
    fold_of_row[order] = np.arange(len(labels)) % FOLD_COUNT
    return fold_of_row


def scored(table: TrainingTable, seen: Rows, held_out: Rows, **options: Any) -> Chances:
    """Propensities of the held-out rows by a model trained on the seen ones; options are those of models.train."""
    model = train(
        columns_of(table, seen),
        actions=[table.actions[row] for row in seen],
        labels=table.labels[seen],
        features=[Feature(path, kind) for path, kind in table.kinds.items()],
        **options,
    ).model
    return model.propensities_of_table(columns_of(table, held_out), [table.actions[row] for row in held_out])


def columns_of(table: TrainingTable, rows: Rows) -> dict[str, list[Any]]:
    return {path: [column[row] for row in rows] for path, column in table.columns.items()}


def figures(labels: Chances, chances: Chances) -> dict[str, Any]:
    """Figures with their intervals. accepted_of_top_tenth: share of yes among the tenth with the highest propensity."""
    with_interval = partial(_with_interval, labels, chances)
    return {
        "rows": len(labels),
        "accepted": float(labels.mean()),
        "auc": with_interval(evaluate.auc),
        "accepted_of_top_tenth": with_interval(lambda y, p: evaluate.gains(y, p).top),
        "lift_of_top_tenth": with_interval(lambda y, p: evaluate.gains(y, p).lift),
        "average_precision": with_interval(evaluate.average_precision),
        "log_loss": with_interval(evaluate.log_loss),
        "calibration_error": evaluate.calibration_error(labels, chances),  # resampling inflates it: no honest interval
    }


def _with_interval(labels: Chances, chances: Chances, figure: Callable[..., float]) -> dict[str, float]:
    low, high = evaluate.interval(figure, labels, chances)
    return {"value": figure(labels, chances), "low": low, "high": high}


if __name__ == "__main__":
    main()
