"""The regression: scikit-learn's logistic regression over a design whose columns are scaled by their priors.

A column multiplied by the standard deviation of its prior turns all priors into one plain penalty. Neighbours:
design.py makes the columns, train.py decides which regressions are fitted. Training side: imports scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from models.design import INTERCEPT_SD
from models.features import Floats

ITERATIONS_MAX = 100
TOLERANCE = 3e-4  # of the gradient; leaves propensities within 1 % of the exact solution, far below their own error
TOLERANCE_COARSE = 1e-3  # of all fits but the last: moves a log loss by 0.00003


class Part(NamedTuple):
    """Unscaled designs of rows that are fitted, and of other rows that are scored by that fit."""

    seen: sparse.csr_matrix
    labels: Floats  # of the seen rows
    held_out: sparse.csr_matrix


class Crossed(NamedTuple):
    """What regressions on parts of a table say about the rest of it."""

    logits: Floats  # of the held-out rows of all parts, one part after the other
    coefficients: Floats  # [design columns] mean of those regressions


def scaled(design: sparse.csr_matrix, scales: Floats) -> sparse.csr_matrix:
    """A copy with its columns multiplied."""
    values = design.data * scales[design.indices]
    return sparse.csr_matrix((values, design.indices, design.indptr), shape=design.shape)


def crossed(parts: Iterable[Part], scales: Floats) -> Crossed:
    """Fit each part's seen rows, score its held-out rows."""
    logits, coefficients = [], []
    for part in parts:
        regression = fit(scaled(part.seen, scales), part.labels, tolerance=TOLERANCE_COARSE)
        coefficients.append(regression.coef_[0])
        logits.append(part.held_out @ (regression.coef_[0] * scales))
    return Crossed(np.concatenate(logits), np.mean(coefficients, axis=0))


def fit(
    scaled_design: sparse.csr_matrix, labels: Floats, start: Floats | None = None, *, tolerance: float = TOLERANCE
) -> LogisticRegression:
    """The regression; with C = 1 its penalty is exactly the normal prior.

    start  float64[columns]  coefficients near the solution; None starts at the base rate. It saves iterations only.
    Newton steps take a half to a quarter of the time of lbfgs here, and end nearer to the solution.
    """
    if start is None:
        rate = labels.mean()
        start = np.zeros(scaled_design.shape[1])
        start[0] = np.log(rate / (1.0 - rate)) / INTERCEPT_SD
    regression = LogisticRegression(
        C=1.0, fit_intercept=False, solver="newton-cg", max_iter=ITERATIONS_MAX, tol=tolerance, warm_start=True
    )
    regression.coef_ = start[None, :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the report says whether it converged
        return regression.fit(scaled_design, labels)


def has_converged(regression: LogisticRegression) -> bool:
    """Whether the last fit ended before it ran out of iterations."""
    return bool(regression.n_iter_.max() < ITERATIONS_MAX)


def variances(scaled_design: sparse.csr_matrix, coefficients: Floats) -> Floats:
    """float64[columns]: of each coefficient at the optimum, the others held still; its prior variance is 1 here."""
    chances = sigmoid(scaled_design @ coefficients)
    precisions: Floats = scaled_design.multiply(scaled_design).T @ (chances * (1.0 - chances)) + 1.0
    return 1.0 / precisions


def sigmoid(logits: Floats) -> Floats:
    """Chances of logits, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))
