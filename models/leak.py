"""The leak guard: does one feature alone nearly decide the label?

The length of the call, a status set by the sale itself: facts that exist only after the decision make a model look
brilliant in training and useless in service. Such a column shows by itself. numpy only; train.py asks before it fits
anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from models.errors import LeakSuspected
from models.evaluate import auc
from models.features import Column, Floats, Indexes, Learnt, Numeric, numbers_of, plain_values

AUC_MAX = 0.80  # honest attributes stay below (interest rate: 0.77), the length of the sales call reaches 0.81
BINS_MAX = 32
BIN_ROWS_MIN = 100


def refuse_leaks(alone: Mapping[str, float], labels: Floats, *, known_before: Collection[str]) -> None:
    """Raises LeakSuspected for every feature whose AUC, less one standard error, is AUC_MAX or more.

    known_before names features that the author vouches for as known before the decision.
    """
    suspects = {
        path: value
        for path, value in alone.items()
        if path not in known_before and value - _standard_error(value, labels) >= AUC_MAX
    }
    if suspects:
        raise LeakSuspected(suspects)


def auc_alone(
    features: Sequence[Learnt], columns: Mapping[str, Column], labels: Floats, halves: Indexes
) -> dict[str, float]:
    """How well each feature ranks the label by itself, by path, worst offender first.

    halves  int64[n]  0 or 1: rates per bin come from one half and are scored on the other, else many bins flatter
    """
    figures = {feature.path: _cross_fitted_auc(_bins(feature, columns), labels, halves) for feature in features}
    return dict(sorted(figures.items(), key=lambda item: -item[1]))


def _cross_fitted_auc(bins: Indexes, labels: Floats, halves: Indexes) -> float:
    figures = []
    for half in (0, 1):
        seen, held_out = halves != half, halves == half
        counts = np.bincount(bins[seen], minlength=bins.max() + 1)
        positives = np.bincount(bins[seen], weights=labels[seen], minlength=bins.max() + 1)
        rates = (positives + labels.mean()) / (counts + 1.0)
        figures.append(auc(labels[held_out], rates[bins[held_out]]))
    return float(np.mean(figures))


def _bins(feature: Learnt, columns: Mapping[str, Column]) -> Indexes:
    if not isinstance(feature, Numeric):
        code_of = {None: 0, **{level: index + 2 for index, level in enumerate(feature.levels)}}
        return np.array([code_of.get(value, 1) for value in plain_values(columns[feature.path])], dtype=np.int64)
    numbers = numbers_of(columns[feature.path])
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return np.zeros(len(numbers), dtype=np.int64)
    bin_count = int(np.clip(len(known) // BIN_ROWS_MIN, 2, BINS_MAX))
    edges = np.unique(np.quantile(known, np.arange(1, bin_count) / bin_count))
    return np.where(np.isfinite(numbers), np.searchsorted(edges, numbers) + 1, 0)


def _standard_error(value: float, labels: Floats) -> float:
    """Of an AUC, by Hanley and McNeil: with few positives a high figure may be luck."""
    positives, negatives = labels.sum(), len(labels) - labels.sum()
    both_positive, both_negative = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value)
    variance += (positives - 1) * (both_positive - value**2) + (negatives - 1) * (both_negative - value**2)
    return float(np.sqrt(variance / (positives * negatives)))
