"""Forests: masks reach the leaf that walking reaches, and what is no forest is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import InvalidTable
from models.forest import CHUNK_ROWS, LEAVES_MAX, Forest, Node
from tests.models.forests import random_tree, walked

WIDTH = 6


@given(seed=st.integers(0, 10_000), leaf_counts=st.lists(st.integers(1, LEAVES_MAX), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_masks_reach_the_leaf_that_walking_reaches(seed: int, leaf_counts: list[int]) -> None:
    random = np.random.default_rng(seed)
    trees = [random_tree(random, WIDTH, count) for count in leaf_counts]
    forest = Forest.of_trees(trees)
    customers = random.normal(size=(20, WIDTH))
    edges = [node.threshold for tree in trees for node in tree if node.feature >= 0]
    customers[::2] = random.choice([*edges, 0.0], size=(10, WIDTH))  # on an edge one goes left

    reached = forest.leaf_values[np.arange(len(trees)), forest.leaves_of_table(customers)]

    assert reached.tolist() == [[walked(tree, customer) for tree in trees] for customer in customers]
    assert forest.score_table(customers) == pytest.approx(reached.sum(axis=1), abs=1e-12)


def test_a_row_scores_the_same_alone_and_in_a_table_of_any_length() -> None:
    random = np.random.default_rng(1)
    forest = Forest.of_trees([random_tree(random, WIDTH, 16) for _ in range(101)], centre=0.3, scale=1.7)
    customers = random.normal(size=(CHUNK_ROWS + 3, WIDTH))

    alone = [forest.score(customer) for customer in customers]

    assert forest.score_table(customers).tolist() == alone
    assert forest.score_table(customers[:2]).tolist() == alone[:2]


def test_the_score_is_standardised() -> None:
    tree = [Node(2, 0.5, 1, 2, 0.0), Node(-1, 0.0, -1, -1, 3.0), Node(-1, 0.0, -1, -1, 5.0)]
    forest = Forest.of_trees([tree, tree], centre=8.0, scale=2.0)

    assert [forest.score(np.array([0.0, 0.0, value])) for value in (0.5, 0.6)] == [-1.0, 1.0]
    assert forest.columns.tolist() == [2]


def test_a_forest_comes_back_from_its_arrays() -> None:
    random = np.random.default_rng(2)
    forest = Forest.of_trees([random_tree(random, WIDTH, count) for count in (1, 32, 7)], centre=-1.0, scale=0.5)

    back = Forest.from_arrays(forest.arrays())

    customers = random.normal(size=(10, WIDTH))
    assert back.score_table(customers).tolist() == forest.score_table(customers).tolist()


def test_more_leaves_than_a_mask_has_bits_are_refused() -> None:
    with pytest.raises(InvalidTable, match="33 leaves"):
        Forest.of_trees([random_tree(np.random.default_rng(0), WIDTH, LEAVES_MAX + 1)])


def changed(name: str, at: tuple[int, ...], value: Any) -> dict[str, Any]:
    forest = Forest.of_trees([random_tree(np.random.default_rng(3), WIDTH, 8)] * 2)
    array = getattr(forest, name).copy()
    array[at] = value
    return {"forest": forest, "changes": {name: array}}


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (changed("feature", (0, 0), -1), "before the first"),
        (changed("ruled_out", (0, 0), 1 << 7), "rules out its last leaf"),
        (changed("ruled_out", (1, 2), 1 << 31), "rules out its last leaf"),
        (changed("threshold", (0, 0), np.nan), "not finite"),
        (changed("leaf_values", (0, 0), np.inf), "not finite"),
    ],
)
def test_arrays_that_are_no_trees_are_refused(case: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidTable, match=said):
        replace(case["forest"], **case["changes"])


@pytest.mark.parametrize("name", ["feature", "threshold", "ruled_out", "leaf_values", "standard"])
def test_missing_and_mistyped_arrays_are_named(name: str) -> None:
    arrays = Forest.of_trees([random_tree(np.random.default_rng(3), WIDTH, 8)]).arrays()
    without = {key: array for key, array in arrays.items() if key != name}

    for broken in (without, arrays | {name: arrays[name].astype(np.float32)}):
        with pytest.raises(InvalidTable, match=name):
            Forest.from_arrays(broken)


def test_a_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(InvalidTable, match="scale positive"):
        Forest.of_trees([random_tree(np.random.default_rng(3), WIDTH, 8)], scale=0.0)
