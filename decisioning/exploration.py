"""Exploration: how often each candidate is chosen, so that models also learn about what does not look best today.

Pure, on parallel arrays; docs/learning.md has the reasons. The probabilities follow from the values by a closed formula
(inverse-gap weighting), therefore what is logged is exact and any other policy can be valued later. `chosen` draws from
them by hash: the same person, draw and position give the same choice on every worker.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decisioning.arbitration import Floats, Hashes, mixed

Flags = NDArray[np.bool_]

LAUNCH_TOTAL_MAX = 0.05  # all launch floors of one placement together: twenty launches may not crowd out the rest
SPARE_BITS = np.array(12, dtype=np.uint64)  # 52 bits of a hash and a half are exact in a float64: none rounds to 1
HASH_STEPS = 2.0**-52
NEVER = 1e-290  # in place of the probability 0: somebody has 1 / K or more, and is always sooner


def selection_probabilities(
    value: Floats, *, explores: Flags, launches: Flags, sacrifice: float, scale_min: float, launch_share: float
) -> Floats:
    """The chance of each candidate to be chosen, float64[K], summing to 1.

    value         float64[K]  what each is worth at its optimistic propensity, *nothing* included
    explores      bool[K]     may be chosen without being the best
    launches      bool[K]     is new and has not been seen enough: gets a floor, if it explores
    sacrifice     at most this share of the best value is given up for learning on average, before floors; > 0
    scale_min     the share is taken of at least this much, and values below zero are measured by it; currency, > 0
    launch_share  floor of one launch
    Raising a value never lowers its rank nor its probability; equal values have equal probabilities.
    """
    best = float(value[value.argmax()])
    is_best = value == best
    others = explores > is_best  # may be chosen, and are not the best
    best_count = np.count_nonzero(is_best)
    even = 1.0 / (best_count + np.count_nonzero(others))
    probability: Floats = even * sacrifice / (sacrifice + _relative_gap(value, best, scale_min))
    probability *= others
    if np.count_nonzero(launches) and np.count_nonzero(lifted := launches & others):
        probability += _lifts(probability, lifted, launch_share, even_of_best=best_count * even)
    probability[is_best] = (1.0 - float(np.add.reduce(probability))) / best_count
    return probability


def chosen(
    probabilities: Floats, action_hash: Hashes, *, person: str, draw_index: int, position: int, salt: str
) -> int:
    """The candidate that is drawn; candidate a wins with exactly probabilities[a] over persons, draws and positions.

    Every candidate gets an exponential waiting time with its probability as the rate, from a hash of its own; the
    first one wins. (Taking logarithms makes it the Gumbel-max draw.) Unlike a point on the line of added shares,
    a loser that leaves the list changes no other candidate's time: 99 in 100 draws keep their winner.

    probabilities  float64[K]  sums to 1; a candidate with 0 is never drawn
    action_hash    uint64[K]   of each candidate's key, *nothing* included
    draw_index     the person's running number of recorded draws
    position       of the placement within the answer
    """
    hashes = mixed(action_hash, f"{salt}/{draw_index}/{position}/{person}")
    hashes >>= SPARE_BITS
    uniform = hashes.astype(np.float64)
    uniform += 0.5
    uniform *= HASH_STEPS
    waiting = np.log(uniform, out=uniform)  # the time, negative: the first one is the largest
    waiting /= np.maximum(probabilities, NEVER)
    return int(waiting.argmax())


def _relative_gap(value: Floats, best: float, scale_min: float) -> Floats:
    """How far behind the best, as a share of the best value.

    Below zero the scale is scale_min throughout: with the best value as the scale, a better best would bring
    a candidate that loses money relatively nearer, and lose probability to it.
    """
    scale = max(best, scale_min)
    gap: Floats = best / scale - value / scale
    losing = value < 0.0
    if np.count_nonzero(losing):
        gap[losing] = best / scale - value[losing] / scale_min
    return gap


def _lifts(probability: Floats, lifted: Flags, launch_share: float, *, even_of_best: float) -> Floats:
    """What launches get on top of their probability; the best pays for it.

    It pays at most half of what it has above an even share. If it gave all, a launch about to become the best would
    lose by its last step up, because the floors of the other launches would then be taken from it.
    """
    floor = min(launch_share, LAUNCH_TOTAL_MAX / np.count_nonzero(lifted))
    wanted = np.maximum(floor - probability, 0.0) * lifted
    spare = (1.0 - float(probability.sum()) - even_of_best) / 2.0
    total = max(float(wanted.sum()), np.finfo(np.float64).tiny)
    lifts: Floats = wanted * min(max(spare / total, 0.0), 1.0)
    return lifts
