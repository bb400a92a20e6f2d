"""The release gate: may this model decide?

Every check is a sentence with its figure and its bound, and all of them are made, so that a refusal names everything at
once. Figures come from the report that training left beside the model, but for parity and cost, which are measured here
and now. A check that cannot be made, because no report was left, is not passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from math import hypot
from pathlib import Path
from typing import Any

from decisioning.catalog.strategy import Strategy
from decisioning.errors import ModelRefused
from decisioning.scoring import Model, ModelScorer, load_model
from models import ModelError, load_report

CALIBRATION_EXCESS_MAX = 0.01  # of the calibration error over what a perfect model of that size would show
# Two standard errors of a perfect model's own error, in units of it: the mean of 15 bins' |normal| spreads by 0.2.
CALIBRATION_CHANCE = 0.4
SLOPE_MIN, SLOPE_MAX = 0.9, 1.1  # the slope's interval has to reach into this
POSITIVES_MIN = 200  # below, a model is mostly its prior
ACTION_COUNT = 200  # the cost is promised, and measured, for so many actions
COST_MAX_US = {"linear": 40.0, "boosted": 200.0}
NOISE = 5.0  # other work on the machine may slow a measurement this much before a model is blamed for it
COST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, and what its training found out."""

    model: Model
    report: Mapping[str, Any]  # empty when none was saved


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the gate."""

    name: str
    passed: bool
    said: str  # what was found and what is asked for

    def __str__(self) -> str:
        return f"{self.name}: {self.said}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of a model and of the other one, and their difference with its 95 % interval."""

    figure: float
    other: float
    low: float
    high: float

    def __str__(self) -> str:
        difference = self.figure - self.other
        return f"{self.figure:.4f} against {self.other:.4f}: {difference:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def candidate_of(folder: Path) -> Candidate:
    """The model in an artifact's folder, with its report. Raises VersionMissing or ModelRefused."""
    return Candidate(load_model(folder), report_of(folder))


def report_of(folder: Path) -> dict[str, Any]:
    """What training found out about the model in a folder; empty when no report was saved. Raises ModelRefused."""
    try:
        return load_report(folder)
    except ModelError as error:
        raise ModelRefused(str(error)) from error


def gate(
    candidate: Candidate,
    *,
    current: Candidate | None = None,
    strategy: Strategy | None = None,
    measured: Difference | None = None,
) -> list[Check]:
    """All checks of a model that is to decide.

    current: the model it would replace; measured: the difference between their AUCs on the same rows, where somebody
    supplied some, else it is taken from the two reports; strategy: what it would decide in.
    """
    overall: Mapping[str, Any] = candidate.report.get("overall", {})
    checks = [
        _parity(candidate.model),
        _reported("positives", overall, _positives),
        _reported("calibration", overall, _calibration),
        _ranking(candidate, current, measured),
        cost_check(candidate.model),
    ]
    return checks if strategy is None else [*checks, _fitness(candidate.model, strategy)]


def _reported(name: str, overall: Mapping[str, Any], check: Callable[[Mapping[str, Any]], Check]) -> Check:
    try:
        return check(overall)
    except (KeyError, TypeError, ValueError):
        return Check(name, False, "its report.json does not say; train it again")


def _parity(model: Model) -> Check:
    """load_model has refused more than this already: a copy of the figure for whoever reads the list."""
    return Check("parity", True, f"golden rows come out within {model.parity_gap():.1g} of the training library")


def _positives(overall: Mapping[str, Any]) -> Check:
    positives = int(overall["positives"])
    said = f"{positives:,} positives in training; below {POSITIVES_MIN} a model is mostly its prior"
    return Check("positives", positives >= POSITIVES_MIN, said)


def _calibration(overall: Mapping[str, Any]) -> Check:
    error, floor = overall["calibration_error"], overall["calibration_floor"]
    excess_max = CALIBRATION_EXCESS_MAX + CALIBRATION_CHANCE * floor
    low, high = overall["calibration_slope_interval"]
    said = (
        f"error {error:.4f}, {error - floor:+.4f} against a perfect model of this size (at most {excess_max:.4f}); "
        f"slope {low:.2f} to {high:.2f} (has to reach {SLOPE_MIN:g} to {SLOPE_MAX:g})"
    )
    return Check("calibration", error - floor <= excess_max and low <= SLOPE_MAX and high >= SLOPE_MIN, said)


def _ranking(candidate: Candidate, current: Candidate | None, measured: Difference | None) -> Check:
    """Refused only when it is worse beyond chance: a model as good as the present one may have other merits."""
    if current is None:
        return Check("ranking", True, "there is no current model to compare with")
    difference = measured or difference_of_reports(candidate.report, current.report)
    if difference is None:
        return Check("ranking", False, "a report without an AUC; compare on rows with --history and --mapping")
    return Check("ranking", difference.high >= 0.0, f"AUC {difference}")


def difference_of_reports(report: Mapping[str, Any], other: Mapping[str, Any]) -> Difference | None:
    """The difference of two AUCs that each have their own rows; None when a report has no AUC with an interval.

    Their errors are independent, so it has to be much larger to be one than on the same rows.
    """
    try:
        (auc, low, high), (other_auc, other_low, other_high) = (
            (each["overall"]["auc"], *each["overall"]["auc_interval"]) for each in (report, other)
        )
        error = hypot(high - low, other_high - other_low) / 2
        return Difference(auc, other_auc, auc - other_auc - error, auc - other_auc + error)
    except (KeyError, TypeError, ValueError):
        return None


def cost_check(model: Model) -> Check:
    form, cost_us = form_of(model), serving_cost_us(model)
    promised_us = COST_MAX_US[form]
    said = (
        f"{cost_us:.0f} µs CPU for {ACTION_COUNT} actions; promised {promised_us:.0f} for a {form} model with 30 "
        f"features, refused above {NOISE * promised_us:.0f}"
    )
    return Check("serving cost", cost_us <= NOISE * promised_us, said)


def form_of(model: Model) -> str:
    """linear, or boosted where trees add a regressor."""
    return "linear" if model.forest is None else "boosted"


def serving_cost_us(model: Model) -> float:
    """CPU time of scoring one customer for ACTION_COUNT actions: the quickest of several rounds over golden rows."""
    paired = model.paired(list(islice(cycle(model.actions), ACTION_COUNT)))
    rows = [row.values for row in model.golden]
    rounds = []
    for _ in range(COST_ROUNDS):
        started_ns = time.thread_time_ns()
        for values in rows:
            paired.scores(values)
        rounds.append((time.thread_time_ns() - started_ns) / 1_000 / len(rows))
    return min(rounds)


def _fitness(model: Model, strategy: Strategy) -> Check:
    """Whether both speak of the same actions and attributes, and the model can be paired with the strategy at all."""
    known = [key for key in model.actions if key in strategy.action_index]
    foreign = sorted(set(model.features) - strategy.features.keys() - {"channel"})
    faults = []
    if not known:
        faults.append(f"none of its actions is one of {strategy.name}'s")
    if foreign:
        faults.append(f"it learnt from what {strategy.name} does not know as a feature: {', '.join(foreign)}")
    try:
        ModelScorer(strategy, model)
    except ModelRefused as error:
        faults.append(str(error))
    if faults:
        return Check("strategy", False, "; ".join(faults))
    return Check("strategy", True, f"knows {len(known)} of {_offer_count(strategy)} offers of {strategy.name}")


def _offer_count(strategy: Strategy) -> int:
    return strategy.offer_mask.bit_count()
