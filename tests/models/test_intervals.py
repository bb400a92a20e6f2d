"""Intervals: as wide as resampling says, around the figure, and honest about how often they hold the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models import MetricUndefined, evaluate, intervals
from models.evaluate import Interval

PERSON_COUNT, ROWS_EACH = 600, 4


class Rows:
    """Rows of people who lean one way or the other: their rows are worth less than as many people."""

    def __init__(self, seed: int, *, slope: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        self.persons = np.repeat(np.arange(PERSON_COUNT), ROWS_EACH)
        logits = np.repeat(random.normal(-1.0, 1.0, PERSON_COUNT), ROWS_EACH) + random.normal(
            0.0, 0.3, len(self.persons)
        )
        self.chances = 1 / (1 + np.exp(-logits))
        truth = 1 / (1 + np.exp(-slope * logits))
        self.labels = (np.repeat(random.random(PERSON_COUNT), ROWS_EACH) < truth).astype(float)
        self.actions = np.resize(["a/b/c", "a/b/d"], len(self.persons))
        self.other = np.clip(self.chances + np.repeat(random.normal(0, 0.1, PERSON_COUNT), ROWS_EACH), 0.01, 0.99)


FIGURES: dict[str, tuple[Callable[..., float], Callable[[Rows], Interval], tuple[str, ...]]] = {
    "auc": (
        evaluate.auc_within,
        lambda rows: intervals.auc_within_interval(rows.labels, rows.chances, rows.actions, rows.persons),
        ("labels", "chances", "actions"),
    ),
    "auc difference": (
        lambda labels, chances, other, actions: (
            evaluate.auc_within(labels, chances, actions) - evaluate.auc_within(labels, other, actions)
        ),
        lambda rows: intervals.auc_difference_interval(
            rows.labels, rows.chances, rows.other, rows.actions, rows.persons
        ),
        ("labels", "chances", "other", "actions"),
    ),
    "average precision": (
        evaluate.average_precision,
        lambda rows: intervals.average_precision_interval(rows.labels, rows.chances, rows.persons),
        ("labels", "chances"),
    ),
    "log loss": (
        evaluate.log_loss,
        lambda rows: intervals.log_loss_interval(rows.labels, rows.chances, rows.persons),
        ("labels", "chances"),
    ),
    "brier": (
        evaluate.brier,
        lambda rows: intervals.brier_interval(rows.labels, rows.chances, rows.persons),
        ("labels", "chances"),
    ),
    "slope": (
        evaluate.calibration_slope,
        lambda rows: intervals.slope_interval(rows.labels, rows.chances, rows.persons, level=0.95),
        ("labels", "chances"),
    ),
}


@pytest.mark.parametrize(("figure", "interval", "names"), FIGURES.values(), ids=FIGURES.keys())
def test_an_interval_is_that_of_a_bootstrap_over_customers(
    figure: Callable[..., float], interval: Callable[[Rows], Interval], names: tuple[str, ...]
) -> None:
    rows = Rows(1)
    arrays = [getattr(rows, name) for name in names]

    low, high = interval(rows)

    resampled = evaluate.interval(figure, *arrays, clusters=rows.persons, draws=300)
    width = resampled.high - resampled.low
    assert low < figure(*arrays) < high
    assert (low, high) == pytest.approx(resampled, abs=0.15 * width)
    alone = evaluate.interval(figure, *arrays, draws=100)
    assert high - low > 1.2 * (alone.high - alone.low)


def test_the_interval_of_a_calibration_error_reaches_zero_only_where_chances_are_true() -> None:
    true = [_error_interval(Rows(seed)) for seed in range(12)]
    false = [_error_interval(Rows(seed, slope=0.4)) for seed in range(12)]

    assert sum(low == 0.0 for low, _ in true) >= 11
    assert min(low for low, _ in false) > 0.0
    assert all(
        low <= evaluate.calibration_error(rows.labels, rows.chances) <= high
        for rows, (low, high) in zip(map(Rows, range(12)), true, strict=True)
    )


def _error_interval(rows: Rows) -> Interval:
    return intervals.calibration_error_interval(rows.labels, rows.chances, rows.persons, draws=100)


def test_a_slope_of_one_is_within_the_interval_of_true_chances_and_not_of_timid_ones() -> None:
    covered = [
        low < 1.0 < high
        for low, high in (intervals.slope_interval(r.labels, r.chances, r.persons) for r in map(Rows, range(40)))
    ]
    timid = Rows(0, slope=2.0)

    assert sum(covered) >= 38  # of 40, at 99 %
    assert intervals.slope_interval(timid.labels, timid.chances, timid.persons).low > 1.0


@pytest.mark.parametrize("chances", [[0.1, 0.2, 0.8, 0.9], [0.3, 0.3, 0.3, 0.3]])
def test_a_slope_that_any_number_would_fit_has_no_interval(chances: list[float]) -> None:
    with pytest.raises(MetricUndefined):
        intervals.slope_interval([0, 0, 1, 1], chances, [1, 2, 3, 4])


def test_rows_of_one_customer_have_no_interval() -> None:
    with pytest.raises(MetricUndefined, match="two customers"):
        intervals.brier_interval([0, 1], [0.2, 0.3], ["a", "a"])
