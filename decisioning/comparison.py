"""Comparison: two models on the same labelled rows of a history table.

The differences are paired: what makes a row easy or hard for both cancels out. Their intervals take the rows of a
person as one. Reads tables, so no serving process imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decisioning.errors import ModelRefused
from decisioning.evaluation import fitting
from decisioning.history.kinds import ByModel
from decisioning.history.mapping import TableMapping, read_mapping
from decisioning.history.training import TrainingTable, read_training
from decisioning.release import Difference
from decisioning.scoring import Model
from models import ModelError, evaluate, intervals


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
        labels, actions = table.labels.astype(np.float64), np.array(table.actions)
        ours, others = (evaluate.auc_within(labels, each, actions) for each in (chances, other_chances))
        gained = intervals.auc_difference_interval(labels, chances, other_chances, actions, table.persons)
        losses, other_losses = (evaluate.log_losses(labels, each) for each in (chances, other_chances))
        lost = intervals.mean_interval(losses - other_losses, table.persons)
    except ModelError as error:
        raise ModelRefused(str(error)) from error
    return Comparison(
        row_count=len(table.persons),
        person_count=len(set(table.persons)),
        auc=Difference(ours, others, *gained),
        log_loss=Difference(float(losses.mean()), float(other_losses.mean()), *lost),
    )


def _judged(model: Model, history: Sequence[Path], mapping: TableMapping) -> tuple[TrainingTable, NDArray[np.float64]]:
    """The rows on which something was done, as a model reads them, and its propensities on them."""
    table = read_training(history, fitting(mapping, model), ByModel(model))
    table = table.where(~table.is_nothing)
    return table, model.propensities_of_table(table.columns, table.actions)
