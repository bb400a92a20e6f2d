"""The slow twin of exploration: the closed formula spelled out with masks, for tables of any number of rows."""

from __future__ import annotations

import numpy as np

from decisioning.arbitration import Floats
from decisioning.exploration import LAUNCH_TOTAL_MAX, Flags


def shares_of(
    value: Floats, *, explores: Flags, launches: Flags, sacrifice: float, scale_min: float, launch_share: float
) -> Floats:
    """float64[..., K]: `selection_probabilities` of each row."""
    best = value.max(axis=-1, keepdims=True)
    is_best = value == best
    may_win = explores | is_best
    even = 1.0 / may_win.sum(axis=-1, keepdims=True)
    scale = np.maximum(best, scale_min)
    gap = best / np.where(best > 0.0, scale, scale_min) - value / np.where(value > 0.0, scale, scale_min)
    probability = np.where(may_win & ~is_best, even * sacrifice / (sacrifice + gap), 0.0)
    best_count = is_best.sum(axis=-1, keepdims=True)
    lifted = launches & may_win & ~is_best
    floor = np.minimum(launch_share, LAUNCH_TOTAL_MAX / np.maximum(lifted.sum(axis=-1, keepdims=True), 1))
    wanted = np.where(lifted, np.maximum(floor - probability, 0.0), 0.0)
    spare = (1.0 - probability.sum(axis=-1, keepdims=True) - best_count * even) / 2.0
    total = wanted.sum(axis=-1, keepdims=True)
    probability = probability + wanted * np.clip(spare / np.maximum(total, np.finfo(np.float64).tiny), 0.0, 1.0)
    rest = 1.0 - probability.sum(axis=-1, keepdims=True)
    return np.where(is_best, rest / best_count, probability)
