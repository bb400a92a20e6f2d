"""Training tables with a known truth, small enough to learn from in a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models import Feature
from models.train import TrainedModel, train

FEATURES = [
    Feature("customer.age", "numeric"),
    Feature("customer.income", "numeric"),
    Feature("customer.tier", "categorical"),
    Feature("customer.owner", "flag"),
]
ACTIONS = ["grow/cards/gold", "grow/cards/platinum", "grow/loans/car", "retain/loyalty/join"]
BASE_LOGIT = dict(zip(ACTIONS, (-1.0, -3.0, -2.0, -0.5), strict=True))


@dataclass
class Table:
    columns: dict[str, list[Any]]
    actions: list[str]
    labels: np.ndarray
    chances: np.ndarray  # the truth the labels were drawn from

    def trained(self, **options: Any) -> TrainedModel:
        features = options.pop("features", FEATURES)
        return train(self.columns, actions=self.actions, labels=self.labels, features=features, **options)

    def row(self, index: int) -> dict[str, Any]:
        return {path: column[index] for path, column in self.columns.items() if column[index] is not None}


def table(row_count: int = 4_000, *, seed: int = 0, actions: list[str] | None = None) -> Table:
    """Older, richer gold-tier owners accept more; a tenth of the ages is missing."""
    random = np.random.default_rng(seed)
    age = random.normal(45, 15, row_count)
    income = np.exp(random.normal(7, 1, row_count))
    tier = random.choice(["basic", "silver", "gold"], row_count)
    owner = random.random(row_count) < 0.4
    shown = random.choice(actions or ACTIONS, row_count)
    logits = 0.04 * (age - 45) + 0.5 * (np.log1p(income) - 7) + 1.0 * (tier == "gold") + 0.4 * owner
    logits = logits + np.array([BASE_LOGIT.get(action, -1.0) for action in shown])
    chances = 1 / (1 + np.exp(-logits))
    known = random.random(row_count) > 0.1
    return Table(
        columns={
            "customer.age": [value if seen else None for value, seen in zip(age.tolist(), known, strict=True)],
            "customer.income": income.tolist(),
            "customer.tier": tier.tolist(),
            "customer.owner": owner.tolist(),
        },
        actions=shown.tolist(),
        labels=(random.random(row_count) < chances).astype(float),
        chances=chances,
    )
