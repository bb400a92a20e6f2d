"""Uplifts: what acting adds over doing nothing, learnt beside a propensity model where the rows can say it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decisioning.history.training import TrainingTable
from decisioning.scoring import Model
from models.incremental import IncrementalModel
from models.train_incremental import Progress, TrainedIncremental, frequent_choices, train_incremental


def learn_uplifts(
    model: Model, table: TrainingTable, progress: Progress, *, in_money: bool
) -> TrainedIncremental | None:
    """Uplifts over nothing from rows of nothing and the probabilities of then; None where there are too few of them.

    in_money  learn the realised value where the table has one; a strategy multiplies by values of its own, and asks
              for chances. Raises models.ModelError.
    """
    probabilities, value = table.logging_probability, table.value if in_money else None
    if probabilities is None:
        return None
    usable = np.isfinite(probabilities) & _is_frequent(table)
    drawn = table.where(usable)
    if drawn.is_nothing.all() or not drawn.is_nothing.any():
        return None
    unknown = [None] * len(drawn.actions)
    return train_incremental(
        {path: drawn.columns.get(path, unknown) for path in model.features},
        encoder=model.encoder,
        actions=drawn.actions,
        outcomes=drawn.labels if value is None else np.nan_to_num(value[usable]),  # no value: it earned nothing
        probabilities=probabilities[usable],
        persons=drawn.persons,
        unit="label" if value is None else "value",
        progress=progress,
    )


def with_uplifts(model: Model, uplifts: IncrementalModel) -> Model:
    """The model with what acting adds beside the propensities."""
    return Model(
        model.encoder,
        model.forest,
        model.posterior,
        model.prior_variances,
        model.golden,
        model.evidence,
        incremental=uplifts,
    )


def _is_frequent(table: TrainingTable) -> NDArray[np.bool_]:
    """bool[n]: rows of nothing, and of actions that are frequent enough; others are read from their group."""
    frequent = frequent_choices(table.actions, table.persons)
    return np.array([action in frequent for action in table.actions], dtype=np.bool_)
