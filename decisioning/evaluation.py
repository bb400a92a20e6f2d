"""Evaluation: how good a model is on labelled rows that it never saw.

Everything here is computed from the rows and the model alone, so that somebody who does not trust a training report can
check it. Figures and what they mean: docs/history.md and docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from decisioning.catalog.faults import Faults
from decisioning.catalog.strategy import Strategy
from decisioning.errors import ModelRefused
from decisioning.history.kinds import ByModel, ByStrategy, Typing
from decisioning.history.mapping import TableMapping, read_mapping, refuse
from decisioning.history.scores import Scored, score
from decisioning.history.training import CHANNEL, TrainingTable, read_candidates, read_training
from decisioning.scoring import Model, load_model
from models import ModelError
from models.report import Figures, figures_of

NAMED = 8


@dataclass(frozen=True, slots=True)
class ActionQuality:
    """One action."""

    action: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on some rows."""

    model: str  # its version
    persons: int
    excluded: Mapping[str, int]  # rows left out, by outcome; "" where something needed is missing
    invalid: Mapping[str, int]  # values read as missing because they are none of their attribute's
    untrained: Sequence[str]  # actions that the model never saw: it reads them from their group
    overall: Figures
    actions: Sequence[ActionQuality]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_model(
    folder: Path, history: Sequence[Path], mapping: Path, *, strategy: Strategy | None = None
) -> Evaluation:
    """Judge the model in an artifact's folder by the tables of a history.

    With a strategy, values are typed and barred as in its decisions. Raises MappingFaulty, TableFaulty, VersionMissing,
    or ModelRefused for a damaged artifact or rows that say nothing about this model.
    """
    model, columns = load_model(artifact_in(folder)), read_mapping(mapping)
    table = read_training(history, fitting(columns, model), _typing(model, strategy))
    table = table.where(~table.is_nothing)
    _refuse_foreign(model, table.actions, mapping)
    try:
        return evaluation_of(model, table, barred=strategy.barred if strategy else {})
    except ModelError as error:
        raise ModelRefused(str(error)) from error


def evaluation_of(model: Model, table: TrainingTable, *, barred: Mapping[str, frozenset[str]]) -> Evaluation:
    """Judge a model by labelled rows. Raises models.ModelError."""
    keys = sorted(set(table.actions))
    position = {key: index for index, key in enumerate(keys)}
    index = np.array([position[key] for key in table.actions], dtype=np.int64)
    chances = model.paired(keys, barred=barred).propensities_of_table(table.columns, index)
    labels, actions = table.labels.astype(np.float64), np.array(table.actions)
    return Evaluation(
        model=model.version,
        persons=len(set(table.persons)),
        excluded=table.excluded,
        invalid=table.invalid,
        untrained=[key for key in keys if key not in model.evidence],
        overall=figures_of(labels, chances, actions),
        actions=[
            ActionQuality(key, figures_of(labels[rows], chances[rows], actions[rows]))
            for key in keys
            if (rows := np.flatnonzero(index == position[key])).size
        ],
    )


def score_table(folder: Path, history: Sequence[Path], mapping: Path, *, strategy: Strategy | None = None) -> Scored:
    """Propensities of the customers in a table by the model in an artifact's folder; raises as evaluate_model does."""
    model, columns = load_model(artifact_in(folder)), read_mapping(mapping)
    candidates = read_candidates(history, fitting(columns, model), _typing(model, strategy))
    if candidates.actions is not None:
        _refuse_foreign(model, [key for key in candidates.actions if key], mapping)
    try:
        return score(model, candidates, barred=strategy.barred if strategy else {})
    except ModelError as error:
        raise ModelRefused(str(error)) from error


def artifact_in(folder: Path) -> Path:
    """The artifact's own folder, also when the one named holds nothing but it. Raises ModelRefused for several."""
    if (folder / "model.json").exists():
        return folder
    inside = sorted(each.parent for each in folder.glob("*/model.json"))
    if len(inside) == 1:
        return inside[0]
    found = f"{len(inside)} models; name one of {', '.join(each.name[:12] for each in inside[:NAMED])}"
    raise ModelRefused(f"{folder} holds {found if inside else 'no model: there is no model.json in it'}.")


def fitting(mapping: TableMapping, model: Model) -> TableMapping:
    """The mapping without features the model does not read. Raises MappingFaulty when one that it reads is missing."""
    named = {feature.path for feature in mapping.features}
    absent = set(model.features) - named - {CHANNEL}
    faults = Faults()
    for path in sorted(absent):
        faults.add(mapping.place, f"the model reads {path}, and no column is named for it", f"Add {path} to features")
    if CHANNEL in model.features and mapping.channel is None:
        faults.add(mapping.place, "the model reads the channel, which is not named", "Add channel: {column: …}")
    refuse(faults)
    return replace(mapping, features=tuple(each for each in mapping.features if each.path in model.features))


def _typing(model: Model, strategy: Strategy | None) -> Typing:
    return ByStrategy.of(strategy) if strategy else ByModel(model)


def _refuse_foreign(model: Model, actions: Collection[str], mapping: Path) -> None:
    if not set(actions) & set(model.actions):
        found, known = (", ".join(sorted(set(keys))[:NAMED]) for keys in (actions, model.actions))
        raise ModelRefused(f"{mapping}: no action of the table is one of the model's. It has: {found}. Known: {known}.")
