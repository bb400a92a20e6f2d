"""Scoring: what ranks the contenders, the model called once.

A model knows actions by key in its own order, a strategy by index; the pairing is computed once, when either changes.
What one request is given depends on nobody else: a model scores all actions, whoever contends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from decisioning.arbitration import Floats, priorities
from decisioning.catalog.decision_table import FACTOR_MAX, DecisionTable
from decisioning.catalog.strategy import Mask, Strategy, indexes_of, members
from decisioning.errors import ModelRefused, VersionMissing
from decisioning.learning.model_state import ModelState
from decisioning.moment import Moment
from models import ModelError, PropensityModel, Scores, load_artifact
from models.features import Numeric
from rules import EvaluationError

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
        """Propensity, optimistic propensity and uplift of every action; 1 for messages, whose worth is certain."""
        ...


Model = PropensityModel  # under the name by which those know it who may not reach into models


@dataclass(slots=True)
class Appraisal:
    """Numbers per action of the strategy in one channel; those that were asked for are still in the running."""

    propensity: Floats  # 1 for messages
    uplift: Floats | None  # 1 for messages; None where the strategy ranks gross
    worth: Floats
    priority: Floats  # what ranks
    hope: Floats  # the priority at one standard deviation above: what draws explore by
    launches: Flags
    contact_cost: float

    @property
    def response(self) -> Floats:
        """What the strategy ranks by and worth is multiplied with: the propensity, or the uplift."""
        return self.propensity if self.uplift is None else self.uplift

    def expected_value(self, index: int) -> float:
        """The money in the priority of an action, without lever and context weight."""
        return float(self.response[index] * self.worth[index] - self.contact_cost)


class Factors(NamedTuple):
    """What is multiplied with the response of each action, tables and context weights included."""

    worth: Floats
    context_weight: Floats | None  # None: 1 for all
    lever: Floats


def appraise(contenders: Mask, moment: Moment, strategy: Strategy, scorer: Scorer) -> Appraisal:
    """What ranks the contenders: the model called once, then context weights and tables; once for all draws."""
    scores = _scored(contenders, moment, strategy, scorer)
    factors = _factors(contenders, moment, strategy)
    contact_cost = strategy.channels[moment.channel].contact_cost
    guesses, uplift = scores.chances, None
    if strategy.ranking == INCREMENTAL and scores.uplift is not None:
        uplift = scores.uplift  # nobody measures how sure it is: as sure as the propensity
        guesses = np.stack((uplift, uplift + (scores.optimistic - scores.propensity)))
    priority, hope = priorities(guesses, *factors, contact_cost)
    return Appraisal(scores.propensity, uplift, factors.worth, priority, hope, scorer.launches, contact_cost)


def _scored(contenders: Mask, moment: Moment, strategy: Strategy, scorer: Scorer) -> Scores:
    """The model's numbers, where an offer is among the contenders."""
    if contenders & strategy.offer_mask:
        return scorer.scores(moment.values(scorer.features))
    return Scores(np.ones((2, len(strategy.actions))), None)


def _factors(contenders: Mask, moment: Moment, strategy: Strategy) -> Factors:
    """What actions say of themselves, but where a table has its say. Where no row of it holds, or that is unknown, it
    has none.
    """
    worth, weight, lever = Factors(strategy.worth, None, strategy.lever)
    count = len(strategy.actions)
    every = (1 << len(strategy.context_weights)) - 1
    no, unknown = strategy.weight_index.evaluate(moment.activation, every)
    if holding := every ^ no ^ unknown:
        for at in indexes_of(holding).tolist():
            each = strategy.context_weights[at]
            weight = _weighted(weight, members(each.mask, count), each.weight)
    for table in strategy.tables:
        if not table.mask & contenders or (answer := _answer(table, moment)) is None:
            continue
        concerned = members(table.mask, count)
        match table.gives:
            case "context_weight":
                weight = _weighted(weight, concerned, min(answer, FACTOR_MAX))
            case "lever":
                lever = lever.copy()
                lever[concerned] = min(answer, FACTOR_MAX)
            case "value":
                worth = worth.copy()
                worth[concerned] = answer
    return Factors(worth, weight, lever)


def _weighted(weight: Floats | None, concerned: Flags, factor: float) -> Floats:
    """Context weights with one more factor for those concerned."""
    if weight is None:
        weight = np.ones(concerned.size)
    np.multiply(weight, factor, out=weight, where=concerned)
    return np.minimum(weight, FACTOR_MAX, out=weight)


def _answer(table: DecisionTable, moment: Moment) -> Any:
    try:
        return table.answer(moment.activation)
    except EvaluationError:
        return None


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
        is_offer = members(strategy.offer_mask, len(keys))
        posterior, impressions = (None, {}) if state is None else (state.posterior, state.impressions)
        try:
            self._paired = model.paired(keys, posterior=posterior, barred=strategy.barred, certain=~is_offer)
        except ModelError as error:  # a state that some other model has reached
            raise ModelRefused(str(error)) from error
        self.features = strategy.features_among(model.features)
        self.reads = strategy.reads | strategy.attributes_behind(self.features)
        self.launches = self._paired.is_new & is_offer
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
        stated = {action.key: stated.get(action.key, default) for action in strategy.actions if action.kind == "offer"}
        numbers = np.array([stated.get(action.key, 1.0) for action in strategy.actions], dtype=np.float64)
        self._scores = Scores(np.stack((numbers, numbers)), numbers)
        self.reads = strategy.reads
        self.launches = np.zeros(len(numbers), dtype=np.bool_)

    def scores(self, values: Mapping[str, Any]) -> Scores:
        """The stated numbers, whoever is asked about."""
        return self._scores
