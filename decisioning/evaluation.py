"""Evaluation: how good a model is on labelled rows that it never saw.

Everything is computed from the rows and the model alone, so that somebody who does not trust a training report can
check it. What the figures mean: docs/history.md, and docs/evaluation.md for what choosing by the model is worth.
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
from models import MetricUndefined, ModelError
from models.evaluate import auc
from models.policy_report import PolicyReport, policy_report
from models.report import ActionReport, Figures, action_reports, figures_of

NAMED = 8  # things that one message repeats


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on some rows."""

    model: str  # its version
    persons: int  # intervals are over them: a person's rows are drawn together
    excluded: Mapping[str, int]  # rows left out, by outcome; "" where something needed is missing
    invalid: Mapping[str, int]  # values read as missing because they are none of their attribute's
    untrained: Sequence[str]  # actions that the model never saw: it reads them from their group
    overall: Figures
    auc_pooled: float | None  # over all rows together; with several actions it flatters
    actions: Sequence[ActionReport]
    policy: PolicyReport | None  # what choosing by the model is worth; None without logging probabilities
    no_policy: str | None  # why there is none

    def as_json(self) -> dict[str, Any]:
        """Plain data; intervals and estimates are objects."""
        plain: dict[str, Any] = _plain(asdict(self))
        for action in plain["actions"]:
            del action["moved_by"]  # what moved a score is known of the training table only
        return plain


def evaluate_model(
    folder: Path,
    history: Sequence[Path],
    mapping: Path,
    *,
    strategy: Strategy | None = None,
    contact_cost: float = 0.0,
) -> Evaluation:
    """Judge the model in an artifact's folder by the tables of a history.

    strategy      values are typed, and attributes barred, as in its decisions
    contact_cost  of one contact, in the unit of the model's uplifts
    Raises MappingFaulty, TableFaulty, VersionMissing, or ModelRefused for a damaged artifact or rows that say nothing
    about this model.
    """
    model, columns = load_model(artifact_in(folder)), read_mapping(mapping)
    table = read_training(history, fitting(columns, model), _typing(model, strategy))
    _refuse_foreign(model, table.actions, mapping)
    try:
        return evaluation_of(model, table, barred=strategy.barred if strategy else {}, contact_cost=contact_cost)
    except ModelError as error:
        raise ModelRefused(f"{mapping}: {error}") from error


def evaluation_of(
    model: Model, table: TrainingTable, *, barred: Mapping[str, frozenset[str]], contact_cost: float = 0.0
) -> Evaluation:
    """Judge a model by labelled rows. Raises models.ModelError."""
    shown = table.where(~table.is_nothing)
    keys, index = np.unique(np.array(shown.actions, dtype=np.str_), return_inverse=True)
    paired = model.paired(keys.tolist(), barred=barred)
    chances = paired.propensities_of_table(shown.columns, index.astype(np.int64))
    labels, actions = shown.labels.astype(np.float64), keys[index]
    try:
        pooled = auc(labels, chances)
    except MetricUndefined:
        pooled = None
    policy, no_policy = _policy(model, table, barred, contact_cost)
    return Evaluation(
        model=model.version,
        persons=len(set(shown.persons)),
        excluded=table.excluded,
        invalid=table.invalid,
        untrained=[key for key, is_new in zip(keys.tolist(), paired.is_new.tolist(), strict=True) if is_new],
        overall=figures_of(labels, chances, actions, clusters=shown.persons),
        auc_pooled=pooled,
        actions=action_reports(labels, chances, actions, {}, clusters=shown.persons),
        policy=policy,
        no_policy=no_policy,
    )


def _policy(
    model: Model, table: TrainingTable, barred: Mapping[str, frozenset[str]], contact_cost: float
) -> tuple[PolicyReport | None, str | None]:
    """What choosing by the model is worth, or why nobody knows."""
    if table.logging_probability is None:
        return None, "the mapping names no logging_probability"
    is_money = model.incremental is not None and model.incremental.unit == "value"
    if is_money and table.value is None:
        return None, "the model's uplifts are money, and the mapping names no value"
    is_known = np.isfinite(table.logging_probability)
    if not is_known.any():
        return None, "no row has a logging probability"
    drawn = table.where(is_known)
    report = policy_report(
        model,
        drawn.columns,
        actions=drawn.actions,
        outcomes=drawn.labels if drawn.value is None or not is_money else np.nan_to_num(drawn.value),
        probabilities=table.logging_probability[is_known],
        persons=drawn.persons,
        barred=barred,
        contact_cost=contact_cost,
    )
    return report, None


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


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
    if not actions:
        raise ModelRefused(f"{mapping}: no row of the table says which action it is about.")
    if not set(actions) & set(model.actions):
        found, known = (", ".join(sorted(set(keys))[:NAMED]) for keys in (actions, model.actions))
        raise ModelRefused(f"{mapping}: no action of the table is one of the model's. It has: {found}. Known: {known}.")
