"""The simulated bank in which learning is measured: fair to all policies, and the same again from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from examples.learning.launch import dues
from examples.learning.policies import EpsilonGreedy, Nextbest, Retrained, Start, Thompson, start_of
from examples.learning.simulate import Life, simulated, summary
from examples.learning.world import DAYS, TRUTHS, World, world_of

DECISIONS = 1_000
SEED = 1


@pytest.fixture(scope="module")
def world() -> World:
    return world_of("form", SEED)


@pytest.fixture(scope="module")
def start(world: World) -> Start:
    return start_of(world, np.arange(len(world.actions)), SEED, 1_500)


@pytest.mark.parametrize("truth", TRUTHS)
def test_only_drift_changes_with_time(truth: str) -> None:
    world, contacts = world_of(truth, SEED), np.arange(50)

    early, late = (world.chances(contacts, np.full(50, day)) for day in (0.0, DAYS))

    assert ((early > 0.0) & (early < 1.0)).all()
    assert np.array_equal(early, late) == (truth != "drift")


def test_policies_see_the_same_luck_and_none_beats_the_oracle(world: World, start: Start) -> None:
    def run() -> list[np.ndarray]:
        lives = [Life(policy(start)) for policy in (Nextbest, EpsilonGreedy, Thompson, Retrained)]
        oracle = simulated(lives, world, SEED, DECISIONS)
        return [oracle, *(np.concatenate(life.regret) for life in lives)]

    oracle, *regrets = run()

    for regret in regrets:
        assert len(regret) == DECISIONS
        assert (regret >= 0.0).all()
        assert 0.0 < regret.mean() < oracle.mean()
    for again, regret in zip(run()[1:], regrets, strict=True):
        assert np.array_equal(again, regret)


def test_a_yes_arrives_later_and_corrects(world: World, start: Start) -> None:
    life = Life(Thompson(start))
    before = life.policy.yes.sum()

    simulated([life], world, SEED, DECISIONS)

    assert life.policy.yes.sum() > before
    assert life.waiting  # the last ones are still under way


def test_the_dues_of_all_actions_are_shares(world: World) -> None:
    due = dues(world)

    assert 0.9 < due.sum() <= 1.0  # the rest is nothing's
    assert due.min() > 0.0


def test_a_summary_compares_the_sums_over_seeds() -> None:
    names = ("nextbest", "epsilon_greedy", "thompson", "retrained")
    runs = [{name: 100.0 * (index + 1) for index, name in enumerate(names)} | {f"{name}_late": 0.5 for name in names}]

    found = summary(runs * 3)

    assert found["share_of_epsilon_greedy"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert found["nextbest"]["regret"]["mean"] == 100.0
