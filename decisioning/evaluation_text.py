"""An evaluation in words, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from decisioning.evaluation import Evaluation
from decisioning.nouns import counted
from models.policy_value import Estimate, PolicyValue


def told(found: Evaluation) -> Iterator[str]:
    """One line after the other: how good the model is, then what choosing by it is worth."""
    yield from _quality_lines(found)
    yield from _row_lines(found)
    yield from _policy_lines(found)


def _quality_lines(found: Evaluation) -> Iterator[str]:
    overall = found.overall
    yield (
        f"model {found.model[:12]} on {counted(overall.rows, 'row')} of {counted(found.persons, 'person')}, "
        f"{overall.positives:,} positive; intervals of 95 % over persons"
    )
    yield f"  AUC within actions  {_figure(overall.auc, overall.auc_interval)}"
    yield f"  AUC of all rows     {_figure(found.auc_pooled, None)}"
    yield f"  average precision   {_figure(overall.average_precision, overall.average_precision_interval)}"
    yield f"  log loss            {_figure(overall.log_loss, overall.log_loss_interval)}"
    yield f"  Brier score         {_figure(overall.brier, overall.brier_interval)}"
    error = _figure(overall.calibration_error, overall.calibration_error_interval)
    yield f"  calibration error   {error}, a perfect model {overall.calibration_floor:.4f}"
    yield f"  calibration slope   {_figure(overall.calibration_slope, overall.calibration_slope_interval)} at 99 %"
    if len(found.actions) > 1:
        for one in found.actions:
            figures = one.figures
            yield (
                f"  {one.action}: {counted(figures.rows, 'row')}, {figures.positives:,} positive, AUC "
                f"{_figure(figures.auc, figures.auc_interval)}, calibration error {figures.calibration_error:.4f}, "
                f"a perfect model {figures.calibration_floor:.4f}"
            )


def _row_lines(found: Evaluation) -> Iterator[str]:
    if found.untrained:
        yield f"never trained, read from their group: {', '.join(found.untrained)}"
    if found.excluded:
        counts = ", ".join(f"{count:,} {label or 'incomplete'}" for label, count in found.excluded.items())
        yield f"left out: {counts}"
    if found.invalid:
        counts = ", ".join(f"{path} {count:,}" for path, count in found.invalid.items())
        yield f"values that are none of their attribute's, read as missing: {counts}"


def _policy_lines(found: Evaluation) -> Iterator[str]:
    policy = found.policy
    if policy is None:
        yield f"what choosing by the model is worth is not known: {found.no_policy}"
        return
    yield (
        f"choosing by the model, {policy.unit} per row at a contact cost of {policy.contact_cost:g}, over "
        f"{counted(policy.rows, 'row')} of {counted(policy.persons, 'person')}; it acts in {policy.contacted:.1%}"
    )
    yield f"  as it was logged    {_estimate(policy.logged)}"
    yield f"  by the model        {_value(policy.model)}"
    yield f"  {policy.best_action} for all  {_value(policy.best_for_all)}"
    if policy.nothing:
        yield f"  nothing             {_value(policy.nothing)}"
    if policy.over_best_for_all:
        yield f"  more than the best action for all  {_estimate(policy.over_best_for_all)}"
    if policy.over_nothing:
        yield f"  more than nothing   {_estimate(policy.over_nothing)}"
    for share, gain in policy.top_gains.items():
        yield f"  the best {float(share):.0%} hold    {gain.value:.0%} ({gain.low:.0%} to {gain.high:.0%}) of the gain"
    for warning in policy.model.warnings:
        yield f"  warning: {warning}"


def _figure(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


def _value(value: PolicyValue) -> str:
    sample = value.weights.effective_sample_size or 0.0
    told = f"refused: {value.refused}" if value.dr is None else f"{_estimate(value.dr)}, doubly robust"
    return f"{told}; worth {sample:,.0f} draws"
