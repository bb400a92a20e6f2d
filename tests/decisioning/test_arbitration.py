"""Arbitration: the order of priorities, whole and one by one; sets of actions as arrays."""

from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decisioning.arbitration import arbitrate, best_first
from decisioning.catalog.strategy import indexes_of, members

priorities = st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1.5]) | st.floats(-1e12, 1e12), max_size=40)


def hashes(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 2**63, count).astype(np.uint64)


@given(priorities, st.text(max_size=8))
def test_the_best_come_first_one_by_one_in_the_order_of_all(values: list[float], person: str) -> None:
    priority, action_hash = np.array(values), hashes(len(values))

    order = arbitrate(priority, action_hash, person=person).tolist()

    assert list(best_first(priority, action_hash, person=person)) == order
    assert list(islice(best_first(priority, action_hash, person=person), 2)) == order[:2]
    assert priority.tolist() == values


@given(st.sets(st.integers(0, 300)))
def test_a_set_of_actions_is_the_same_as_bits_as_indexes_and_as_flags(actions: set[int]) -> None:
    mask = sum(1 << action for action in actions)

    assert indexes_of(mask).tolist() == sorted(actions)
    assert members(mask, 301).tolist() == [action in actions for action in range(301)]
