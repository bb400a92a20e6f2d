"""Training: from a table of past decisions and their labels to a calibrated propensity model and a report.

One hierarchical logistic regression: logit = x · (everything + issue + group + action), each part with a normal prior
around zero, fitted as a single scikit-learn LogisticRegression over a sparse design (design.py). Its widths are
chosen by cross-validation on a sample; scores of a cross-fit on the whole table then calibrate it. Never imported by
a serving process: scikit-learn alone costs it a second and 100 MB.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from models.calibrate import Sigmoid, calibrate
from models.design import DEVIATION_INTERCEPT_SD, INTERCEPT_SD, Layout, Prior
from models.errors import InvalidTable
from models.evaluate import log_loss
from models.features import Column, Feature, Floats, Indexes, learn
from models.golden import golden_columns, golden_rows
from models.hierarchy import row_keys_of
from models.leak import auc_alone, refuse_leaks
from models.propensity import Posterior, PriorVariances, PropensityModel
from models.report import Figures, TrainingReport, figures_of, report_of

SHARED_SDS = (0.1, 0.3)  # 1.0 gained 0.0005 in log loss on random folds and lost 0.02 AUC on later rows
DEVIATION_SDS = (0.03, 0.1, 0.3)
SHARED_SD_START = 0.3  # while the deviation is being chosen
FOLD_COUNT = 4
SAMPLE_ROWS = 20_000  # priors are chosen on about this many rows; calibration, figures and the model itself use all
SAMPLE_RARE_MIN = 200  # customers with the rarer label in that sample, if need be with more rows
QUARTERS_ROWS_MAX = 50_000  # larger tables are cross-fitted in halves: two fits cost less, and calibrate as well
LATE_SHARE = 0.1  # the last tenth of time is what the report's in-time figures are scored on
CLASS_CLUSTERS_MIN = 10  # customers with a positive, and with a negative, below which nothing can be validated
ITERATIONS_MAX = 100
TOLERANCE = 3e-4  # of the gradient; leaves propensities within 1 % of the exact solution, far below their own error
TOLERANCE_COARSE = 1e-3  # of all fits but the last: moves a log loss by 0.00003

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model ready to be saved, and what is known about it."""

    model: PropensityModel
    report: TrainingReport


@dataclass(frozen=True, slots=True)
class _Table:
    """The checked training table."""

    columns: Mapping[str, Column]
    actions: NDArray[np.str_]
    labels: Floats
    clusters: Indexes  # 0..k-1
    order: NDArray[np.generic] | None


class _CrossFitted(NamedTuple):
    """What regressions on parts of the table say about the rest of it."""

    logits: Floats  # [rows] of each row, by a regression that saw no row of its fold
    coefficients: Floats  # [design columns] mean of those regressions


def _silent(what: str, done: int, total: int) -> None:
    """Reports to nobody."""


def train(
    columns: Mapping[str, Column],
    *,
    actions: Sequence[str],
    labels: ArrayLike,
    features: Sequence[Feature],
    order: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    known_before: Collection[str] = (),
    progress: Progress = _silent,
) -> TrainedModel:
    """Fit, calibrate and check a model on n rows.

    columns       values by attribute path, each of length n; None or NaN is missing
    actions       issue/group/action of each row
    labels        1 for a positive response, 0 for none
    features      which columns may be used, and how each is read
    order         time of each row; with it the report says how well the last tenth is foreseen
    clusters      customer of each row: a customer's rows never stand on both sides of a validation
    known_before  features that may rank the label on their own, because they really are known before the decision
    Raises InvalidTable, InvalidFeature or LeakSuspected.
    """
    table = _checked(columns, actions, labels, order, clusters)
    encoder = learn(features, columns)
    folds, sample = _folds(table), _sample(table)
    alone = auc_alone(encoder.features, _rows_of(columns, sample), table.labels[sample], folds[sample] % 2)
    refuse_leaks(alone, table.labels[sample], known_before=known_before)

    progress("encoding", 0, 1)
    layout = Layout(encoder, actions)
    design = layout.design(columns, actions)
    prior = _choose_prior(layout, design[sample], table.labels[sample], folds[sample], progress)
    scales = layout.scales(prior)
    scaled = _scale(design, scales)
    progress("calibrating", 0, 1)
    unseen = _cross_fitted(scaled, table.labels, folds if len(folds) <= QUARTERS_ROWS_MAX else folds % 2)
    calibration = calibrate(unseen.logits, table.labels)
    progress("fitting", 0, 1)
    regression = _fit(scaled, table.labels, unseen.coefficients, tolerance=TOLERANCE)
    progress("checking in time", 0, 1)
    in_time = None if table.order is None else _in_time(table, table.order, scaled)
    chances = _sigmoid(calibration.apply(unseen.logits))
    evidence = Counter(table.actions.tolist())
    model = _served(layout, regression, scaled, scales, prior, calibration, evidence)
    found = report_of(
        model,
        columns,
        actions=table.actions,
        labels=table.labels,
        chances=chances,
        clusters=table.clusters,
        choices=_choices(prior, calibration, converged=_converged(regression)),
        auc_alone=alone,
        in_time=in_time,
    )
    return TrainedModel(model, found)


def _choices(prior: Prior, calibration: Sigmoid, *, converged: bool) -> dict[str, str | float]:
    """What was settled on, in words for the report."""
    return {
        "form": "linear",
        "prior sd, shared": prior.shared,
        "prior sd, deviations": prior.deviation,
        "calibration slope": calibration.slope,
        "calibration intercept": calibration.intercept,
        "converged": "yes" if converged else "no",
    }


def _checked(
    columns: Mapping[str, Column],
    actions: Sequence[str],
    labels: ArrayLike,
    order: ArrayLike | None,
    clusters: ArrayLike | None,
) -> _Table:
    truth = np.asarray(labels, dtype=np.float64)
    lengths = {path: len(column) for path, column in columns.items()} | {"actions": len(actions)}
    for name, array in (("order", order), ("clusters", clusters)):
        if array is not None:
            lengths[name] = len(np.asarray(array))
    if unequal := {name: length for name, length in lengths.items() if length != len(truth)}:
        raise InvalidTable(f"there are {len(truth)} labels, but other lengths elsewhere: {unequal}")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise InvalidTable("labels must be 0 or 1 for every row; leave rows without an answer out")
    names = np.arange(len(truth)) if clusters is None else np.asarray(clusters)
    table = _Table(
        columns=columns,
        actions=np.asarray(actions, dtype=np.str_),
        labels=truth,
        clusters=np.unique(names, return_inverse=True)[1].astype(np.int64),
        order=None if order is None else np.asarray(order),
    )
    _refuse_too_few(table)
    return table


def _refuse_too_few(table: _Table) -> None:
    for label, name in ((1.0, "positive"), (0.0, "negative")):
        cluster_count = len(np.unique(table.clusters[table.labels == label]))
        if cluster_count < CLASS_CLUSTERS_MIN:
            raise InvalidTable(
                f"only {cluster_count} customers have a {name} label; at least {CLASS_CLUSTERS_MIN} are needed "
                "to train and to check what was learnt"
            )


def _folds(table: _Table) -> Indexes:
    """int64[n], 0..FOLD_COUNT-1: whole clusters, those with the rarer label dealt out first: no fold lacks it."""
    has_rare = _has_rare(table)
    shuffled = np.random.default_rng(0).permutation(len(has_rare))
    fold_of = np.empty(len(has_rare), dtype=np.int64)
    fold_of[shuffled[np.argsort(~has_rare[shuffled], kind="stable")]] = np.arange(len(has_rare)) % FOLD_COUNT
    return fold_of[table.clusters]


def _sample(table: _Table) -> Indexes:
    """Positions of the sample's rows, ascending: whole clusters, drawn without regard to their labels."""
    row_counts = np.bincount(table.clusters)
    shuffled = np.random.default_rng(1).permutation(len(row_counts))
    rows_before = np.cumsum(row_counts[shuffled]) - row_counts[shuffled]
    rare_before = np.cumsum(_has_rare(table)[shuffled])
    is_in = np.zeros(len(row_counts), dtype=np.bool_)
    is_in[shuffled[(rows_before < SAMPLE_ROWS) | (rare_before < SAMPLE_RARE_MIN)]] = True
    return np.flatnonzero(is_in[table.clusters])


def _has_rare(table: _Table) -> NDArray[np.bool_]:
    """Per cluster: whether one of its rows has the rarer label."""
    rare = table.labels if table.labels.mean() <= 0.5 else 1.0 - table.labels
    return np.bincount(table.clusters, weights=rare) > 0


def _choose_prior(
    layout: Layout, design: sparse.csr_matrix, labels: Floats, folds: Indexes, progress: Progress
) -> Prior:
    """The prior with the least cross-fitted log loss: first how far actions may deviate, then the shared part."""
    deviations = DEVIATION_SDS if layout.levels else DEVIATION_SDS[:1]
    total = len(deviations) + len(SHARED_SDS) - 1
    losses: dict[Prior, float] = {}

    def try_out(prior: Prior) -> None:
        progress("choosing priors", len(losses), total)
        scaled = _scale(design.copy(), layout.scales(prior))
        losses[prior] = log_loss(labels, _sigmoid(_cross_fitted(scaled, labels, folds).logits))

    for deviation in deviations:
        try_out(Prior(SHARED_SD_START, deviation))
    best = min(losses, key=losses.__getitem__)
    for shared in SHARED_SDS:
        if shared != SHARED_SD_START:
            try_out(Prior(shared, best.deviation))
    return min(losses, key=losses.__getitem__)


def _scale(design: sparse.csr_matrix, scales: Floats) -> sparse.csr_matrix:
    """Multiply the columns, in place: large tables are not copied for it."""
    design.data *= scales[design.indices]
    return design


def _cross_fitted(scaled: sparse.csr_matrix, labels: Floats, folds: Indexes) -> _CrossFitted:
    logits = np.empty(len(labels))
    coefficients = []
    for fold in np.unique(folds):
        held_out = folds == fold
        regression = _fit(scaled[~held_out], labels[~held_out], tolerance=TOLERANCE_COARSE)
        coefficients.append(regression.coef_[0])
        logits[held_out] = scaled[held_out] @ regression.coef_[0]
    return _CrossFitted(logits, np.mean(coefficients, axis=0))


def _fit(
    scaled: sparse.csr_matrix, labels: Floats, start: Floats | None = None, *, tolerance: float
) -> LogisticRegression:
    """The regression over columns scaled by their prior sd: with C = 1 its penalty is exactly the normal prior.

    start  float64[columns]  coefficients near the solution; None starts at the base rate. It saves iterations only.
    Newton steps take a half to a quarter of the time of lbfgs here, and end nearer to the solution.
    """
    if start is None:
        rate = labels.mean()
        start = np.zeros(scaled.shape[1])
        start[0] = np.log(rate / (1.0 - rate)) / INTERCEPT_SD
    regression = LogisticRegression(
        C=1.0, fit_intercept=False, solver="newton-cg", max_iter=ITERATIONS_MAX, tol=tolerance, warm_start=True
    )
    regression.coef_ = start[None, :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the report says whether it converged
        return regression.fit(scaled, labels)


def _converged(regression: LogisticRegression) -> bool:
    return bool(regression.n_iter_.max() < ITERATIONS_MAX)


def _in_time(table: _Table, order: NDArray[np.generic], scaled: sparse.csr_matrix) -> Figures | None:
    """Figures on the last tenth of time of a fit on what came before, both thinned to the size of a sample."""
    by_time = np.argsort(order, kind="stable")
    border = int(len(by_time) * (1 - LATE_SHARE))
    early, late = _thinned(by_time[:border]), _thinned(by_time[border:])
    if len(np.unique(table.labels[early])) < 2:
        return None
    regression = _fit(scaled[early], table.labels[early], tolerance=TOLERANCE_COARSE)
    chances = _sigmoid(scaled[late] @ regression.coef_[0])
    return figures_of(table.labels[late], chances, table.actions[late], clusters=table.clusters[late])


def _thinned(rows: Indexes) -> Indexes:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE_ROWS)).astype(np.int64)]


def _served(
    layout: Layout,
    regression: LogisticRegression,
    scaled: sparse.csr_matrix,
    scales: Floats,
    prior: Prior,
    calibration: Sigmoid,
    evidence: Mapping[str, int],
) -> PropensityModel:
    """Fold the calibration into the regression, then its coefficients, with their variances, into a posterior.

    The golden propensities are scikit-learn's own, over the sparse design: nothing of the serving form takes part.
    """
    regression.coef_ *= calibration.slope
    regression.coef_[0, 0] += calibration.intercept / INTERCEPT_SD
    columns, actions = golden_columns(layout.encoder, layout.actions)
    golden_design = _scale(layout.design(columns, actions), scales)
    golden = golden_rows(columns, actions, regression.predict_proba(golden_design)[:, 1])
    coefficients = regression.coef_[0]
    means, variances = coefficients * scales, _variances(scaled, coefficients) * scales**2
    posterior = Posterior(row_keys_of(layout.actions), layout.by_node(means), layout.by_node(variances))
    prior_variances = PriorVariances(intercept=(DEVIATION_INTERCEPT_SD**2,) * 3, slope=(prior.deviation**2,) * 3)
    return PropensityModel(layout.encoder, None, posterior, prior_variances, golden, evidence)


def _variances(scaled: sparse.csr_matrix, coefficients: Floats) -> Floats:
    """float64[columns]: of each coefficient at the optimum, the others held still; its prior variance is 1 here."""
    chances = _sigmoid(scaled @ coefficients)
    precisions: Floats = scaled.multiply(scaled).T @ (chances * (1.0 - chances)) + 1.0
    return 1.0 / precisions


def _rows_of(columns: Mapping[str, Column], rows: Indexes) -> dict[str, Column]:
    return {
        path: column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows.tolist()]
        for path, column in columns.items()
    }


def _sigmoid(logits: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))
