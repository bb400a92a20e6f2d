"""Real calls: ranking, calibration and the leak guard on the Bank Marketing table (UCI, CC BY 4.0)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
    return read_training([DATA], read_mapping(MAPPING))


def part(calls: TrainingTable, rows: np.ndarray) -> TrainingTable:
    columns = {path: [column[row] for row in rows] for path, column in calls.columns.items()}
    return replace(calls, columns=columns, labels=calls.labels[rows], actions=[calls.actions[row] for row in rows])


def scores(calls: TrainingTable, seen: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    known, unknown = part(calls, seen), part(calls, held_out)
    features = [Feature(path, kind) for path, kind in calls.kinds.items()]
    model = train(known.columns, actions=known.actions, labels=known.labels, features=features).model
    return model.propensities_of_table(unknown.columns, unknown.actions)


def test_a_random_fold_is_ranked_and_calibrated(calls: TrainingTable) -> None:
    order = np.random.default_rng(0).permutation(len(calls.labels))
    held_out, seen = np.sort(order[: len(order) // 4]), np.sort(order[len(order) // 4 :])

    chances = scores(calls, seen, held_out)

    labels = calls.labels[held_out]
    gains = evaluate.gains(labels, chances)
    assert evaluate.auc(labels, chances) > 0.78
    assert gains.lift > 4.0
    assert evaluate.calibration_error(labels, chances) < 0.009 + 0.006  # a perfect model's, at this size, and a margin
    assert evaluate.calibration_slope(labels, chances) == pytest.approx(1.0, abs=0.1)


def test_the_last_tenth_of_time_is_still_ranked(calls: TrainingTable) -> None:
    border = int(len(calls.labels) * 0.9)  # the table is in the order of its dates

    chances = scores(calls, np.arange(border), np.arange(border, len(calls.labels)))

    assert evaluate.auc(calls.labels[border:], chances) > 0.6
    assert evaluate.gains(calls.labels[border:], chances).lift > 1.3


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
