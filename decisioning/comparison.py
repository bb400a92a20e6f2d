"""Comparison: two models on the same labelled rows of a history table.

The differences are paired: what makes a row easy or hard for both cancels out. Their intervals draw persons, not rows.
Reads tables, so no serving process imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decisioning.errors import ModelRefused
from decisioning.evaluation import fitting
from decisioning.history.kinds import ByModel
from decisioning.history.mapping import TableMapping, read_mapping
from decisioning.history.training import TrainingTable, read_training
from decisioning.release import Difference
from decisioning.scoring import Model
from models import ModelError, evaluate

DRAWS = 500


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two models make of the same rows."""

    row_count: int
    person_count: int
    auc: Difference  # within actions; more is better
    log_loss: Difference  # less is better


def compare(model: Model, other: Model, history: Sequence[Path], mapping: Path) -> Comparison:
    """Both models on the rows of a table, each reading its own features; rows of "nothing" have no propensity.

    Raises MappingFaulty or TableFaulty, or ModelRefused when a model cannot read the rows or no figure has a value.
    """
    columns = read_mapping(mapping)
    try:
        table, chances = _judged(model, history, columns)
        _, other_chances = _judged(other, history, columns)
        rows = (np.array(table.actions), table.labels.astype(np.float64), chances, other_chances)
        auc = _difference(
            lambda actions, labels, each: evaluate.auc_within(labels, each, actions), *rows, table.persons
        )
        log_loss = _difference(lambda _, labels, each: evaluate.log_loss(labels, each), *rows, table.persons)
    except ModelError as error:
        raise ModelRefused(str(error)) from error
    return Comparison(len(table.persons), len(set(table.persons)), auc, log_loss)


def _judged(model: Model, history: Sequence[Path], mapping: TableMapping) -> tuple[TrainingTable, NDArray[np.float64]]:
    """The rows on which something was done, as a model reads them, and its propensities on them."""
    table = read_training(history, fitting(mapping, model), ByModel(model))
    table = table.where(~table.is_nothing)
    return table, model.propensities_of_table(table.columns, table.actions)


def _difference(
    figure: Callable[..., float],
    actions: ArrayLike,
    labels: ArrayLike,
    chances: ArrayLike,
    other_chances: ArrayLike,
    persons: ArrayLike,
) -> Difference:
    def paired(actions: ArrayLike, labels: ArrayLike, chances: ArrayLike, other_chances: ArrayLike) -> float:
        return figure(actions, labels, chances) - figure(actions, labels, other_chances)

    interval = evaluate.interval(paired, actions, labels, chances, other_chances, clusters=persons, draws=DRAWS)
    ours, others = (figure(actions, labels, each) for each in (chances, other_chances))
    return Difference(ours, others, interval.low, interval.high)
