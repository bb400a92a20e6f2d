"""Influence: what moved each action's score, and which way.

An attribute is taken from every customer of the table and given to another one, all else left as it is: how far the
scores move says how much the attribute decides, alone and, where trees read it, together with others. Whatever an
action's rows hold, all customers of the table are asked, so that actions can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.features import Coded, Column, Floats, Learnt, thinned
from models.hierarchy import ancestry
from models.propensity import NOTHING_BARRED, PropensityModel

NAMED = 6  # attributes per action
ROWS_MAX = 4_000  # trees score the table once more for each attribute


@dataclass(frozen=True, slots=True)
class Influence:
    """One attribute's part in the scores of an action."""

    attribute: str  # its path
    effect: float  # standard deviation of its part over customers, in log odds
    says: str  # which way: "more raises", "gold raises", "missing lowers"


def influences_of(
    model: PropensityModel,
    columns: Mapping[str, Column],
    barred: Mapping[str, frozenset[str]] = NOTHING_BARRED,
) -> dict[str, tuple[Influence, ...]]:
    """Per action in training the attributes that moved its score most, strongest first.

    columns  the training table, or a part of it
    barred   by action the attributes that may not be used for it: they, and trees that read one, move nothing there
    """
    regressors = model.regressors_of_table(thinned(columns, model.features, ROWS_MAX))
    encoded = regressors[:, : model.encoder.width]
    others = np.random.default_rng(0).permutation(len(encoded))
    weights = _weights(model, barred)
    found: dict[str, list[Influence]] = {action: [] for action in model.actions}
    for feature in model.encoder.features:
        own = model.encoder.columns_of(feature.path)
        exchanged = encoded.copy()
        exchanged[:, own] = encoded[np.ix_(others, own)]
        moved = np.append(own, np.arange(model.encoder.width, model.width))  # the trees' score moves with it
        changes = (regressors - model.with_score(exchanged))[:, moved]
        covariance = changes.T @ changes / (2 * max(len(changes), 1))  # a difference of two varies twice as much as one
        parts = weights[:, moved]
        effects = np.sqrt(np.einsum("ai,ij,aj->a", parts, covariance, parts).clip(min=0.0))
        for action, effect, part in zip(model.actions, effects.tolist(), parts, strict=True):
            if feature.path not in barred.get(action, ()):
                found[action].append(Influence(feature.path, effect, _direction(feature, part, covariance)))
    return {action: tuple(sorted(ones, key=lambda one: -one.effect)[:NAMED]) for action, ones in found.items()}


def _weights(model: PropensityModel, barred: Mapping[str, frozenset[str]]) -> Floats:
    """float64[actions, width]: each action's own weights, summed over the nodes above it, 0 where it is barred."""
    row_of = {node: row for row, node in enumerate(model.posterior.nodes)}
    rows = np.array([[row_of[node] for node in ancestry(action)] for action in model.actions], dtype=np.int64)
    weights: Floats = model.posterior.means[rows].sum(axis=1)
    for action, own in zip(model.actions, weights, strict=True):
        own[model.columns_barred(barred.get(action, frozenset()))] = 0.0
    return weights


def _direction(feature: Learnt, part: Floats, covariance: Floats) -> str:
    """How the part goes with the attribute: the z-score of a numeric, the level of a coded that stands out most."""
    along = covariance @ part  # covariance of the whole part with each of the attribute's regressors, the score last
    if isinstance(feature, Coded):
        names = ["missing", "other", *map(_level, feature.levels)]
        at = int(np.abs(along[: len(names)]).argmax()) if feature.kind == "categorical" else len(names) - 1
        return f"{names[at]} {'raises' if along[at] > 0 else 'lowers'}"
    return f"more {'raises' if along[0] > 0 else 'lowers'}"


def _level(level: object) -> str:
    return str(level).lower() if isinstance(level, bool) else str(level)
