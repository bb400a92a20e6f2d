"""Scoring: propensities and context weights of all contenders, the model called once.

A model knows actions by key in its own order, a strategy by index; the pairing is computed once, when either changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from decisioning.catalog.decision_table import FACTOR_MAX, DecisionTable
from decisioning.catalog.strategy import Mask, Strategy, members
from decisioning.errors import ModelRefused, VersionMissing
from decisioning.moment import Moment
from models import ModelError, PropensityModel, load_artifact
from rules import EvaluationError, Program


class Scorer(Protocol):
    """Propensities of a strategy's actions; `scoring.py` pairs a trained model with a strategy."""

    @property
    def reads(self) -> frozenset[str]:
        """Attribute paths the model asks for."""
        ...

    def propensities(self, values: Mapping[str, Any], action_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chance of a positive response, 0..1, for each action position."""
        ...


Model = PropensityModel  # under the name by which those know it who may not reach into models


@dataclass(slots=True)
class Appraisal:
    """Numbers per action of the strategy, for every action that is still in the running."""

    propensity: NDArray[np.float64]  # 1 for messages
    worth: NDArray[np.float64]
    context_weight: NDArray[np.float64]
    lever: NDArray[np.float64]
    contenders: Mask


def appraise(contenders: Mask, moment: Moment, strategy: Strategy, scorer: Scorer) -> Appraisal:
    """Propensity, worth, context weight and lever of all contenders, the model called once."""
    count = len(strategy.actions)
    propensity = np.ones(count)
    offers = np.flatnonzero(members(contenders & strategy.offer_mask, count))
    if offers.size:
        propensity[offers] = scorer.propensities(moment.values(scorer.reads), offers)
    context_weight = np.ones(count)
    for each in strategy.context_weights:
        if each.mask & contenders and _holds(each.when, moment):
            context_weight[members(each.mask, count)] *= each.weight
            np.minimum(context_weight, FACTOR_MAX, out=context_weight)
    appraisal = Appraisal(propensity, strategy.worth, context_weight, strategy.lever, contenders)
    for table in strategy.tables:
        if table.mask & contenders:
            _adjust(appraisal, table, moment)
    np.minimum(appraisal.context_weight, FACTOR_MAX, out=appraisal.context_weight)
    return appraisal


def _adjust(appraisal: Appraisal, table: DecisionTable, moment: Moment) -> None:
    """Let a table have its say; where no row holds, or that is unknown, the actions' own words stand."""
    try:
        answer = table.answer(moment.activation)
    except EvaluationError:
        return
    if answer is None:
        return
    concerned = members(table.mask, appraisal.worth.size)
    match table.gives:
        case "context_weight":
            appraisal.context_weight[concerned] *= min(answer, FACTOR_MAX)
        case "lever":
            appraisal.lever = np.where(concerned, min(answer, FACTOR_MAX), appraisal.lever)
        case "value":
            appraisal.worth = np.where(concerned, answer, appraisal.worth)


def _holds(when: Program, moment: Moment) -> bool:
    """A context weight applies only where its condition is known to be true."""
    try:
        return bool(when(moment.activation))
    except EvaluationError:
        return False


def load_model(folder: Path) -> Model:
    """The model in an artifact's folder. Raises VersionMissing when there is none, ModelRefused when it is damaged."""
    if not folder.is_dir():
        raise VersionMissing(f"model {folder.name[:12]} is not in {folder.parent}. Copy its folder there.")
    try:
        return load_artifact(folder)
    except ModelError as error:
        raise ModelRefused(str(error)) from error


class ModelScorer:
    """Propensities of a strategy's actions by a trained model; an action the model never saw is read from its group."""

    def __init__(self, strategy: Strategy, model: Model) -> None:
        self._paired = model.paired([action.key for action in strategy.actions])
        self.reads = frozenset(model.features)

    def propensities(self, values: Mapping[str, Any], action_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chance of a positive response, 0..1, for each action position."""
        return self._paired.scores(values).propensity[action_index]


class StatedScorer:
    """Propensities written down by hand: what a persona test says instead of a model."""

    reads: frozenset[str] = frozenset()

    def __init__(self, strategy: Strategy, stated: Mapping[str, float]) -> None:
        default = stated.get("default", 0.0)
        self._stated = np.array([stated.get(action.key, default) for action in strategy.actions], dtype=np.float64)

    def propensities(self, values: Mapping[str, Any], action_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The stated number of each action position."""
        return self._stated[action_index]
