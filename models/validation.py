"""Validation: which rows a fit may see, and which other rows judge it.

numpy only. Of the stated kind: "random" holds out a quarter of the customers after the other, for a model that will
meet other people of the same time; "time" fits what came first and is judged by what came next, for one that will meet
the future. Customers are whole in the first; in the second yesterday's customer may well come back tomorrow.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidTable
from models.features import Floats, Indexes

KINDS = ("random", "time")
FOLD_COUNT = 4
SAMPLE_ROWS = 20_000  # choices are made on about this many rows; calibration, figures and the model itself use all
SAMPLE_RARE_MIN = 200  # customers with the rarer label in that sample, if need be with more rows
BORDERS = (0.4, 0.6, 0.8, 1.0)  # shares of time: fit up to one, judge up to the next
LATE_SHARE = 0.1  # the last tenth of time is what a report's in-time figures are scored on


class Split(NamedTuple):
    """Row positions."""

    seen: Indexes
    held_out: Indexes


def folds_of(labels: Floats, clusters: Indexes) -> Indexes:
    """int64[n], 0..FOLD_COUNT-1: whole clusters, those with the rarer label dealt out first: no fold lacks it."""
    is_rare = has_rare(labels, clusters)
    shuffled = np.random.default_rng(0).permutation(len(is_rare))
    fold_of = np.empty(len(is_rare), dtype=np.int64)
    fold_of[shuffled[np.argsort(~is_rare[shuffled], kind="stable")]] = np.arange(len(is_rare)) % FOLD_COUNT
    return fold_of[clusters]


def sample_of(labels: Floats, clusters: Indexes) -> Indexes:
    """Positions of the sample's rows, ascending: whole clusters, drawn without regard to their labels."""
    row_counts = np.bincount(clusters)
    shuffled = np.random.default_rng(1).permutation(len(row_counts))
    rows_before = np.cumsum(row_counts[shuffled]) - row_counts[shuffled]
    rare_before = np.cumsum(has_rare(labels, clusters)[shuffled])
    is_in = np.zeros(len(row_counts), dtype=np.bool_)
    is_in[shuffled[(rows_before < SAMPLE_ROWS) | (rare_before < SAMPLE_RARE_MIN)]] = True
    return np.flatnonzero(is_in[clusters])


def has_rare(labels: Floats, clusters: Indexes) -> NDArray[np.bool_]:
    """Per cluster: whether one of its rows has the rarer label."""
    rare = labels if labels.mean() <= 0.5 else 1.0 - labels
    return np.bincount(clusters, weights=rare) > 0


def by_folds(rows: Indexes, folds: Indexes) -> list[Split]:
    """One split per fold; folds is of these rows."""
    return [Split(rows[folds != fold], rows[folds == fold]) for fold in np.unique(folds)]


def by_time(rows: Indexes, order: NDArray[np.generic], labels: Floats, folds: Indexes) -> list[Split]:
    """Later and later splits of these rows; order, labels and folds are of the whole table.

    Raises InvalidTable when no early part holds enough of both labels.
    """
    ordered = rows[np.argsort(order[rows], kind="stable")]
    borders = [int(len(ordered) * share) for share in BORDERS]
    splits = [Split(ordered[:border], ordered[border:end]) for border, end in pairwise(borders)]
    if usable := [split for split in splits if is_usable(split, labels, folds)]:
        return usable
    raise InvalidTable(
        f"before {BORDERS[-2]:.0%} of the time has passed there are too few positives or negatives to validate in time"
    )


def last_of_time(order: NDArray[np.generic]) -> Split:
    """The last tenth of time and what came before, both thinned to the size of a sample."""
    ordered = np.argsort(order, kind="stable")
    border = int(len(ordered) * (1 - LATE_SHARE))
    return Split(_thinned(ordered[:border]), _thinned(ordered[border:]))


def is_usable(split: Split, labels: Floats, folds: Indexes) -> bool:
    """Whether the seen rows can be fitted, also when any one of their folds is left out."""
    seen_labels, seen_folds = labels[split.seen], folds[split.seen]
    present = np.unique(seen_folds)
    return len(present) > 1 and all(len(np.unique(seen_labels[seen_folds != fold])) == 2 for fold in present)


def _thinned(rows: Indexes) -> Indexes:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE_ROWS)).astype(np.int64)]
