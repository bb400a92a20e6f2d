"""Policy report: what choosing by a model would have been worth on randomised rows that it never saw.

numpy only. The model's policy takes, in each row, the action of the largest uplift where that exceeds the contact cost,
else nothing; a model without uplifts always takes the likeliest action. Its rivals are the single action that the model
holds to be best for all, and nothing. The model's own expectations serve as the reward model of the doubly robust
estimates; the reported probabilities make these right however wrong the expectations are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InvalidTable, MetricUndefined
from models.features import Column, Floats, Indexes
from models.incremental import NOTHING, OUTCOME_MAX, IncrementalModel
from models.policy_value import (
    Draws,
    Estimate,
    PolicyValue,
    difference,
    draws_of_choices,
    mean_by_person,
    policy_value,
    ratio_by_person,
)
from models.propensity import NOTHING_BARRED, PropensityModel

TOP_SHARES = (0.1, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """Values are per row, in units of the outcome, net of contact costs; with intervals of 95 % by person."""

    unit: str  # of the outcome: label or value
    form: str | None  # of the uplifts: constant, ordered or free; None: the model has none
    contact_cost: float
    rows: int
    persons: int
    contacted: float  # share of rows in which the model would act
    best_action: str
    logged: Estimate  # what the policy that drew the rows earned
    model: PolicyValue
    best_for_all: PolicyValue  # everybody gets best_action
    nothing: PolicyValue | None  # None where the log holds no rows of nothing
    over_best_for_all: Estimate | None  # doubly robust, paired; None where one of the two values is refused
    over_nothing: Estimate | None
    top_gains: Mapping[str, Estimate]  # share of rows, best uplift first -> their part of the gain of best_action
    uplift_scale: Estimate | None  # 1 when predicted uplifts of best_action are of the right size, above 1 too timid


class _Log(NamedTuple):
    """The recorded draws."""

    actions: NDArray[np.str_]
    outcomes: Floats
    probabilities: Floats
    persons: Indexes


class _Expected(NamedTuple):
    """What the model expects in each row."""

    keys: tuple[str, ...]  # of the columns below
    outcomes: Floats  # [n, 1 + actions] of nothing, then of each action
    uplifts: Floats  # [n, actions] what decides


class _Ranking(NamedTuple):
    """See PolicyReport."""

    top_gains: Mapping[str, Estimate]
    uplift_scale: Estimate | None


def policy_report(
    model: PropensityModel,
    columns: Mapping[str, Column],
    *,
    actions: Sequence[str],
    outcomes: ArrayLike,
    probabilities: ArrayLike,
    persons: ArrayLike,
    barred: Mapping[str, frozenset[str]] = NOTHING_BARRED,
    contact_cost: float = 0.0,
) -> PolicyReport:
    """Value the model's policy on n randomised rows.

    actions        issue/group/action of each row, or NOTHING
    outcomes       in the unit of the model's uplifts: 0 or 1, or money; labels for a model without uplifts
    probabilities  with which the row's action, or nothing, was drawn then
    barred         by action the attributes that may not be used for it: the policy is the one that would be served
    contact_cost   of one contact, in the unit of the outcomes
    Raises InvalidTable for rows without a probability or an outcome, or a contact cost that is none.
    """
    if not 0.0 <= contact_cost <= OUTCOME_MAX:
        raise InvalidTable(
            f"a contact cost of {contact_cost} is none; it must be 0 or more, in the unit of the outcome"
        )
    log = _checked(actions, outcomes, probabilities, persons)
    incremental = model.incremental
    expected = (
        _by_uplift(model, incremental, columns, barred) if incremental else _by_propensity(model, columns, barred)
    )
    best = expected.keys.index(incremental.best_action) if incremental else 1 + int(expected.uplifts.mean(0).argmax())
    choices = _choices(expected, contact_cost, always=incremental is None)
    ours = _draws(log, expected, choices, contact_cost)
    everybody = _draws(log, expected, np.full(len(choices), best), contact_cost)
    nobody = _draws(log, expected, np.zeros(len(choices), dtype=np.int64), contact_cost)
    has_nothing = bool((log.actions == NOTHING).any())
    values = [policy_value(draws) for draws in (ours, everybody, nobody)]
    ranking = _ranking(log, expected, best) if incremental and has_nothing else _Ranking({}, None)
    return PolicyReport(
        unit=incremental.unit if incremental else "label",
        form=incremental.form if incremental else None,
        contact_cost=contact_cost,
        rows=len(choices),
        persons=int(log.persons.max()) + 1,
        contacted=float((choices > 0).mean()),
        best_action=expected.keys[best],
        logged=mean_by_person(ours.rewards, log.persons),
        model=values[0],
        best_for_all=values[1],
        nothing=values[2] if has_nothing else None,
        over_best_for_all=None if values[0].refused or values[1].refused else difference(ours, everybody),
        over_nothing=None if values[0].refused or values[2].refused else difference(ours, nobody),
        top_gains=ranking.top_gains,
        uplift_scale=ranking.uplift_scale,
    )


def _checked(actions: Sequence[str], outcomes: ArrayLike, probabilities: ArrayLike, persons: ArrayLike) -> _Log:
    amounts, chances = np.asarray(outcomes, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    names = np.asarray(persons)
    if not 0 < len(actions) == len(amounts) == len(chances) == len(names):
        raise InvalidTable("actions, outcomes, probabilities and persons are of different lengths, or empty")
    if not (np.abs(amounts) <= OUTCOME_MAX).all():
        raise InvalidTable(
            f"an outcome is missing or beyond {OUTCOME_MAX:g}; a policy is valued by rows with true ones"
        )
    if impossible := int((~((chances > 0.0) & (chances <= 1.0))).sum()):
        raise InvalidTable(
            f"{impossible} of {len(chances)} logging probabilities are missing, or not above 0 and at most 1: what was "
            "drawn was possible. Correct them, or take logging_probability out of the mapping to judge the model alone."
        )
    codes = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return _Log(np.asarray(actions, dtype=np.str_), amounts, chances, codes)


def _by_uplift(
    model: PropensityModel,
    incremental: IncrementalModel,
    columns: Mapping[str, Column],
    barred: Mapping[str, frozenset[str]],
) -> _Expected:
    uplifts = model.paired(incremental.actions, barred=barred).uplifts_of_table(columns)
    assert uplifts is not None  # a model with uplifts has some for every table
    of_nothing = incremental.outcomes_of_nothing(model.encoder.encode_table(columns))[:, None]
    return _Expected((NOTHING, *incremental.actions), np.hstack([of_nothing, of_nothing + uplifts]), uplifts)


def _by_propensity(
    model: PropensityModel, columns: Mapping[str, Column], barred: Mapping[str, frozenset[str]]
) -> _Expected:
    count = len(next(iter(columns.values())))
    paired = model.paired(model.actions, barred=barred)
    every = [paired.propensities_of_table(columns, np.full(count, row)) for row in range(len(model.actions))]
    chances = np.stack(every, axis=1)
    return _Expected((NOTHING, *model.actions), np.hstack([np.zeros((count, 1)), chances]), chances)


def _choices(expected: _Expected, contact_cost: float, *, always: bool) -> Indexes:
    """int64[n]: 0 for nothing, else the position of the chosen action among the keys."""
    best = expected.uplifts.argmax(axis=1)
    worth_it = always | (expected.uplifts[np.arange(len(best)), best] > contact_cost)
    return np.where(worth_it, best + 1, 0)


def _draws(log: _Log, expected: _Expected, choices: Indexes, contact_cost: float) -> Draws:
    """The log beside these choices, rewards net of contact costs. Actions unknown to the model are expected as 0."""
    keys = np.array(expected.keys)
    position = {key: index for index, key in enumerate(expected.keys)}
    logged = np.fromiter((position.get(key, -1) for key in log.actions.tolist()), dtype=np.int64, count=len(choices))
    rows = np.arange(len(choices))
    taken = np.isin(keys, log.actions)
    return draws_of_choices(
        log.outcomes - contact_cost * (logged != 0),
        log.probabilities,
        is_choice=logged == choices,
        predicted_choice=expected.outcomes[rows, choices] - contact_cost * (choices != 0),
        predicted_logged=np.where(logged < 0, 0.0, expected.outcomes[rows, logged]) - contact_cost * (logged != 0),
        persons=log.persons,
        is_rewarded=log.outcomes != 0.0,
        unsupported_share=float((~taken[choices]).mean()),
    )


def _ranking(log: _Log, expected: _Expected, best: int) -> _Ranking:
    """Whether those with a large predicted uplift of the best action are those whom it moves."""
    count = len(log.outcomes)
    acting = _draws(log, expected, np.full(count, best), 0.0)
    leaving = _draws(log, expected, np.zeros(count, dtype=np.int64), 0.0)
    gains = _robust(acting) - _robust(leaving)
    uplifts = expected.uplifts[:, best - 1]
    try:
        shares = {
            f"{share:g}": ratio_by_person(gains * parts_in_top(uplifts, share), gains, log.persons)
            for share in TOP_SHARES
        }
        return _Ranking(shares, ratio_by_person(uplifts * gains, uplifts**2, log.persons))
    except MetricUndefined:
        return _Ranking({}, None)


def parts_in_top(uplifts: Floats, share: float) -> Floats:
    """float64[n]: how much of each row is among the best share: 1, 0, or for a block of equals at its edge a part.

    Trees give many rows one uplift, and a constant form gives it to all: by position among equals, the order of the
    table would be taken for knowledge.
    """
    _, codes, counts = np.unique(-uplifts, return_inverse=True, return_counts=True)
    before = np.cumsum(counts) - counts
    parts: Floats = np.clip((share * len(uplifts) - before) / counts, 0.0, 1.0)[codes]
    return parts


def _robust(draws: Draws) -> Floats:
    return draws.modelled + draws.weights * (draws.rewards - draws.predicted)
