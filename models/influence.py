"""Influence: what moved each action's score, and which way.

An attribute's part in a score is the sum of its regressors times their weights; how far that part varies from customer
to customer, in log odds, is how much the attribute decides. Whatever an action's rows hold, all customers of the table
are asked, so that actions can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.features import Coded, Column, Floats, Indexes, Learnt, thinned
from models.hierarchy import ancestry
from models.propensity import PropensityModel

NAMED = 6  # attributes per action
TREES = "trees"  # stands for the forest's score, which reads several attributes at once


@dataclass(frozen=True, slots=True)
class Influence:
    """One attribute's part in the scores of an action."""

    attribute: str  # its path, or "trees"
    effect: float  # standard deviation of its part over customers, in log odds
    says: str  # which way: "more raises", "gold raises", "missing lowers"


def influences_of(model: PropensityModel, columns: Mapping[str, Column]) -> dict[str, tuple[Influence, ...]]:
    """Per action in training the attributes that moved its score most, strongest first.

    columns  the training table, or a part of it
    """
    regressors = model.regressors_of_table(thinned(columns, model.features))
    weights = _weights(model)
    found: dict[str, list[Influence]] = {action: [] for action in model.actions}
    for attribute, own, feature in _attributes(model):
        centred = regressors[:, own] - regressors[:, own].mean(axis=0)
        covariance = centred.T @ centred / max(len(centred), 1)
        parts = weights[:, own]
        effects = np.sqrt(np.einsum("ai,ij,aj->a", parts, covariance, parts).clip(min=0.0))
        for action, effect, part in zip(model.actions, effects.tolist(), parts, strict=True):
            found[action].append(Influence(attribute, effect, _direction(feature, part, covariance)))
    return {action: tuple(sorted(ones, key=lambda one: -one.effect)[:NAMED]) for action, ones in found.items()}


def _attributes(model: PropensityModel) -> list[tuple[str, Indexes, Learnt | None]]:
    found: list[tuple[str, Indexes, Learnt | None]] = [
        (feature.path, model.encoder.columns_of(feature.path), feature) for feature in model.encoder.features
    ]
    if model.forest is not None:
        found.append((TREES, np.array([model.width - 1]), None))
    return found


def _weights(model: PropensityModel) -> Floats:
    """float64[actions, width]: each action's own weights, summed over the nodes above it."""
    row_of = {node: row for row, node in enumerate(model.posterior.nodes)}
    rows = np.array([[row_of[node] for node in ancestry(action)] for action in model.actions], dtype=np.int64)
    weights: Floats = model.posterior.means[rows].sum(axis=1)
    return weights


def _direction(feature: Learnt | None, part: Floats, covariance: Floats) -> str:
    """How the part goes with the attribute: the z-score of a numeric, the level of a coded that stands out most."""
    along = covariance @ part  # covariance of the whole part with each of the attribute's regressors
    if isinstance(feature, Coded):
        names = ["missing", "other", *map(_level, feature.levels)]
        at = int(np.abs(along).argmax()) if feature.kind == "categorical" else len(names) - 1
        return f"{names[at]} {'raises' if along[at] > 0 else 'lowers'}"
    more = "a higher score" if feature is None else "more"
    return f"{more} {'raises' if along[0] > 0 else 'lowers'}"


def _level(level: object) -> str:
    return str(level).lower() if isinstance(level, bool) else str(level)
