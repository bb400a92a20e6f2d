"""Golden rows: made-up customers whose propensity, as the training library computes it, travels with the model.

They are drawn from the scales, knots and levels of the encoder and the splits of the forest, one attribute at a time,
so no real customer's values leave the training table. Missing values, levels never seen, actions never trained and
values on an edge are among them, because that is where two implementations of one model usually part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.features import Column, FeatureEncoder, Floats, Learnt, Numeric
from models.forest import Forest
from models.propensity import GoldenRow

ROW_COUNT = 64
MISSING_SHARE = 0.15
EDGE_SHARE = 0.3  # of numbers: a knot or a split, where a comparison may go either way
UNSEEN = "never seen in training"


def golden_columns(
    encoder: FeatureEncoder, actions: Sequence[str], forest: Forest | None = None
) -> tuple[dict[str, Column], list[str]]:
    """ROW_COUNT made-up rows, as columns, and the action of each."""
    random = np.random.default_rng(0)
    edges = edges_of(encoder, forest)
    columns: dict[str, Column] = {
        feature.path: [_value(feature, edges, random) for _ in range(ROW_COUNT)] for feature in encoder.features
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


def edges_of(encoder: FeatureEncoder, forest: Forest | None) -> dict[str, list[float]]:
    """By path the numbers at which something changes: the knots, and the forest's splits as values of the attribute."""
    numerics = {feature.path: feature for feature in encoder.features if isinstance(feature, Numeric)}
    edges = {path: list(feature.knots) for path, feature in numerics.items()}
    tests = () if forest is None else zip(forest.feature.flat, forest.threshold.flat, strict=True)
    for column, threshold in tests:
        path = encoder.column_paths[column]
        if path in numerics and column < encoder.real_count and np.isfinite(threshold):
            edges[path].append(_unscaled(numerics[path], float(threshold)))
    return edges


def _value(feature: Learnt, edges: Mapping[str, list[float]], random: np.random.Generator) -> Any:
    if random.random() < MISSING_SHARE:
        return None
    if isinstance(feature, Numeric):
        return _number(feature, edges[feature.path], random)
    if feature.kind == "flag":
        return bool(random.integers(2))
    return (*feature.levels, UNSEEN)[random.integers(len(feature.levels) + 1)]


def _number(feature: Numeric, edges: Sequence[float], random: np.random.Generator) -> float:
    """An edge, or a value up to eleven sd away, past the clip."""
    if edges and random.random() < EDGE_SHARE:
        return float(random.choice(edges))
    return _unscaled(feature, random.uniform(-11.0, 11.0))


def _unscaled(feature: Numeric, z_score: float) -> float:
    amount = feature.mean + feature.sd * z_score
    return float(np.expm1(np.clip(amount, 0.0, 300.0)) if feature.logarithmic else amount)
