"""Calibration: repairs what speaks too loudly, leaves alone what it cannot judge."""

from __future__ import annotations

import numpy as np
import pytest

from models.calibrate import IDENTITY, PENALTY, ROWS_MIN, calibrate, fit_sigmoid


def drawn(row_count: int, *, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels whose true logit is slope x logit + intercept."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, row_count)
    labels = random.random(row_count) < 1 / (1 + np.exp(-(slope * logits + intercept)))
    return logits, labels.astype(float)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -2.0), (0.1, 1.0), (1.6, 0.3)])
def test_the_true_correction_is_found(slope: float, intercept: float) -> None:
    logits, labels = drawn(50_000, slope=slope, intercept=intercept)

    found = calibrate(logits, labels)

    assert found.slope == pytest.approx(slope, abs=0.04)
    assert found.intercept == pytest.approx(intercept, abs=0.06)


def test_grossly_over_confident_scores_do_not_make_it_diverge() -> None:
    # Undamped Newton from slope 1 ends far away on such scores and says nothing.
    logits, labels = drawn(5_000, slope=0.02, intercept=-3.0)

    found = calibrate(logits * 50, labels)

    assert found.slope < 0.05
    chances = 1 / (1 + np.exp(-found.apply(logits * 50)))
    assert chances.mean() == pytest.approx(labels.mean(), abs=0.015)  # the prior pulls a rate of 5 % up a little


def test_few_rows_leave_the_model_as_it_is() -> None:
    logits, labels = drawn(ROWS_MIN - 1, slope=0.2, intercept=0.0)

    assert calibrate(logits, labels) is IDENTITY


def test_the_prior_holds_the_slope_near_one_when_labels_say_little() -> None:
    logits, labels = drawn(40, slope=0.2, intercept=0.0)

    held, free = fit_sigmoid(logits, labels, penalty=PENALTY), fit_sigmoid(logits, labels, penalty=0.0)

    assert abs(held.slope - 1) < abs(free.slope - 1)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_of_one_class_have_a_finite_answer(label: float) -> None:
    found = fit_sigmoid(np.linspace(-3, 3, 50), np.full(50, label), penalty=PENALTY)

    assert np.isfinite([found.slope, found.intercept]).all()
