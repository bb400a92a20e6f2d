"""Stream: real calls in the order of time, each foreseen by what was learnt from those before it.

    OMP_NUM_THREADS=1 python -m examples.learning.stream ../shared/data/bank_marketing/bank_additional_dev.csv.gz

Bank Marketing (UCI, CC BY 4.0), read through examples/bank_calls/mapping.yaml, whose yes rate rises from 6 % to 40 %
while it runs. A batch model is trained on the first 30 %; every later call is first scored, then folded into the
learner. Prints JSON, the frozen batch model beside it; exits with 1 when the log loss is above LOG_LOSS_MAX.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.history.mapping import read_mapping
from decisioning.history.training import TrainingTable, read_training
from models import Feature, PropensityModel, evaluate
from models.adaptive import Learner
from models.train import train

MAPPING = Path(__file__).parents[1] / "bank_calls/mapping.yaml"
SEEN_SHARE = 0.3
HALF_LIFE_CALLS = 2_000.0  # some two months; the table has no dates to count days by
LATE_CALLS = 4_000
LOG_LOSS_MAX = 0.335

Floats = NDArray[np.float64]


def main() -> None:
    """Train, stream, judge."""
    parser = argparse.ArgumentParser(description="Learn from Bank Marketing call by call, in the order of time.")
    parser.add_argument("table", type=Path, help="CSV, plain or gzipped, with the columns of bank_calls/mapping.yaml")
    table = in_order(read_training([parser.parse_args().table], read_mapping(MAPPING)))
    border = int(len(table.labels) * SEEN_SHARE)
    model = trained(table.where(np.arange(len(table.labels)) < border))
    later = table.where(np.arange(len(table.labels)) >= border)
    labels = later.labels.astype(np.float64)
    report = {
        "calls": len(labels),
        "adaptive": figures(labels, streamed(model, later)),
        "frozen": figures(labels, model.propensities_of_table(later.columns, later.actions)),
    }
    print(json.dumps(report, indent=1))
    if report["adaptive"]["log_loss"] > LOG_LOSS_MAX:
        sys.exit(f"log loss above {LOG_LOSS_MAX}")


def in_order(table: TrainingTable) -> TrainingTable:
    """The same calls, oldest first."""
    assert table.order is not None  # the mapping names a time
    if (np.diff(table.order) < 0).any():
        raise SystemExit("the table is not in the order of its rows")
    return table


def trained(table: TrainingTable) -> PropensityModel:
    """The batch model; what it will be used for comes later in time, so it is chosen that way."""
    return train(
        table.columns,
        actions=table.actions,
        labels=table.labels,
        features=[Feature(path, kind) for path, kind in table.kinds.items()],
        order=table.order,
        validation="time",
    ).model


def streamed(model: PropensityModel, later: TrainingTable) -> Floats:
    """Each call's propensity just before its answer was learnt."""
    regressors = model.regressors_of_table(later.columns)
    learner = Learner(model, half_life=HALF_LIFE_CALLS)
    logits = np.empty(len(later.labels))
    for call, (row, action, label) in enumerate(zip(regressors, later.actions, later.labels, strict=True)):
        # One action only: every node stands above it.
        logits[call] = learner.posterior(float(call)).means.sum(axis=0) @ row
        learner.fold(row, action, bool(label), float(call))
    return 1.0 / (1.0 + np.exp(-logits))


def figures(labels: Floats, chances: Floats) -> dict[str, Any]:
    """Whole and late, because the end is where the rate has moved most."""
    late = slice(-LATE_CALLS, None)
    return {
        "log_loss": round(evaluate.log_loss(labels, chances), 4),
        "auc": round(evaluate.auc(labels, chances), 4),
        "calibration_error": round(evaluate.calibration_error(labels, chances), 4),
        "calibration_error_late": round(evaluate.calibration_error(labels[late], chances[late]), 4),
    }


if __name__ == "__main__":
    main()
