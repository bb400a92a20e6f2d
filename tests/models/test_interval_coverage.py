"""Do intervals of 95 % hold the true value of another policy in 95 of 100 logs? Simulated: only there it is known.

A world is a handful of actions with prices and a truth about who accepts what; a log is drawn in it by the selection
probabilities of real decisions, from a model that errs. Persons come several times and are alike over their draws. The
policies to be valued know more than the one that logged, and choose greedily or by the same formula. Logs that
`policy_value` refuses are counted and left out: that is what its floors are for.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

from models.features import Floats, Indexes
from models.policy_value import Draws, draws_of, policy_value
from tests.decisioning.shares import shares_of

WORLD_COUNT = 50
LOGS_EACH = 40
PERSON_COUNTS = (300, 1_000, 3_000)
TRUTH_PERSONS = 150_000
ACTION_COUNT = 6  # nothing included, as action 0
NOTHING_VALUE = 0.3
ESTIMATORS = ("ips", "snips", "dr", "sndr")


class World(NamedTuple):
    """Who accepts what, and what the logging policy believes about it."""

    prices: Floats  # [actions]
    base: Floats  # [actions] logit of acceptance
    slopes: Floats  # [actions, 3]
    base_believed: Floats
    slopes_believed: Floats
    sacrifice: float
    is_greedy: bool  # the policy to be valued


class People(NamedTuple):
    """Draws of persons: 1 to 8 each."""

    persons: Indexes
    traits: Floats  # [draws, 3]
    moods: Floats  # [draws] of the person, not seen by any model


def new_world(random: np.random.Generator) -> World:
    rates = random.uniform(0.02, 0.2, ACTION_COUNT)
    base, slopes = np.log(rates / (1 - rates)), random.normal(0, 0.6, (ACTION_COUNT, 3))
    return World(
        prices=np.exp(random.normal(3, 0.5, ACTION_COUNT)),
        base=base,
        slopes=slopes,
        base_believed=base + random.normal(0, 0.3, ACTION_COUNT),
        slopes_believed=slopes + random.normal(0, 0.35, (ACTION_COUNT, 3)),
        sacrifice=float(random.choice([0.05, 0.2])),
        is_greedy=bool(random.random() < 0.5),
    )


def some_people(random: np.random.Generator, person_count: int) -> People:
    counts = 1 + np.minimum(random.poisson(2, person_count), 7)
    persons = np.repeat(np.arange(person_count), counts)
    traits = random.normal(0, 0.8, (person_count, 3))[persons] + random.normal(0, 0.6, (len(persons), 3))
    return People(persons, traits, random.normal(0, 0.5, person_count)[persons])


def values_of(prices: Floats, logits: Floats) -> Floats:
    values: Floats = prices / (1 + np.exp(-logits))
    values[:, 0] = NOTHING_VALUE
    return values


def explored(world: World, values: Floats) -> Floats:
    anything = np.ones(values.shape, dtype=np.bool_)
    return shares_of(
        values, explores=anything, launches=~anything, sacrifice=world.sacrifice, scale_min=1.0, launch_share=0.01
    )


def target_of(world: World, people: People) -> Floats:
    values = values_of(world.prices, world.base + people.traits @ world.slopes.T)
    return np.eye(ACTION_COUNT)[values.argmax(axis=1)] if world.is_greedy else explored(world, values)


def true_value(world: World, random: np.random.Generator) -> float:
    people = some_people(random, TRUTH_PERSONS)
    worth = values_of(world.prices, world.base + people.traits @ world.slopes.T + people.moods[:, None])
    return float((target_of(world, people) * worth).sum(axis=1).mean())


def new_log(world: World, random: np.random.Generator) -> Draws:
    people = some_people(random, int(random.choice(PERSON_COUNTS)))
    rows = np.arange(len(people.persons))
    logged = explored(world, values_of(world.prices, world.base_believed + people.traits @ world.slopes_believed.T))
    actions = (logged.cumsum(axis=1) > random.random((len(rows), 1))).argmax(axis=1)
    worth = values_of(world.prices, world.base + people.traits @ world.slopes.T + people.moods[:, None])[rows, actions]
    accepted = random.random(len(rows)) < worth / world.prices[actions]
    rewards = np.where(actions == 0, NOTHING_VALUE, accepted * world.prices[actions])
    predicted = values_of(world.prices, world.base + 0.7 * people.traits @ world.slopes.T)
    return draws_of(
        rewards, actions, logged[rows, actions], target_of(world, people), predicted=predicted, persons=people.persons
    )


@pytest.mark.proof
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(20261121)
    covered: Counter[str] = Counter()
    too_low: Counter[str] = Counter()
    sizes = []
    for _ in range(WORLD_COUNT):
        world = new_world(random)
        truth = true_value(world, random)
        for _ in range(LOGS_EACH):
            found = policy_value(new_log(world, random))
            if found.refused:
                continue
            sizes.append(found.weights.effective_sample_size or 0.0)
            for name in ESTIMATORS:
                low, high = getattr(found, name)[2:]
                covered[name] += low <= truth <= high
                too_low[name] += high < truth

    shares = {name: covered[name] / len(sizes) for name in ESTIMATORS}
    below = {name: round(too_low[name] / len(sizes), 4) for name in ESTIMATORS}
    print(
        f"\n{len(sizes)} of {WORLD_COUNT * LOGS_EACH} logs valued, effective sample sizes {min(sizes):.0f} to "
        f"{max(sizes):.0f}, median {np.median(sizes):.0f}; covered {shares}; truth above {below}"
    )
    assert len(sizes) > 0.7 * WORLD_COUNT * LOGS_EACH
    assert all(0.935 <= share <= 0.97 for share in shares.values()), shares
