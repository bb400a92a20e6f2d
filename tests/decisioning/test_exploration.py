"""Exploration: the closed formula and the draw, on generated values."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from decisioning import exploration
from decisioning.exploration import LAUNCH_TOTAL_MAX, chosen, selection_probabilities
from tests.decisioning.shares import shares_of

amounts = st.floats(-1e9, 1e9) | st.floats(-20, 20) | st.sampled_from([0.0, 1.0, -1.0, 5.0, 1e300, -1e300])


@st.composite
def situations(draw: st.DrawFn, *, launching: bool = True) -> dict[str, Any]:
    count = draw(st.integers(1, 12))
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    return {
        "value": np.array(draw(st.lists(amounts, min_size=count, max_size=count))),
        "explores": np.array(draw(flags)),
        "launches": np.array(draw(flags)) if launching else np.zeros(count, dtype=bool),
        "sacrifice": draw(st.sampled_from([0.01, 0.05, 0.2])),
        "scale_min": draw(st.sampled_from([0.1, 1.0, 10.0])),
        "launch_share": draw(st.sampled_from([0.0, 0.01, 0.2])),
    }


def probabilities(value: list[float], **options: Any) -> np.ndarray:
    count = len(value)
    settings = {
        "explores": np.ones(count, dtype=bool),
        "launches": np.zeros(count, dtype=bool),
        "sacrifice": 0.05,
        "scale_min": 1.0,
        "launch_share": 0.01,
    }
    return selection_probabilities(np.array(value), **settings | options)


def hashes(count: int) -> np.ndarray:
    keys = (f"grow/cards/{index}".encode() for index in range(count))
    return np.array([int.from_bytes(blake2b(key, digest_size=8).digest()) for key in keys], dtype=np.uint64)


@given(situations())
def test_probabilities_sum_to_one_and_none_is_negative(situation: dict[str, Any]) -> None:
    probability = selection_probabilities(**situation)

    assert abs(probability.sum() - 1.0) <= 1e-12
    assert (probability >= 0.0).all()


@given(situations())
def test_the_best_is_the_most_probable(situation: dict[str, Any]) -> None:
    probability = selection_probabilities(**situation)

    assert probability[situation["value"].argmax()] >= probability.max() * (1 - 1e-12)


@given(situations(launching=False))
def test_among_those_that_explore_more_value_is_more_probable(situation: dict[str, Any]) -> None:
    probability = selection_probabilities(**situation)[situation["explores"]]

    by_value = np.argsort(situation["value"][situation["explores"]], kind="stable")
    assert (np.diff(probability[by_value]) >= -1e-12).all()


@given(situations(), st.data())
def test_raising_a_value_lowers_neither_its_probability_nor_its_rank(
    situation: dict[str, Any], data: st.DataObject
) -> None:
    raised = data.draw(st.integers(0, len(situation["value"]) - 1))
    more = situation["value"].copy()
    more[raised] += data.draw(st.floats(0, 50) | st.just(1e9))

    before = selection_probabilities(**situation)
    after = selection_probabilities(**situation | {"value": more})

    assert after[raised] >= before[raised] - 1e-12
    # Floors lift a launch past others on purpose; its rank among the rest is what a value decides.
    others = ~situation["launches"] & situation["explores"]
    others[raised] = False
    overtaken = (before[raised] > before + 1e-12) & others
    assert (after[raised] >= after[overtaken] - 1e-12).all()


@given(situations(), st.randoms())
def test_the_order_of_candidates_changes_nothing(situation: dict[str, Any], random: Any) -> None:
    order = list(range(len(situation["value"])))
    random.shuffle(order)

    shuffled = {
        name: given[order] if name in ("value", "explores", "launches") else given for name, given in situation.items()
    }

    assert selection_probabilities(**shuffled) == pytest.approx(selection_probabilities(**situation)[order], abs=1e-12)


@given(situations())
def test_what_does_not_explore_is_chosen_only_as_the_best(situation: dict[str, Any]) -> None:
    probability = selection_probabilities(**situation)

    silent = ~situation["explores"] & (situation["value"] < situation["value"].max())
    assert (probability[silent] == 0.0).all()


@given(situations(launching=False))
def test_no_more_than_the_sacrifice_is_given_up_before_floors(situation: dict[str, Any]) -> None:
    value, best = situation["value"], situation["value"].max()
    assume(np.abs(value).max() < 1e10)

    given_up = selection_probabilities(**situation) @ (best - value)

    assert given_up <= situation["sacrifice"] * max(best, situation["scale_min"]) * (1 + 1e-9) + 1e-6


@given(situations())
def test_floors_take_at_most_five_percent_in_all(situation: dict[str, Any]) -> None:
    without = selection_probabilities(**situation | {"launch_share": 0.0})

    lifted = selection_probabilities(**situation) - without

    assert lifted[lifted > 0].sum() <= LAUNCH_TOTAL_MAX + 1e-12
    assert (lifted < -1e-12).sum() <= (situation["value"] == situation["value"].max()).sum()  # only the best pays


def test_one_candidate_is_certain() -> None:
    assert probabilities([-3.0]).tolist() == [1.0]


def test_equal_values_are_equally_probable() -> None:
    assert probabilities([2.0] * 4) == pytest.approx([0.25] * 4)


def test_a_gap_of_the_sacrifice_halves_the_even_share() -> None:
    assert probabilities([10.0, 9.5, 0.0]) == pytest.approx([1 - 1 / 6 - 1 / 63, 1 / 6, 1 / 63])


def test_a_launch_gets_its_floor_from_the_best() -> None:
    launches = np.array([False, False, True])

    probability = probabilities([10.0, 9.5, 0.0], launches=launches, launch_share=0.04)

    assert probability == pytest.approx([1 - 1 / 6 - 0.04, 1 / 6, 0.04])


def test_twenty_launches_share_five_percent() -> None:
    launches = np.array([False] + [True] * 20)

    probability = probabilities([100.0] + [-50.0] * 20, launches=launches)

    assert probability[1:] == pytest.approx([0.0025] * 20)


@given(situations())
def test_the_formula_spelled_out_gives_the_same_to_the_last_bit(situation: dict[str, Any]) -> None:
    assert selection_probabilities(**situation).tolist() == shares_of(**situation).tolist()


def test_over_100000_customers_choices_are_as_frequent_as_their_probability() -> None:
    values = [4.0, 3.9, 3.5, 2.0, 0.05, -1.0, 3.0, 1.0]
    probability = probabilities(values, launches=np.array([False] * 6 + [True] * 2), launch_share=0.02)
    action_hash = hashes(len(values))
    count = 100_000

    counts = np.zeros(len(values))
    for person in range(count):
        winner = chosen(probability, action_hash, person=f"P-{person}", draw_index=person % 7, position=0, salt="s")
        counts[winner] += 1

    chi_squared = ((counts - count * probability) ** 2 / (count * probability)).sum()
    assert chi_squared < 18.475  # the 99 % quantile with 7 degrees of freedom
    assert counts.min() > 100


def test_a_draw_depends_on_person_draw_position_and_salt_and_on_nothing_else() -> None:
    probability, action_hash = np.full(50, 0.02), hashes(50)
    asked = {"person": "P-1", "draw_index": 3, "position": 0, "salt": "2026"}

    first = chosen(probability, action_hash, **asked)

    assert chosen(probability, action_hash, **asked) == first
    for other in ({"person": "P-2"}, {"draw_index": 4}, {"position": 1}, {"salt": "2027"}):
        winners = {chosen(probability, action_hash, **asked | other | {"draw_index": index}) for index in range(40)}
        assert len(winners) > 10


def test_a_candidate_with_probability_zero_is_never_drawn() -> None:
    probability, action_hash = np.array([0.0, 1e-12, 0.0, 1.0]), hashes(4)

    winners = {
        chosen(probability, action_hash, person=str(person), draw_index=0, position=0, salt="")
        for person in range(2_000)
    }

    assert winners == {3}


def test_a_candidate_with_probability_zero_is_not_drawn_by_the_highest_hash_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed = np.array([2**64 - 1, 12_345], dtype=np.uint64)
    monkeypatch.setattr(exploration, "mixed", lambda action_hash, text: hashed.copy())

    assert chosen(np.array([0.0, 1.0]), hashes(2), person="P", draw_index=0, position=0, salt="") == 1


def test_a_loser_that_leaves_seldom_changes_the_winner() -> None:
    probability, action_hash = probabilities(np.linspace(5, 1, 50).tolist()), hashes(50)
    fewer = probability[:45] / probability[:45].sum()
    kept = [
        chosen(probability, action_hash, person=str(person), draw_index=0, position=0, salt="")
        == chosen(fewer, action_hash[:45], person=str(person), draw_index=0, position=0, salt="")
        for person in range(1_000)
    ]

    assert np.mean(kept) > 1 - 2 * probability[45:].sum() - 3 / math.sqrt(1_000) * 0.1
