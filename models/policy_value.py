"""Policy value: what another policy would have earned on the recorded draws of a known one.

numpy only. Every row is one draw with the probability it had; its weight is target probability / logged probability.
IPS and SNIPS weigh the rewards, DM believes a reward model, DR and SNDR weigh only what that model got wrong. Standard
errors take all rows of a person as one observation. Where too few draws carry the weight no value is given:
`PolicyValue.refused` says why. docs/evaluation.md explains every figure to readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import MetricUndefined
from models.features import Floats, Indexes

SAMPLE_MIN = 100.0  # effective sample size below which no value is given: under it intervals fail to cover
REWARDED_MIN = 20.0  # the same over draws that earned anything: where these are rare, a hundred draws may hold none
WEIGHT_MEAN_ERRORS_MAX = 4.0  # standard errors that the mean weight may lie from 1 before it is a warning
WEIGHT_SHARE_MAX = 0.05  # part of all weight that one row may carry before it is a warning
CARRYING_MIN = 10.0  # persons that carry the variance; fewer, and the next large outcome moves everything: a warning
UNSUPPORTED_MAX = 0.01  # part of the target's probability on actions the log never took, likewise
NORMAL_QUANTILE = 1.959963984540054  # of an interval of 95 %
FREEDOM_MIN = 2.0  # degrees of freedom; the series for Student's quantile is of no use below

Flags = NDArray[np.bool_]


class Estimate(NamedTuple):
    """A value per draw in units of the reward, with its interval of 95 %."""

    value: float
    standard_error: float
    low: float
    high: float


class Weights(NamedTuple):
    """How well the log covers the target policy."""

    mean: float  # near 1 when the logged probabilities are right and everything has support
    max: float
    zero_count: int  # draws whose action the target policy never takes there
    effective_sample_size: float | None  # (sum w)^2 / sum w^2; None when no draw has weight
    rewarded_sample_size: float | None  # the same over draws whose reward is not 0; None when none of them has weight
    unsupported_share: float  # of the target's probability, on actions that the log never took


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """A policy's value by every estimator, and whether to believe it; None where a value does not exist or is refused.

    dm has no interval: it cannot know how wrong its model is.
    """

    draws: int
    persons: int
    weights: Weights
    refused: str | None  # why no value is given
    warnings: tuple[str, ...]
    ips: Estimate | None
    snips: Estimate | None
    dm: float | None
    dr: Estimate | None
    sndr: Estimate | None


@dataclass(frozen=True, slots=True)
class Draws:
    """n recorded draws beside what a target policy would have done; made by `draws_of` or `draws_of_choices`."""

    rewards: Floats
    weights: Floats  # target probability / logged probability, of the logged action
    modelled: Floats  # sum over actions of target probability x predicted reward
    predicted: Floats  # reward predicted of the logged action
    persons: Indexes  # 0..k-1
    is_rewarded: Flags  # something was earned, before costs
    unsupported_share: float


class _Scores(NamedTuple):
    """An estimator's value, and how much each draw moves it away from there: the mean of `pulls` is 0."""

    value: float
    pulls: Floats


def draws_of(
    rewards: ArrayLike,
    actions: ArrayLike,
    probabilities: ArrayLike,
    target: ArrayLike,
    *,
    predicted: ArrayLike | None = None,
    persons: ArrayLike | None = None,
) -> Draws:
    """Checked draws.

    rewards        [n]     what followed, in any unit
    actions        [n]     0..k-1, the action that was drawn
    probabilities  [n]     with which it was drawn, above 0
    target         [n, k]  probability of each action under the policy to be valued; rows sum to 1
    predicted      [n, k]  rewards predicted by a model that has not seen the row's reward; zeros without a model
    persons        [n]     whose draws they are; without it every row is somebody else
    Raises ValueError for other shapes or values.
    """
    chances = np.asarray(target, dtype=np.float64)
    chosen = np.asarray(actions, dtype=np.int64)
    logged = np.asarray(probabilities, dtype=np.float64)
    earned = np.asarray(rewards, dtype=np.float64)
    expected = np.zeros_like(chances) if predicted is None else np.asarray(predicted, dtype=np.float64)
    _refuse_unreadable(earned, chosen, logged, chances, expected)
    rows = np.arange(len(chosen))
    names = rows if persons is None else np.unique(np.asarray(persons), return_inverse=True)[1]
    never_taken = np.bincount(chosen, minlength=chances.shape[1]) == 0
    return Draws(
        rewards=earned,
        weights=chances[rows, chosen] / logged,
        modelled=(chances * expected).sum(axis=1),
        predicted=expected[rows, chosen],
        persons=names.astype(np.int64),
        is_rewarded=earned != 0.0,
        unsupported_share=float(chances[:, never_taken].sum() / len(chances)),
    )


def draws_of_choices(
    rewards: Floats,
    probabilities: Floats,
    *,
    is_choice: Flags,
    predicted_choice: Floats,
    predicted_logged: Floats,
    persons: Indexes,
    is_rewarded: Flags,
    unsupported_share: float,
) -> Draws:
    """Draws for a policy that makes one choice in each row, without a table of all actions.

    is_choice    bool[n]  whether the logged action is that choice
    is_rewarded  bool[n]  whether something was earned, before costs
    """
    return Draws(
        rewards=rewards,
        weights=is_choice / probabilities,
        modelled=predicted_choice,
        predicted=predicted_logged,
        persons=persons,
        is_rewarded=is_rewarded,
        unsupported_share=unsupported_share,
    )


def policy_value(draws: Draws) -> PolicyValue:
    """Every estimator with interval and diagnostics; values are withheld below the floors on the sample sizes."""
    weights = weights_of(draws)
    refused = _refusal(draws, weights)
    estimates = {} if refused else {name: _estimate(scores(draws), draws) for name, scores in _ESTIMATORS.items()}
    return PolicyValue(
        draws=len(draws.rewards),
        persons=int(draws.persons.max()) + 1,
        weights=weights,
        refused=refused,
        warnings=tuple(_warnings(draws, weights)),
        dm=None if refused else float(draws.modelled.mean()),
        ips=estimates.get("ips"),
        snips=estimates.get("snips"),
        dr=estimates.get("dr"),
        sndr=estimates.get("sndr"),
    )


def difference(draws: Draws, rival: Draws) -> Estimate:
    """DR value of one policy less that of another on the same rows: what they do alike cancels out.

    Raises ValueError for draws of different logs.
    """
    if not np.array_equal(draws.rewards, rival.rewards) or not np.array_equal(draws.persons, rival.persons):
        raise ValueError("a difference needs two policies on the rows of one log")
    ours, theirs = _doubly_robust(draws), _doubly_robust(rival)
    return _estimate(_Scores(ours.value - theirs.value, ours.pulls - theirs.pulls), draws)


def estimate(name: str, draws: Draws) -> Estimate:
    """One of ips, snips, dr, sndr, whatever the sample sizes; raises MetricUndefined where it does not exist."""
    return _estimate(_ESTIMATORS[name](draws), draws)


def weights_of(draws: Draws) -> Weights:
    """Diagnostics of the weights."""
    return Weights(
        mean=float(draws.weights.mean()),
        max=float(draws.weights.max()),
        zero_count=int((draws.weights == 0.0).sum()),
        effective_sample_size=_sample_size(draws.weights),
        rewarded_sample_size=_sample_size(draws.weights * draws.is_rewarded),
        unsupported_share=draws.unsupported_share,
    )


def mean_by_person(values: ArrayLike, persons: ArrayLike) -> Estimate:
    """Mean per row with an interval that takes all rows of a person as one observation."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(numbers.mean())
    codes = np.unique(np.asarray(persons), return_inverse=True)[1].astype(np.int64)
    return _interval(mean, numbers - mean, codes)


def ratio_by_person(values: Floats, totals: Floats, persons: Indexes) -> Estimate:
    """sum of values / sum of totals, likewise; raises MetricUndefined when the totals sum to 0."""
    total = float(totals.sum())
    if total == 0.0:
        raise MetricUndefined("a share of nothing")
    ratio = float(values.sum()) / total
    return _interval(ratio, (values - ratio * totals) * (len(totals) / total), persons)


def _inverse_propensity(draws: Draws) -> _Scores:
    terms = draws.weights * draws.rewards
    return _Scores(float(terms.mean()), terms - terms.mean())


def _self_normalised(draws: Draws) -> _Scores:
    return _weighted_mean(draws.weights, draws.rewards)


def _doubly_robust(draws: Draws) -> _Scores:
    terms = draws.modelled + draws.weights * (draws.rewards - draws.predicted)
    return _Scores(float(terms.mean()), terms - terms.mean())


def _self_normalised_doubly_robust(draws: Draws) -> _Scores:
    modelled = float(draws.modelled.mean())
    correction = _weighted_mean(draws.weights, draws.rewards - draws.predicted)
    return _Scores(modelled + correction.value, draws.modelled - modelled + correction.pulls)


_ESTIMATORS = {
    "ips": _inverse_propensity,
    "snips": _self_normalised,
    "dr": _doubly_robust,
    "sndr": _self_normalised_doubly_robust,
}


def _weighted_mean(weights: Floats, amounts: Floats) -> _Scores:
    total = float(weights.sum())
    if total == 0.0:
        raise MetricUndefined("the policy takes no logged action, so there is no self-normalised value")
    mean = float((weights * amounts).sum()) / total
    return _Scores(mean, weights * (amounts - mean) * (len(weights) / total))


def _estimate(scores: _Scores, draws: Draws) -> Estimate:
    return _interval(scores.value, scores.pulls, draws.persons)


def _interval(value: float, pulls: Floats, persons: Indexes) -> Estimate:
    """Student's interval, its degrees of freedom half the persons that carry the variance, not all that are there.

    With heavy weights few do, and they pull mean and variance up together: where a normal interval of 95 % covered 89 %
    of simulated logs, this one covers 95 %. Satterthwaite's four times as many degrees cover 92 %, a correction for
    skewness no more.
    """
    by_person: Floats = np.bincount(persons, weights=pulls).astype(np.float64)
    count = len(by_person)
    total = float((by_person**2).sum())
    if count < 2 or total == 0.0:
        return Estimate(value, 0.0, value, value)
    standard_error = float(np.sqrt(total * count / (count - 1))) / len(pulls)
    reach = _student_quantile(max(_carrying(by_person) / 2, FREEDOM_MIN)) * standard_error
    return Estimate(value, standard_error, value - reach, value + reach)


def _carrying(by_person: Floats) -> float:
    """How many persons carry the variance: all of them when they pull alike."""
    squares = by_person**2
    return float(squares.sum() ** 2 / (squares**2).sum())


def _student_quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's distribution by the Cornish-Fisher series; 2 % short at 3, exact from 10 on."""
    z = NORMAL_QUANTILE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _sample_size(amounts: Floats) -> float | None:
    squares = float((amounts**2).sum())
    return float(amounts.sum()) ** 2 / squares if squares > 0.0 else None


def _refusal(draws: Draws, weights: Weights) -> str | None:
    sample = weights.effective_sample_size or 0.0
    rewarded = weights.rewarded_sample_size or 0.0
    if sample < SAMPLE_MIN:
        return f"the log holds the worth of {sample:.1f} draws of this policy; {SAMPLE_MIN:g} are needed"
    if not draws.persons.any():
        return "all draws are of one person, which says nothing about others"
    if rewarded < REWARDED_MIN:
        return f"the log holds the worth of {rewarded:.1f} rewarded draws of this policy; {REWARDED_MIN:g} are needed"
    return None


def _warnings(draws: Draws, weights: Weights) -> list[str]:
    found = []
    spread = mean_by_person(draws.weights, draws.persons).standard_error
    if abs(weights.mean - 1.0) > WEIGHT_MEAN_ERRORS_MAX * spread + 1e-9:
        found.append(f"the mean weight is {weights.mean:.3f} instead of 1: logged probabilities or support are amiss")
    if weights.mean > 0.0 and weights.max / draws.weights.sum() > WEIGHT_SHARE_MAX:
        found.append(f"one draw carries {weights.max / draws.weights.sum():.0%} of all weight")
    by_person: Floats = np.bincount(draws.persons, weights=_doubly_robust(draws).pulls).astype(np.float64)
    if by_person.any() and _carrying(by_person) < CARRYING_MIN:
        found.append(f"{_carrying(by_person):.1f} persons carry the interval: the next large outcome may move it")
    if weights.unsupported_share > UNSUPPORTED_MAX:
        found.append(f"{weights.unsupported_share:.1%} of the policy's choices are actions the log never took")
    return found


def _refuse_unreadable(
    rewards: Floats, actions: Indexes, probabilities: Floats, target: Floats, predicted: Floats
) -> None:
    if target.ndim != 2 or not len(target) or predicted.shape != target.shape:
        raise ValueError(
            f"target {target.shape} and predicted {predicted.shape} must be tables of one shape, with rows"
        )
    for name, array in (("rewards", rewards), ("actions", actions), ("probabilities", probabilities)):
        if array.shape != (len(target),):
            raise ValueError(f"{name} {array.shape} must have one entry for each of the {len(target)} rows")
    if not (np.isfinite(rewards).all() and np.isfinite(predicted).all()):
        raise ValueError("rewards and predicted rewards must be finite")
    if actions.min() < 0 or actions.max() >= target.shape[1]:
        raise ValueError(f"actions must lie in 0..{target.shape[1] - 1}")
    if not ((probabilities > 0.0) & (probabilities <= 1.0)).all():
        raise ValueError("logged probabilities must be above 0 and at most 1: what was drawn was possible")
    if not ((target >= 0.0).all() and np.allclose(target.sum(axis=1), 1.0, atol=1e-6)):
        raise ValueError("target probabilities must not be negative and must sum to 1 in every row")
