"""Validation: what a fit has seen never judges it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import InvalidTable
from models.validation import (
    FOLD_COUNT,
    SAMPLE_RARE_MIN,
    SAMPLE_ROWS,
    by_folds,
    by_time,
    folds_of,
    is_usable,
    last_of_time,
    sample_of,
)


@given(seed=st.integers(0, 1_000), people=st.integers(40, 80), rate=st.sampled_from([0.2, 0.5, 0.8]))
@settings(max_examples=30, deadline=None)
def test_folds_keep_people_whole_and_hold_both_labels(seed: int, people: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    clusters = random.permutation(np.repeat(np.arange(people), 5))
    labels = (random.random(people) < rate).astype(float)[clusters]
    labels[np.isin(clusters, [0, 1, 2, 3])], labels[np.isin(clusters, [4, 5, 6, 7])] = 0.0, 1.0

    folds = folds_of(labels, clusters)

    assert all(len(set(folds[clusters == person])) == 1 for person in range(people))
    rare = 1.0 if labels.mean() <= 0.5 else 0.0
    assert set(folds[labels == rare]) == set(range(FOLD_COUNT))
    for seen, held_out in by_folds(np.arange(len(labels)), folds):
        assert sorted([*seen, *held_out]) == list(range(len(labels)))


def test_in_time_every_split_is_judged_by_what_came_next() -> None:
    random = np.random.default_rng(0)
    order = random.permutation(1_000)
    labels, folds = (random.random(1_000) < 0.3).astype(float), random.integers(FOLD_COUNT, size=1_000)

    splits = by_time(np.arange(1_000), order, labels, folds)

    assert [len(split.seen) for split in splits] == [400, 600, 800]
    assert all(order[split.seen].max() < order[split.held_out].min() for split in splits)
    assert all(len(split.held_out) == 200 for split in splits)


def test_a_time_whose_beginning_holds_one_label_only_is_skipped_or_refused() -> None:
    order, folds = np.arange(1_000), np.arange(1_000) % FOLD_COUNT
    late, never = (order >= 700).astype(float), (order >= 900).astype(float)

    assert [len(split.seen) for split in by_time(order, order, late, folds)] == [800]
    with pytest.raises(InvalidTable, match="too few positives or negatives to validate in time"):
        by_time(order, order, never, folds)


def test_a_split_whose_positives_are_all_in_one_fold_is_not_usable() -> None:
    order, folds = np.arange(100), np.arange(100) % FOLD_COUNT
    labels = (folds == 1).astype(float)

    assert not is_usable(last_of_time(order), labels, folds)


def test_a_sample_is_of_whole_people_and_grows_until_it_holds_enough_of_the_rarer_label() -> None:
    count = SAMPLE_ROWS * 3
    clusters, labels = np.arange(count) // 2, np.zeros(count)
    labels[::1_000] = 1.0  # sixty people: fewer than are wanted, so all rows are needed

    assert len(sample_of(labels, clusters)) == count
    labels[::10] = 1.0
    few = sample_of(labels, clusters)
    assert SAMPLE_ROWS <= len(few) <= SAMPLE_ROWS + 2
    assert (np.bincount(clusters[few], minlength=count // 2) % 2 == 0).all()
    assert labels[few].sum() >= SAMPLE_RARE_MIN
