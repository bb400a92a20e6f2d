"""Real calls: ranking, calibration and the leak guard on the Bank Marketing table (UCI, CC BY 4.0)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decisioning.history.mapping import mapping_of, read_mapping
from decisioning.history.training import TrainingTable, read_training
from models import Feature, LeakSuspected, evaluate
from models.train import train

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data/bank_marketing/bank_additional_dev.csv.gz"
MAPPING = ROOT / "examples/bank_calls/mapping.yaml"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"the Bank Marketing data is not at {DATA}")


@pytest.fixture(scope="module")
def calls() -> TrainingTable:
    """Every third call: enough to see what is claimed, at a third of the time. benchmarks/measure.py takes them all."""
    table = read_training([DATA], read_mapping(MAPPING))
    return part(table, np.arange(0, len(table.labels), 3))


def part(calls: TrainingTable, rows: np.ndarray) -> TrainingTable:
    columns = {path: [column[row] for row in rows] for path, column in calls.columns.items()}
    actions = [calls.actions[row] for row in rows]
    return replace(calls, columns=columns, labels=calls.labels[rows], actions=actions, order=rows.astype(float))


def scores(calls: TrainingTable, seen: np.ndarray, held_out: np.ndarray, **options: Any) -> np.ndarray:
    known, unknown = part(calls, seen), part(calls, held_out)
    features = [Feature(path, kind) for path, kind in calls.kinds.items()]
    model = train(known.columns, actions=known.actions, labels=known.labels, features=features, **options).model
    return model.propensities_of_table(unknown.columns, unknown.actions)


def test_a_random_fold_is_ranked_and_calibrated(calls: TrainingTable) -> None:
    order = np.random.default_rng(0).permutation(len(calls.labels))
    held_out, seen = np.sort(order[: len(order) // 4]), np.sort(order[len(order) // 4 :])

    chances = scores(calls, seen, held_out)

    labels = calls.labels[held_out]
    gains = evaluate.gains(labels, chances)
    assert evaluate.auc(labels, chances) > 0.77
    assert gains.lift > 4.0
    assert evaluate.calibration_error(labels, chances) < evaluate.calibration_floor(chances) + 0.008
    assert evaluate.calibration_slope(labels, chances) == pytest.approx(1.0, abs=0.2)


def test_the_last_fifth_of_time_is_still_ranked(calls: TrainingTable) -> None:
    border = int(len(calls.labels) * 0.8)  # the table is in the order of its dates
    early, late = np.arange(border), np.arange(border, len(calls.labels))

    chances = scores(calls, early, late, order=early, validation="time")

    assert evaluate.auc(calls.labels[late], chances) > 0.7
    assert evaluate.gains(calls.labels[late], chances).lift > 1.5


def test_the_length_of_the_call_is_refused_by_name() -> None:
    leaky = MAPPING.read_text().replace("features:\n", "features:\n  customer.duration: duration\n")
    calls = read_training([DATA], mapping_of("leaky.yaml", leaky.encode()))

    with pytest.raises(LeakSuspected, match=r"customer\.duration \(AUC alone 0\.8"):
        train(
            calls.columns,
            actions=calls.actions,
            labels=calls.labels,
            features=[Feature(path, kind) for path, kind in calls.kinds.items()],
        )
