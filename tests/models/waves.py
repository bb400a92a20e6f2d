"""Randomised rows with a known uplift of each action over nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models import Feature
from models.features import learn
from models.incremental import NOTHING
from models.train_incremental import TrainedIncremental, train_incremental

ACTIONS = ("grow/cards/gold", "grow/cards/plain", "grow/loans/car")
FEATURES = [Feature("customer.age", "numeric"), Feature("customer.tier", "categorical")]
PROBABILITIES = {NOTHING: 0.4, **dict.fromkeys(ACTIONS, 0.2)}
Truth = Callable[[np.ndarray, np.ndarray, str], np.ndarray]  # uplift by age and whether tier is gold


class Waves:
    """Randomised rows, three for each person."""

    def __init__(self, truth: Truth, person_count: int = 2_000, *, seed: int = 0, noise: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        self.persons = np.repeat(np.arange(person_count), 3)
        age = random.uniform(20, 80, person_count)[self.persons]
        is_gold = (random.random(person_count) < 0.5)[self.persons]
        keys = list(PROBABILITIES)
        self.actions = random.choice(keys, len(age), p=list(PROBABILITIES.values())).tolist()
        self.probabilities = np.array([PROBABILITIES[action] for action in self.actions])
        self.uplifts = np.stack([truth(age, is_gold, action) for action in ACTIONS], axis=1)
        taken = np.array([keys.index(action) for action in self.actions])
        moved = np.hstack([np.zeros((len(age), 1)), self.uplifts])[np.arange(len(age)), taken]
        self.outcomes = 5.0 + 0.02 * age + moved + random.normal(0, noise, len(age))
        self.columns: dict[str, list[Any]] = {
            "customer.age": age.tolist(),
            "customer.tier": np.where(is_gold, "gold", "basic").tolist(),
        }
        self.encoder = learn(FEATURES, self.columns)

    def trained(self, **options: Any) -> TrainedIncremental:
        told: dict[str, Any] = {
            "encoder": self.encoder,
            "actions": self.actions,
            "outcomes": self.outcomes,
            "probabilities": self.probabilities,
            "persons": self.persons,
            "unit": "value",
        }
        return train_incremental(self.columns, **(told | options))


def same_for_all(age: np.ndarray, is_gold: np.ndarray, action: str) -> np.ndarray:
    return np.full(len(age), {"grow/cards/gold": 1.0, "grow/cards/plain": 0.8, "grow/loans/car": 0.3}[action])


def older_gain_more(age: np.ndarray, is_gold: np.ndarray, action: str) -> np.ndarray:
    return same_for_all(age, is_gold, action) * np.where(age > 50, 2.0, 0.0)


def tiers_differ(age: np.ndarray, is_gold: np.ndarray, action: str) -> np.ndarray:
    return np.where(is_gold == (action == "grow/cards/gold"), 1.5, 0.0)


def young_are_annoyed(age: np.ndarray, is_gold: np.ndarray, action: str) -> np.ndarray:
    return same_for_all(age, is_gold, action) * np.where(age > 40, 2.0, -2.0)
