"""Evaluation: does a model rank, is it calibrated, what is a call list worth.

numpy only. `labels` are 0 or 1, `chances` are probabilities (for ranking figures any score does), both of length n.
No figure depends on the order of rows: equal scores are one block everywhere. Figures without a value on the given
rows raise MetricUndefined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.calibrate import fit_sigmoid
from models.errors import MetricUndefined
from models.features import Floats, Indexes

CALIBRATION_BINS = 15
FLOOR_DRAWS = 200
CHANCE_MIN = 1e-15  # probabilities are kept this far from 0 and 1, where a log loss would be infinite
LOGITS_SPREAD_MIN = 1e-9  # chances nearer to each other than this are one chance, which has no slope
INTERVAL = 0.95


class Gains(NamedTuple):
    """What calling only the best-scored share of a list achieves."""

    average: float  # acceptance over the whole list
    top: float  # acceptance among the best-scored share
    captured: float  # part of all acceptances that the best-scored share holds

    @property
    def lift(self) -> float:
        """How many times better than calling at random."""
        return self.top / self.average


class Interval(NamedTuple):
    """Where a figure lies, at a level of confidence of INTERVAL unless said otherwise."""

    low: float
    high: float


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Chance that a random positive scores above a random negative, ties counted half."""
    blocks = _blocks(labels, scores)
    negatives = blocks.rows - blocks.positives
    pairs = blocks.positives.sum() * negatives.sum()
    if pairs == 0:
        raise MetricUndefined("AUC needs a positive and a negative")
    below = np.cumsum(negatives[::-1])[::-1] - negatives  # negatives in worse blocks; blocks run best first
    return float((blocks.positives * (below + negatives / 2)).sum() / pairs)


def auc_within(labels: ArrayLike, scores: ArrayLike, actions: ArrayLike) -> float:
    """AUC within each action, averaged by the number of pairs it compares.

    Pooling actions flatters: knowing each action's base rate alone reaches a high AUC while ranking nobody.
    """
    truth, values = truth_and_values(labels, scores)
    figures, pairs = [], []
    for rows in rows_by(actions):
        positives = truth[rows].sum()
        if 0 < positives < len(rows):
            figures.append(auc(truth[rows], values[rows]))
            pairs.append(positives * (len(rows) - positives))
    if not pairs:
        raise MetricUndefined("AUC within actions needs an action with a positive and a negative")
    return float(np.average(figures, weights=pairs))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Precision averaged over the positives, going down the list; the base rate is what a random order reaches."""
    blocks = _blocks(labels, scores)
    if blocks.positives.sum() == 0:
        raise MetricUndefined("average precision needs a positive")
    precision = np.cumsum(blocks.positives) / np.cumsum(blocks.rows)
    return float(np.average(precision, weights=blocks.positives))


def brier(labels: ArrayLike, chances: ArrayLike) -> float:
    """Mean squared difference between chance and label."""
    truth, values = truth_and_values(labels, chances)
    return float(((values - truth) ** 2).mean())


def log_loss(labels: ArrayLike, chances: ArrayLike) -> float:
    """Mean negative log likelihood, in nats."""
    return float(log_losses(labels, chances).mean())


def log_losses(labels: ArrayLike, chances: ArrayLike) -> Floats:
    """float64[n]: the log loss of each row, for paired comparisons."""
    truth, values = truth_and_values(labels, chances)
    bounded = np.clip(values, CHANCE_MIN, 1.0 - CHANCE_MIN)
    return -np.where(truth == 1.0, np.log(bounded), np.log1p(-bounded))


def calibration_error(labels: ArrayLike, chances: ArrayLike) -> float:
    """Mean |mean chance - observed rate| over 15 bins of equal row count, weighted by rows.

    Even a perfect model is above 0 here; `calibration_floor` says how much.
    """
    truth, values = truth_and_values(labels, chances)
    bins, _ = binned(values)
    return float(np.abs(np.bincount(bins, weights=values - truth)).sum() / len(truth))


def calibration_floor(chances: ArrayLike, *, draws: int = FLOOR_DRAWS, seed: int = 0) -> float:
    """The calibration error to expect on these rows if the chances were true: labels are drawn from them, many times.

    About 0.0045 on 28,000 rows at a rate of 11 %; it falls with the square root of the rows.
    """
    values = np.asarray(chances, dtype=np.float64)
    truth_and_values(np.zeros(len(values)), values)
    bins, bin_count = binned(values)
    random, expected = np.random.default_rng(seed), np.bincount(bins, weights=values, minlength=bin_count)
    errors = [
        np.abs(expected - np.bincount(bins[random.random(len(values)) < values], minlength=bin_count)).sum()
        for _ in range(draws)
    ]
    return float(np.mean(errors) / len(values))


def calibration_slope(labels: ArrayLike, chances: ArrayLike) -> float:
    """Slope of the label on the logit of the chance: 1 is right, below 1 over-confident, above 1 too timid."""
    truth, values = truth_and_values(labels, chances)
    return fit_sigmoid(slope_logits(truth, values), truth, penalty=0.0).slope


def gains(labels: ArrayLike, scores: ArrayLike, *, share: float = 0.1) -> Gains:
    """Acceptance in the best-scored share of the rows; a block of equal scores at its edge counts in proportion."""
    blocks = _blocks(labels, scores)
    row_count, positive_count = blocks.rows.sum(), blocks.positives.sum()
    if positive_count == 0:
        raise MetricUndefined("gains need a positive")
    called, accepted = (np.append(0.0, np.cumsum(counts)) for counts in (blocks.rows, blocks.positives))
    reached = np.interp(share * row_count, called, accepted)
    return Gains(
        average=float(positive_count / row_count),
        top=float(reached / (share * row_count)),
        captured=float(reached / positive_count),
    )


def interval(
    figure: Callable[..., float], *arrays: ArrayLike, clusters: ArrayLike | None = None, draws: int = 500, seed: int = 0
) -> Interval:
    """Bootstrap interval of figure(*arrays): rows of one cluster (a customer, say) are drawn together.

    Draws without a value are left out. Raises MetricUndefined when fewer than half of them have one.
    """
    columns = [np.asarray(array) for array in arrays]
    names = np.arange(len(columns[0])) if clusters is None else clusters
    values = []
    for rows in _resamples(names, draws, np.random.default_rng(seed)):
        try:
            values.append(figure(*(column[rows] for column in columns)))
        except MetricUndefined:
            continue
    if len(values) < draws / 2:
        raise MetricUndefined("too few resamples have a value: there are too few positives or clusters")
    low, high = np.quantile(values, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return Interval(float(low), float(high))


def slope_logits(truth: Floats, chances: Floats) -> Floats:
    """float64[n]: log odds, of chances kept a little away from 0 and 1. Raises MetricUndefined where no slope fits."""
    bounded = np.clip(chances, CHANCE_MIN, 1.0 - CHANCE_MIN)
    logits: Floats = np.log(bounded) - np.log1p(-bounded)
    if not 0.0 < truth.mean() < 1.0 or np.ptp(logits) < LOGITS_SPREAD_MIN:
        raise MetricUndefined("a calibration slope needs a positive, a negative, and chances that differ")
    positives, negatives = logits[truth == 1.0], logits[truth == 0.0]
    if positives.min() >= negatives.max() or positives.max() <= negatives.min():
        raise MetricUndefined("chances that part positives from negatives without exception have no finite slope")
    return logits


def binned(chances: Floats) -> tuple[Indexes, int]:
    """int64[n]: the bin of each row out of CALIBRATION_BINS of equal row count; equal chances share a bin."""
    distinct, codes = np.unique(chances, return_inverse=True)
    rows = np.bincount(codes, minlength=len(distinct))
    middle = np.cumsum(rows) - rows / 2
    return (CALIBRATION_BINS * middle / len(chances)).astype(np.int64)[codes], CALIBRATION_BINS


def rows_by(names: ArrayLike) -> list[Indexes]:
    """The row positions of each distinct name, names in sorted order."""
    _, codes = np.unique(np.asarray(names), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


class _Blocks(NamedTuple):
    """Rows of equal score as one block, best score first."""

    scores: Floats
    rows: Floats
    positives: Floats


def _blocks(labels: ArrayLike, scores: ArrayLike) -> _Blocks:
    truth, values = truth_and_values(labels, scores)
    distinct, codes = np.unique(-values, return_inverse=True)
    rows = np.bincount(codes).astype(np.float64)
    positives = np.bincount(codes, weights=truth)
    return _Blocks(-distinct, rows, positives.astype(np.float64))


def truth_and_values(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64[n]. Raises MetricUndefined for no rows, ValueError for what are no labels or no scores."""
    truth, values = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise ValueError(f"labels {truth.shape} and scores {values.shape} must be two lists of one length")
    if not len(truth):
        raise MetricUndefined("there are no rows")
    if np.isnan(values).any() or not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1, and no score NaN")
    return truth, values


def _resamples(clusters: ArrayLike, draws: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    members = rows_by(clusters)
    sizes = np.array([len(rows) for rows in members])
    order, starts = np.concatenate(members), np.cumsum(sizes) - sizes
    for _ in range(draws):
        drawn = random.integers(len(members), size=len(members))
        lengths = sizes[drawn]
        # Position within the drawn cluster, for every row at once: a loop over thousands of clusters costs seconds.
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield order[np.repeat(starts[drawn], lengths) + within]
