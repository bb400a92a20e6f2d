"""Intervals: how far a figure may lie from what all customers would show, without resampling.

numpy only. Each figure has a derivative with respect to the weight of a row; summed over the rows of a cluster (a
customer, say) and squared, these give its variance (the infinitesimal jackknife). That agrees with a bootstrap over
clusters, costs one sort instead of hundreds, and is the same on every machine. Only the calibration error has no
derivative at 0: its noise is resampled, over bins that stay where they are.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from models.calibrate import fit_sigmoid
from models.errors import MetricUndefined
from models.evaluate import (
    INTERVAL,
    Interval,
    auc_within,
    average_precision,
    binned,
    log_losses,
    rows_by,
    slope_logits,
    truth_and_values,
)
from models.features import Floats, Indexes

LEVEL = INTERVAL
SLOPE_LEVEL = 0.99  # a slope is asked whether it may be 1, and one model in twenty would fail that by chance
DRAWS = 200
SEPARATED = 1e-3  # with every label foreseen this well, only the end of the iterations kept a slope finite
CLUSTERS_MIN = 2


def auc_within_interval(
    labels: ArrayLike, scores: ArrayLike, actions: ArrayLike, clusters: ArrayLike, *, level: float = LEVEL
) -> Interval:
    """Of evaluate.auc_within. Raises MetricUndefined where that does, or for a single cluster."""
    figure, moved = _auc_moved(labels, scores, actions)
    return _around(figure, moved, clusters, level, bounds=(0.0, 1.0))


def auc_difference_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    other: ArrayLike,
    actions: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = LEVEL,
) -> Interval:
    """Of the difference between two models' evaluate.auc_within on the same rows, scores - other.

    Raises MetricUndefined as auc_within_interval does.
    """
    (figure, moved), (other_figure, other_moved) = (_auc_moved(labels, each, actions) for each in (scores, other))
    return _around(figure - other_figure, moved - other_moved, clusters, level)


def average_precision_interval(
    labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike, *, level: float = LEVEL
) -> Interval:
    """Of evaluate.average_precision. Raises MetricUndefined where that does, or for a single cluster."""
    truth, values = truth_and_values(labels, scores)
    figure = average_precision(truth, values)
    _, codes = np.unique(-values, return_inverse=True)  # blocks of equal scores, best first
    rows, positives = np.bincount(codes), np.bincount(codes, weights=truth)
    so_far = np.cumsum(rows)
    precision = np.cumsum(positives) / so_far
    # A row moves its own precision, if it is a positive, and that of every block that is not better than its own.
    of_worse = np.cumsum((positives / so_far)[::-1])[::-1]
    precision_of_worse = np.cumsum((positives * precision / so_far)[::-1])[::-1]
    moved = truth * (precision[codes] - figure + of_worse[codes]) - precision_of_worse[codes]
    return _around(figure, moved / truth.sum(), clusters, level, bounds=(0.0, 1.0))


def log_loss_interval(labels: ArrayLike, chances: ArrayLike, clusters: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Of evaluate.log_loss. Raises MetricUndefined for a single cluster."""
    return mean_interval(log_losses(labels, chances), clusters, level=level)


def brier_interval(labels: ArrayLike, chances: ArrayLike, clusters: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Of evaluate.brier. Raises MetricUndefined for a single cluster."""
    truth, values = truth_and_values(labels, chances)
    return mean_interval((values - truth) ** 2, clusters, level=level)


def mean_interval(values: Floats, clusters: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Of a mean over rows. Raises MetricUndefined for a single cluster."""
    return _around(float(values.mean()), (values - values.mean()) / len(values), clusters, level)


def slope_interval(
    labels: ArrayLike, chances: ArrayLike, clusters: ArrayLike, *, level: float = SLOPE_LEVEL
) -> Interval:
    """Of evaluate.calibration_slope. Raises MetricUndefined where that does, or where chances hardly differ."""
    truth, values = truth_and_values(labels, chances)
    logits = slope_logits(truth, values)
    fitted = fit_sigmoid(logits, truth, penalty=0.0)
    corrected = 1.0 / (1.0 + np.exp(-np.clip(fitted.apply(logits), -500.0, 500.0)))
    design = np.column_stack([np.ones(len(logits)), logits])
    information = design.T @ (design * (corrected * (1.0 - corrected))[:, None])
    if np.abs(truth - corrected).max() < SEPARATED or np.linalg.cond(information) > 1e12:
        raise MetricUndefined("the chances separate positives from negatives: any steep slope would do")
    moved = np.linalg.solve(information, (design * (truth - corrected)[:, None]).T)[1]
    return _around(fitted.slope, moved, clusters, level)


def calibration_error_interval(
    labels: ArrayLike, chances: ArrayLike, clusters: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS
) -> Interval:
    """Of evaluate.calibration_error; it holds the true one at least as often as `level` says.

    What chance adds to the bins' errors is drawn by resampling customers. Whichever way it added, the truth is no
    farther away than its sum, so the interval is the figure and that much on either side: 0 is within it unless chance
    cannot explain the figure. Raises MetricUndefined for a single cluster.
    """
    truth, values = truth_and_values(labels, chances)
    bins, bin_count = binned(values)
    codes, cluster_count = _clusters(clusters)
    excess = np.bincount(codes * bin_count + bins, weights=values - truth, minlength=cluster_count * bin_count)
    by_cluster = excess.reshape(cluster_count, bin_count)
    row_counts = np.bincount(codes, minlength=cluster_count).astype(np.float64)
    found = by_cluster.sum(axis=0) / len(truth)
    random, noise = np.random.default_rng(0), np.empty(draws)
    for draw in range(draws):
        drawn = np.bincount(random.integers(cluster_count, size=cluster_count), minlength=cluster_count)
        times = drawn.astype(np.float64)  # a product of whole numbers takes numpy's slow way
        noise[draw] = np.abs(times @ by_cluster / (times @ row_counts) - found).sum()
    figure, error = float(np.abs(found).sum()), float(np.quantile(noise, level))
    return Interval(max(0.0, figure - error), figure + error)


def _auc_moved(labels: ArrayLike, scores: ArrayLike, actions: ArrayLike) -> tuple[float, Floats]:
    """The AUC within actions, and float64[n]: how it moves, per weight of a row."""
    truth, values = truth_and_values(labels, scores)
    figure = auc_within(truth, values, actions)
    moved, pairs = np.zeros(len(truth)), 0.0
    for rows in rows_by(actions):
        positives = truth[rows].sum()
        negatives = len(rows) - positives
        ranked = np.where(truth[rows] == 1.0, negatives, positives)  # pairs that a row takes part in
        moved[rows] = _won(truth[rows], values[rows]) - figure * ranked
        pairs += positives * negatives
    return figure, moved / pairs


def _won(truth: Floats, values: Floats) -> Floats:
    """float64[n]: of the pairs of a positive with a negative that a row takes part in, how many are in order."""
    _, codes = np.unique(values, return_inverse=True)
    positives = np.bincount(codes, weights=truth)
    negatives = np.bincount(codes) - positives
    below = np.cumsum(negatives) - negatives / 2  # negatives worse than a block, and half of those in it
    above = positives.sum() - np.cumsum(positives) + positives / 2
    return np.where(truth == 1.0, below[codes], above[codes])


def _around(
    figure: float,
    moved: Floats,
    clusters: ArrayLike,
    level: float,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """moved is float64[n]: how the figure moves, per weight of a row."""
    codes, cluster_count = _clusters(clusters)
    by_cluster = np.bincount(codes, weights=moved)
    variance = cluster_count / (cluster_count - 1) * float(((by_cluster - by_cluster.mean()) ** 2).sum())
    error = NormalDist().inv_cdf((1 + level) / 2) * float(np.sqrt(variance))
    return Interval(max(bounds[0], figure - error), min(bounds[1], figure + error))


def _clusters(clusters: ArrayLike) -> tuple[Indexes, int]:
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < CLUSTERS_MIN:
        raise MetricUndefined("an interval needs rows of two customers or more")
    return codes.astype(np.int64), len(names)
