"""Calibration: a sigmoid that corrects how strongly a model speaks, fitted on scores of rows the model has not seen.

A straight line on the logit folds into the model's weights, so it costs nothing when serving. Isotonic steps reach a
lower calibration error on large tables, but mostly a worse log loss, and they give away a little ranking.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.features import Floats

ROWS_MIN = 1_000  # with fewer rows the two parameters cost more than they repair
PENALTY = 20.0  # weight of the prior, in rows or so: slope 1 and intercept 0, the model left as it is
STEPS_MAX = 100
HALVINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """calibrated logit = slope * logit + intercept."""

    slope: float
    intercept: float

    def apply(self, logits: Floats) -> Floats:
        return self.slope * logits + self.intercept


IDENTITY = Sigmoid(1.0, 0.0)


def calibrate(logits: Floats, labels: Floats) -> Sigmoid:
    """The correction for cross-fitted logits; the identity for few rows, or when nothing improves on it.

    logits  float64[n]  scores of rows that took no part in the fit that scored them
    labels  float64[n]  0 or 1
    """
    if len(logits) < ROWS_MIN:
        return IDENTITY
    fitted = fit_sigmoid(logits, labels, penalty=PENALTY)
    better = _loss(fitted, logits, labels, 0.0) < _loss(IDENTITY, logits, labels, 0.0)
    return fitted if better else IDENTITY


def fit_sigmoid(logits: Floats, labels: Floats, *, penalty: float) -> Sigmoid:
    """Penalised maximum likelihood by Newton's method with halved steps.

    Undamped Newton from slope 1 diverges on over-confident scores without a sign of it; starting flat, at the base
    rate, with every step checked, it cannot. Labels of one class only need a penalty above 0.
    """
    rate = np.clip(labels.mean(), 1e-6, 1 - 1e-6)
    current = Sigmoid(0.0, float(np.log(rate / (1.0 - rate))))
    loss = _loss(current, logits, labels, penalty)
    for _ in range(STEPS_MAX):
        step = _newton_step(current, logits, labels, penalty)
        candidate, candidate_loss = _halved(current, step, loss, logits, labels, penalty)
        if loss - candidate_loss <= 1e-12 * (1.0 + abs(loss)):
            return candidate
        current, loss = candidate, candidate_loss
    return current


def _loss(sigmoid: Sigmoid, logits: Floats, labels: Floats, penalty: float) -> float:
    corrected = sigmoid.apply(logits)
    prior = penalty / 2 * ((sigmoid.slope - 1.0) ** 2 + sigmoid.intercept**2)
    return float((np.logaddexp(0.0, corrected) - labels * corrected).sum()) + prior


def _newton_step(sigmoid: Sigmoid, logits: Floats, labels: Floats, penalty: float) -> Floats:
    chance = 1.0 / (1.0 + np.exp(-np.clip(sigmoid.apply(logits), -500.0, 500.0)))
    error, spread = chance - labels, chance * (1.0 - chance)
    gradient = np.array([error @ logits + penalty * (sigmoid.slope - 1.0), error.sum() + penalty * sigmoid.intercept])
    mixed = spread @ logits
    hessian = np.array([[spread @ logits**2, mixed], [mixed, spread.sum()]]) + (penalty + 1e-9) * np.eye(2)
    return -np.linalg.solve(hessian, gradient)


def _halved(
    start: Sigmoid, step: Floats, loss: float, logits: Floats, labels: Floats, penalty: float
) -> tuple[Sigmoid, float]:
    """The first of step, step/2, step/4, ... that does not raise the loss; the start itself when none does."""
    for halving in range(HALVINGS_MAX):
        slope, intercept = step * 0.5**halving
        candidate = Sigmoid(start.slope + float(slope), start.intercept + float(intercept))
        candidate_loss = _loss(candidate, logits, labels, penalty)
        if candidate_loss <= loss:
            return candidate, candidate_loss
    return start, loss
