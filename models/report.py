"""What is known about a model, as plain data: `dataclasses.asdict` of it is JSON.

In a training report all figures come from cross-fitted scores: no row took part in the fit that scored it. The two
numbers of the calibration were fitted on the same scores, which is too little freedom to flatter. The same figures
judge a model on rows it never saw. Neighbours: evaluate.py and intervals.py compute, influence.py says what moved a
score, drift.py compares with a previous model, card.py writes it all down for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models import evaluate, intervals
from models.drift import Drift, Profile, profile_of
from models.errors import MetricUndefined
from models.evaluate import Interval
from models.features import Column, Floats
from models.influence import Influence, influences_of
from models.propensity import PropensityModel

GAIN_SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

Figure = TypeVar("Figure")


@dataclass(frozen=True, slots=True)
class Figures:
    """Quality over some rows; None where a figure has no value on them. Intervals are over customers."""

    rows: int
    positives: int
    auc: float | None  # within actions
    auc_interval: Interval | None
    average_precision: float | None
    average_precision_interval: Interval | None
    log_loss: float
    log_loss_interval: Interval | None
    brier: float
    brier_interval: Interval | None
    calibration_error: float
    calibration_error_interval: Interval | None
    calibration_floor: float  # the error of a perfect model on these rows
    calibration_slope: float | None
    calibration_slope_interval: Interval | None  # at 99 %; all others at 95 %


@dataclass(frozen=True, slots=True)
class Bin:
    """One of the bins of the calibration error: a point of the reliability curve."""

    rows: int
    chance: float  # mean propensity
    rate: float  # share of positives
    interval: Interval  # of the rate, rows taken one by one


@dataclass(frozen=True, slots=True)
class Gain:
    """A point of the gains curve."""

    share: float  # of the rows, the best-scored first
    captured: float  # part of all positives among them


@dataclass(frozen=True, slots=True)
class ActionReport:
    """One action."""

    action: str
    figures: Figures
    moved_by: tuple[Influence, ...]  # what moved its score most, strongest first


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """The whole run."""

    choices: Mapping[str, str | float]  # what training settled on: priors, calibration, whether trees help
    auc_alone: Mapping[str, float]  # of each feature by itself; see leak.py
    base_rates: Figures  # each action's mean as everybody's propensity: what any model has to beat
    overall: Figures
    in_time: Figures | None  # fitted on the first nine tenths of time, scored on the last; None without an order
    reliability: tuple[Bin, ...]
    gains: tuple[Gain, ...]
    actions: tuple[ActionReport, ...]
    profile: Profile  # how features and scores were distributed: what a later model compares with
    drift: Drift | None = None  # against a previous model, where there was one

    def __str__(self) -> str:
        """A table for people: one line per action, then the whole and the last tenth of time."""
        lines = [(one.action, one.figures) for one in self.actions] + [("all actions", self.overall)]
        lines += [("base rates only", self.base_rates)]
        lines += [("last tenth of time", self.in_time)] if self.in_time else []
        width = max(len(name) for name, _ in lines)
        return "\n".join([_HEADING.format("", width=width), *(_line(name, width, figures) for name, figures in lines)])


_HEADING = "{:<{width}}      rows  positives    AUC  log loss  calibration error   floor  slope"


def report_of(
    model: PropensityModel,
    columns: Mapping[str, Column],
    *,
    actions: NDArray[np.str_],
    labels: Floats,
    chances: Floats,
    clusters: ArrayLike,
    choices: Mapping[str, str | float],
    auc_alone: Mapping[str, float],
    in_time: Figures | None,
    barred: Mapping[str, frozenset[str]],
) -> TrainingReport:
    """The report of a model on its training table; chances are cross-fitted, clusters the customer of each row."""
    moved_by = influences_of(model, columns, barred)
    return TrainingReport(
        choices=choices,
        auc_alone=auc_alone,
        base_rates=figures_of(labels, base_rates_of(labels, actions), actions, clusters=clusters),
        overall=figures_of(labels, chances, actions, clusters=clusters),
        in_time=in_time,
        reliability=reliability_of(labels, chances),
        gains=gains_of(labels, chances),
        actions=action_reports(labels, chances, actions, moved_by, clusters=clusters),
        profile=profile_of(model.encoder, columns, chances),
    )


def figures_of(
    labels: Floats, chances: Floats, actions: NDArray[np.str_], *, clusters: ArrayLike | None = None
) -> Figures:
    """All figures over these rows; clusters names the customer of each, None takes every row for one of its own."""
    who = np.arange(len(labels)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    return Figures(
        rows=len(labels),
        positives=int(labels.sum()),
        auc=_or_none(lambda: evaluate.auc_within(labels, chances, actions)),
        auc_interval=_or_none(lambda: intervals.auc_within_interval(labels, chances, actions, who)),
        average_precision=_or_none(lambda: evaluate.average_precision(labels, chances)),
        average_precision_interval=_or_none(lambda: intervals.average_precision_interval(labels, chances, who)),
        log_loss=evaluate.log_loss(labels, chances),
        log_loss_interval=_or_none(lambda: intervals.log_loss_interval(labels, chances, who)),
        brier=evaluate.brier(labels, chances),
        brier_interval=_or_none(lambda: intervals.brier_interval(labels, chances, who)),
        calibration_error=evaluate.calibration_error(labels, chances),
        calibration_error_interval=_or_none(lambda: intervals.calibration_error_interval(labels, chances, who)),
        calibration_floor=evaluate.calibration_floor(chances),
        calibration_slope=_or_none(lambda: evaluate.calibration_slope(labels, chances)),
        calibration_slope_interval=_or_none(lambda: intervals.slope_interval(labels, chances, who)),
    )


def base_rates_of(labels: Floats, actions: NDArray[np.str_]) -> Floats:
    """float64[n]: the mean of each row's action."""
    _, codes = np.unique(actions, return_inverse=True)
    rates: Floats = np.bincount(codes, weights=labels) / np.bincount(codes)
    return rates[codes]


def action_reports(
    labels: Floats,
    chances: Floats,
    actions: NDArray[np.str_],
    moved_by: Mapping[str, tuple[Influence, ...]],
    *,
    clusters: ArrayLike | None = None,
) -> tuple[ActionReport, ...]:
    """Figures of each action on its own rows, in the order of their keys; moved_by as influence.influences_of gives."""
    who = np.arange(len(labels)) if clusters is None else np.asarray(clusters)
    reports = []
    for key, rows in zip(np.unique(actions).tolist(), evaluate.rows_by(actions), strict=True):
        figures = figures_of(labels[rows], chances[rows], actions[rows], clusters=who[rows])
        reports.append(ActionReport(key, figures, moved_by.get(key, ())))
    return tuple(reports)


def reliability_of(labels: Floats, chances: Floats) -> tuple[Bin, ...]:
    """The reliability curve over the bins of the calibration error; bins without a row are left out."""
    bins, _ = evaluate.binned(chances)
    return tuple(
        Bin(len(rows), float(chances[rows].mean()), float(labels[rows].mean()), _wilson(labels[rows].sum(), len(rows)))
        for rows in evaluate.rows_by(bins)
    )


def gains_of(labels: Floats, chances: Floats) -> tuple[Gain, ...]:
    """The gains curve at GAIN_SHARES; empty without a positive."""
    if not labels.any():
        return ()
    return tuple(Gain(share, evaluate.gains(labels, chances, share=share).captured) for share in GAIN_SHARES)


def _wilson(positives: float, rows: int) -> Interval:
    """The interval of a rate that stays between 0 and 1 where positives are few."""
    z = 1.96
    rate, weight = positives / rows, 1.0 + z**2 / rows
    middle = (rate + z**2 / (2 * rows)) / weight
    error = z * (rate * (1 - rate) / rows + z**2 / (4 * rows**2)) ** 0.5 / weight
    return Interval(float(max(0.0, middle - error)), float(min(1.0, middle + error)))


def _line(name: str, width: int, figures: Figures) -> str:
    auc, slope = (
        "     -" if figure is None else f"{figure:6.3f}" for figure in (figures.auc, figures.calibration_slope)
    )
    counts = f"{figures.rows:>9} {figures.positives:>10}"
    calibration = f"{figures.calibration_error:18.4f} {figures.calibration_floor:7.4f} {slope}"
    return f"{name:<{width}} {counts} {auc} {figures.log_loss:9.4f} {calibration}"


def _or_none(figure: Callable[[], Figure]) -> Figure | None:
    try:
        return figure()
    except MetricUndefined:
        return None
