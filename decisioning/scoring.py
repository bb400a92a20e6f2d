"""Scoring: what ranks the contenders, the model called once.

A model knows actions by key in its own order, a strategy by index; the pairing is computed once, when either changes.
What one request is given depends on nobody else: a model scores all actions, whoever contends.
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
from decisioning.learning.model_state import ModelState
from decisioning.moment import Moment
from models import ModelError, PropensityModel, Scores, load_artifact
from models.features import Numeric
from rules import EvaluationError, Program

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

INCREMENTAL = "incremental"  # the ranking by what acting adds


class Scorer(Protocol):
    """What a model says about a strategy's actions, in their order; paired once, when either changes."""

    @property
    def features(self) -> frozenset[str]:
        """Attribute paths the model asks for."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """Attribute paths that a decision with this pair can ask for, those behind derived ones included."""
        ...

    @property
    def launches(self) -> Flags:
        """bool[n]: offers that are new to the model and that too few people have seen to know better."""
        ...

    def scores(self, values: Mapping[str, Any]) -> Scores:
        """Propensity, optimistic propensity and uplift of every action; messages have any number."""
        ...


Model = PropensityModel  # under the name by which those know it who may not reach into models


@dataclass(slots=True)
class Appraisal:
    """Numbers per action of the strategy, for every action that is still in the running."""

    propensity: Floats  # 1 for messages
    uplift: Floats | None  # 1 for messages; None where the strategy ranks gross
    optimistic: Floats  # the one that ranks, at one standard deviation above: what draws explore by
    launches: Flags
    worth: Floats
    context_weight: Floats
    lever: Floats
    contenders: Mask

    @property
    def response(self) -> Floats:
        """What the strategy ranks by and worth is multiplied with: the propensity, or the uplift."""
        return self.propensity if self.uplift is None else self.uplift


def appraise(contenders: Mask, moment: Moment, strategy: Strategy, scorer: Scorer) -> Appraisal:
    """What ranks the contenders: the model called once, then context weights and tables."""
    appraisal = _scored(contenders, moment, strategy, scorer)
    for each in strategy.context_weights:
        if each.mask & contenders and _holds(each.when, moment):
            appraisal.context_weight[members(each.mask, len(strategy.actions))] *= each.weight
            np.minimum(appraisal.context_weight, FACTOR_MAX, out=appraisal.context_weight)
    for table in strategy.tables:
        if table.mask & contenders:
            _adjust(appraisal, table, moment)
    np.minimum(appraisal.context_weight, FACTOR_MAX, out=appraisal.context_weight)
    return appraisal


def _scored(contenders: Mask, moment: Moment, strategy: Strategy, scorer: Scorer) -> Appraisal:
    """The model's numbers for offers; a message has no chance to take, its worth is certain."""
    count = len(strategy.actions)
    certain = np.ones(count)
    propensity, uplift, optimistic = certain, None, certain
    if contenders & strategy.offer_mask:
        scores, is_offer = scorer.scores(moment.values(scorer.features)), members(strategy.offer_mask, count)
        propensity = np.where(is_offer, scores.propensity, 1.0)
        optimistic = np.where(is_offer, scores.optimistic, 1.0)
        if strategy.ranking == INCREMENTAL and scores.uplift is not None:
            uplift = np.where(is_offer, scores.uplift, 1.0)
            optimistic = uplift + (optimistic - propensity)  # nobody measures how sure an uplift is: as sure as that
    return Appraisal(
        propensity, uplift, optimistic, scorer.launches, strategy.worth, np.ones(count), strategy.lever, contenders
    )


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
    """A trained model paired with a strategy; an action the model never saw stands where its group stands."""

    def __init__(self, strategy: Strategy, model: Model, state: ModelState | None = None) -> None:
        """state: what the model has learnt since it was trained. Raises ModelRefused where it cannot rank."""
        if strategy.ranking == INCREMENTAL:
            _refuse_without_uplift(strategy, model)
        _refuse_texts_for_numbers(strategy, model)
        keys = [action.key for action in strategy.actions]
        posterior, impressions = (None, {}) if state is None else (state.posterior, state.impressions)
        try:
            self._paired = model.paired(keys, posterior=posterior, barred=strategy.barred)
        except ModelError as error:  # a state that some other model has reached
            raise ModelRefused(str(error)) from error
        self.features = strategy.features_among(model.features)
        self.reads = strategy.reads | strategy.attributes_behind(self.features)
        self.launches = self._paired.is_new & members(strategy.offer_mask, len(keys))
        if strategy.exploration is not None:
            seen = np.array([impressions.get(key, 0) for key in keys])
            self.launches &= seen < strategy.exploration.launch_impressions

    def scores(self, values: Mapping[str, Any]) -> Scores:
        """Propensity, optimistic propensity and uplift of every action."""
        return self._paired.scores(values)


def _refuse_without_uplift(strategy: Strategy, model: Model) -> None:
    """A strategy multiplies uplifts by what a positive answer is worth, so they have to be chances of one."""
    ranks = f"{strategy.name} ranks by what acting adds, and model {model.version[:12]} has"
    if model.incremental is None:
        raise ModelRefused(
            f"{ranks} not learnt that. Train with rows of nothing and their logging probabilities, or write "
            "ranking: gross."
        )
    if model.incremental.unit != "label":
        raise ModelRefused(
            f"{ranks} learnt it in money, where action_value is to say what an answer is worth. Train with the "
            "strategy."
        )


def _refuse_texts_for_numbers(strategy: Strategy, model: Model) -> None:
    """A text where a number belongs would break every request, so it is found before the first one."""
    for feature in model.encoder.features:
        if isinstance(feature, Numeric) and strategy.features.get(feature.path) == "categorical":
            raise ModelRefused(
                f"{feature.path} is a text in {strategy.name}, and model {model.version[:12]} reads it as a number. "
                "Train a model with the strategy as it is now."
            )


class StatedScorer:
    """Numbers written down by hand in place of what the strategy ranks by: what a persona says instead of a model."""

    features: frozenset[str] = frozenset()

    def __init__(self, strategy: Strategy, stated: Mapping[str, float]) -> None:
        default = stated.get("default", 0.0)
        numbers = np.array([stated.get(action.key, default) for action in strategy.actions], dtype=np.float64)
        self._scores = Scores(numbers, numbers, numbers)
        self.reads = strategy.reads
        self.launches = np.zeros(len(numbers), dtype=np.bool_)

    def scores(self, values: Mapping[str, Any]) -> Scores:
        """The stated numbers, whoever is asked about."""
        return self._scores
