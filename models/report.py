"""What a training run found out, as plain data: `dataclasses.asdict` of it is JSON.

All figures come from cross-fitted scores: no row took part in the fit that scored it. The two numbers of the
calibration were fitted on the same scores, which is too little freedom to flatter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import evaluate
from models.calibrate import Sigmoid
from models.errors import MetricUndefined
from models.features import Floats


@dataclass(frozen=True, slots=True)
class Figures:
    """Quality over some rows; None where a figure has no value on them."""

    rows: int
    positives: int
    auc: float | None  # within actions
    average_precision: float | None
    log_loss: float
    brier: float
    calibration_error: float
    calibration_slope: float | None


@dataclass(frozen=True, slots=True)
class ActionReport:
    """One action."""

    action: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """The whole run."""

    prior_shared: float  # chosen sd of what holds for every action
    prior_deviation: float  # and of what an issue, a group or an action adds
    slope: float  # of the calibration; 1 and 0 leave the model as it is
    intercept: float
    converged: bool
    auc_alone: dict[str, float]  # of each feature by itself; see leak.py
    base_rates: Figures  # each action's mean as everybody's propensity: what any model has to beat
    overall: Figures
    in_time: Figures | None  # fitted on the first nine tenths of time, scored on the last; None without an order
    actions: tuple[ActionReport, ...]

    def __str__(self) -> str:
        """A table for people: one line per action, then the whole and the last tenth of time."""
        lines = [(one.action, one.figures) for one in self.actions] + [("all actions", self.overall)]
        lines += [("base rates only", self.base_rates)]
        lines += [("last tenth of time", self.in_time)] if self.in_time else []
        width = max(len(name) for name, _ in lines)
        return "\n".join([_HEADING.format("", width=width), *(_line(name, width, figures) for name, figures in lines)])


_HEADING = "{:<{width}}      rows  positives    AUC  log loss  calibration error  slope"


def report_of(
    actions: NDArray[np.str_],
    labels: Floats,
    chances: Floats,
    prior: tuple[float, float],
    calibration: Sigmoid,
    auc_alone: dict[str, float],
    in_time: Figures | None,
    converged: bool,
) -> TrainingReport:
    """Figures of the cross-fitted chances, overall and per action, beside what was chosen on the way."""
    names, codes = np.unique(actions, return_inverse=True)
    base_rates = np.bincount(codes, weights=labels) / np.bincount(codes)
    by_action = zip(names, evaluate.rows_by(actions), strict=True)
    return TrainingReport(
        prior_shared=prior[0],
        prior_deviation=prior[1],
        slope=calibration.slope,
        intercept=calibration.intercept,
        converged=converged,
        auc_alone=auc_alone,
        base_rates=figures_of(labels, base_rates[codes], actions),
        overall=figures_of(labels, chances, actions),
        in_time=in_time,
        actions=tuple(
            ActionReport(str(name), figures_of(labels[rows], chances[rows], actions[rows])) for name, rows in by_action
        ),
    )


def figures_of(labels: Floats, chances: Floats, actions: NDArray[np.str_]) -> Figures:
    """All figures over these rows."""
    return Figures(
        rows=len(labels),
        positives=int(labels.sum()),
        auc=_or_none(lambda: evaluate.auc_within(labels, chances, actions)),
        average_precision=_or_none(lambda: evaluate.average_precision(labels, chances)),
        log_loss=evaluate.log_loss(labels, chances),
        brier=evaluate.brier(labels, chances),
        calibration_error=evaluate.calibration_error(labels, chances),
        calibration_slope=_or_none(lambda: evaluate.calibration_slope(labels, chances)),
    )


def _line(name: str, width: int, figures: Figures) -> str:
    auc, slope = (
        "     -" if figure is None else f"{figure:6.3f}" for figure in (figures.auc, figures.calibration_slope)
    )
    counts = f"{figures.rows:>9} {figures.positives:>10}"
    return f"{name:<{width}} {counts} {auc} {figures.log_loss:9.4f} {figures.calibration_error:18.4f} {slope}"


def _or_none(figure: Callable[[], float]) -> float | None:
    try:
        return figure()
    except MetricUndefined:
        return None
