"""Scoring: a trained model seen from a strategy.

The model knows actions by key in its own order; the strategy by index. The pairing is computed once, when either
changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.catalog.strategy import Strategy
from decisioning.errors import ModelRefused
from models import ModelError, PropensityModel, load_artifact


def load_model(folder: Path) -> PropensityModel:
    """The model in an artifact's folder. Raises ModelRefused for one that is damaged or not there."""
    try:
        return load_artifact(folder)
    except ModelError as error:
        raise ModelRefused(str(error)) from error


class ModelScorer:
    """Propensities of a strategy's actions by a trained model; an action the model never saw is read from its group."""

    def __init__(self, strategy: Strategy, model: PropensityModel) -> None:
        self._model = model
        self._rows = model.rows_for([action.key for action in strategy.actions])
        self.reads = frozenset(model.features)

    def propensities(self, values: Mapping[str, Any], action_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chance of a positive response, 0..1, for each action position."""
        return self._model.propensities(values, self._rows[action_index])


class StatedScorer:
    """Propensities written down by hand: what a persona test says instead of a model."""

    reads: frozenset[str] = frozenset()

    def __init__(self, strategy: Strategy, stated: Mapping[str, float]) -> None:
        default = stated.get("default", 0.0)
        self._stated = np.array([stated.get(action.key, default) for action in strategy.actions], dtype=np.float64)

    def propensities(self, values: Mapping[str, Any], action_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The stated number of each action position."""
        return self._stated[action_index]
