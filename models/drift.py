"""Drift: how today's customers and scores differ from those a previous model was trained on.

Training leaves a profile of its table beside the model: the share of customers in each band or level of each feature,
and in each tenth of the scores. A later table is read by the same encoder and compared by the population stability
index: below 0.1 little has changed, above 0.25 the previous model speaks of other people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models import evaluate, intervals
from models.errors import MetricUndefined
from models.evaluate import Interval
from models.features import Column, FeatureEncoder, Floats, Numeric, thinned
from models.propensity import NOTHING_BARRED, PropensityModel

SHARE_MIN = 1e-4  # an empty band would make the index infinite
STABLE, SHIFTED = 0.1, 0.25  # bounds of the index that are in common use
SCORE_BANDS = 10


@dataclass(frozen=True, slots=True)
class Profile:
    """How a training table was distributed."""

    features: Mapping[str, tuple[float, ...]]  # share of rows in each encoded state of a feature
    score_edges: tuple[float, ...]  # propensities that divide the rows into tenths


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of the new model and of the previous one on the same rows."""

    now: float
    before: float
    difference: Interval  # of now - before, over customers


@dataclass(frozen=True, slots=True)
class Drift:
    """Against a previous model. Rows may have been in its training, which flatters it; None is unknown."""

    previous: str  # its version
    features: Mapping[str, float | None]  # stability index; None for a feature that the previous model had not
    scores: float | None  # stability index of the previous model's scores
    auc: Change | None
    log_loss: Change | None
    calibration_error: tuple[float, float]  # now and before


def profile_of(encoder: FeatureEncoder, columns: Mapping[str, Column], chances: Floats) -> Profile:
    """The profile of a training table; chances as the new model gave them."""
    inner = np.arange(1, SCORE_BANDS) / SCORE_BANDS
    return Profile(_shares(encoder, columns), tuple(np.unique(np.quantile(chances, inner)).tolist()))


def drift_of(
    previous: PropensityModel,
    profile: Profile | None,
    columns: Mapping[str, Column],
    *,
    actions: Sequence[str],
    labels: Floats,
    chances: Floats,
    clusters: ArrayLike | None = None,
    barred: Mapping[str, frozenset[str]] = NOTHING_BARRED,
) -> Drift:
    """Compare a training table, and the new model's chances on it, with a previous model and its profile.

    columns  values by attribute path; an attribute of the previous model that is not there counts as missing
    chances  float64[n]  of the new model, from fits that did not see the row
    barred   by action the attributes that may not be used for it now, whatever the previous model learnt
    profile  what the previous training left, see `profile_from`; None when it left nothing
    """
    who = np.arange(len(labels)) if clusters is None else np.asarray(clusters)
    before = previous.propensities_of_table(_completed(previous, columns, len(labels)), actions, barred=barred)
    known = columns.keys() & set(previous.features)
    return Drift(
        previous=previous.version,
        features=_feature_drift(previous, profile, {path: columns[path] for path in known}, set(columns)),
        scores=_score_drift(profile, before),
        auc=_auc_change(labels, chances, before, np.asarray(actions), who),
        log_loss=_log_loss_change(labels, chances, before, who),
        calibration_error=(evaluate.calibration_error(labels, chances), evaluate.calibration_error(labels, before)),
    )


def profile_from(report: Mapping[str, Any]) -> Profile | None:
    """The profile in a stored report; None when it holds none that can be read."""
    try:
        features = {str(path): tuple(map(float, shares)) for path, shares in report["profile"]["features"].items()}
        return Profile(features, tuple(map(float, report["profile"]["score_edges"])))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def stability_index(shares: ArrayLike, before: ArrayLike) -> float:
    """Population stability index of two distributions over the same bands."""
    now, then = np.maximum(shares, SHARE_MIN), np.maximum(before, SHARE_MIN)
    return float(((now - then) * np.log(now / then)).sum())


def _feature_drift(
    previous: PropensityModel, profile: Profile | None, known: Mapping[str, Column], paths: set[str]
) -> dict[str, float | None]:
    drift: dict[str, float | None] = dict.fromkeys(sorted(paths | set(previous.features)))
    if profile is None or not known:
        return drift
    encoder = FeatureEncoder([feature for feature in previous.encoder.features if feature.path in known])
    for path, shares in _shares(encoder, known).items():
        before = profile.features.get(path, ())
        if len(before) == len(shares):
            drift[path] = stability_index(shares, before)
    return drift


def _score_drift(profile: Profile | None, chances: Floats) -> float | None:
    """The edges divide the previous table into bands of equal share, unless several tenths scored the same."""
    if profile is None or len(profile.score_edges) != SCORE_BANDS - 1:
        return None
    bands = np.bincount(np.searchsorted(profile.score_edges, chances), minlength=SCORE_BANDS)
    return stability_index(bands / len(chances), [1 / SCORE_BANDS] * SCORE_BANDS)


def _shares(encoder: FeatureEncoder, columns: Mapping[str, Column]) -> dict[str, tuple[float, ...]]:
    """Of each feature: the share of rows where it is missing, then in each of its bands, or at each of its levels."""
    encoded = encoder.encode_table(thinned(columns, encoder.paths))
    shares = {}
    for feature in encoder.features:
        own = encoder.columns_of(feature.path)
        states = encoded[:, own]
        if isinstance(
            feature, Numeric
        ):  # z-score, mark for missing, bands; the median's band is lit where it is missing
            states = np.hstack([states[:, 1:2], states[:, 2:] * (1.0 - states[:, 1:2])])
        shares[feature.path] = tuple(states.mean(axis=0).tolist())
    return shares


def _completed(model: PropensityModel, columns: Mapping[str, Column], row_count: int) -> dict[str, Column]:
    return {path: columns.get(path, [None] * row_count) for path in model.features}


def _auc_change(labels: Floats, chances: Floats, before: Floats, actions: Any, who: Any) -> Change | None:
    try:
        now, then = (evaluate.auc_within(labels, scores, actions) for scores in (chances, before))
        difference = intervals.auc_difference_interval(labels, chances, before, actions, who)
    except MetricUndefined:
        return None
    return Change(now, then, difference)


def _log_loss_change(labels: Floats, chances: Floats, before: Floats, who: Any) -> Change | None:
    now, then = evaluate.log_losses(labels, chances), evaluate.log_losses(labels, before)
    try:
        return Change(float(now.mean()), float(then.mean()), intervals.mean_interval(now - then, who))
    except MetricUndefined:
        return None
