"""Golden rows: made-up customers whose propensity, as the training library computes it, travels with the model.

They are drawn from the scales, knots and levels of the encoder, one attribute at a time, so no real customer's values
leave the training table. Missing values, levels never seen and actions never trained are among them, because that is
where two implementations of one model usually part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.features import Column, FeatureEncoder, Floats, Learnt, Numeric
from models.propensity import GoldenRow

ROW_COUNT = 64
MISSING_SHARE = 0.15
UNSEEN = "never seen in training"


def golden_columns(encoder: FeatureEncoder, actions: Sequence[str]) -> tuple[dict[str, Column], list[str]]:
    """ROW_COUNT made-up rows, as columns, and the action of each."""
    random = np.random.default_rng(0)
    columns: dict[str, Column] = {
        feature.path: [_value(feature, random) for _ in range(ROW_COUNT)] for feature in encoder.features
    }
    issue, group, _ = actions[0].split("/")
    asked = [*actions, f"{issue}/{group}/{UNSEEN}", f"{issue}/{UNSEEN}/{UNSEEN}", f"{UNSEEN}/{UNSEEN}/{UNSEEN}"]
    return columns, [asked[row % len(asked)] for row in random.permutation(max(ROW_COUNT, len(asked)))[:ROW_COUNT]]


def golden_rows(columns: dict[str, Column], actions: Sequence[str], propensities: Floats) -> list[GoldenRow]:
    """The same rows one by one; a missing value is an absent key."""
    return [
        GoldenRow(
            values={path: column[row] for path, column in columns.items() if column[row] is not None},
            action=action,
            propensity=float(propensities[row]),
        )
        for row, action in enumerate(actions)
    ]


def _value(feature: Learnt, random: np.random.Generator) -> Any:
    if random.random() < MISSING_SHARE:
        return None
    if isinstance(feature, Numeric):
        return _number(feature, random)
    if feature.kind == "flag":
        return bool(random.integers(2))
    return (*feature.levels, UNSEEN)[random.integers(len(feature.levels) + 1)]


def _number(feature: Numeric, random: np.random.Generator) -> float:
    """A knot itself, where a comparison may go either way, or a value up to eight sd away, past the clip."""
    if feature.knots and random.random() < 0.3:
        return float(random.choice(feature.knots))
    amount = feature.mean + feature.sd * random.uniform(-8.0, 8.0)
    return float(np.expm1(np.clip(amount, 0.0, 300.0)) if feature.logarithmic else amount)
