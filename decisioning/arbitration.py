"""Arbitration: who wins.

Pure, on parallel arrays. An offer's priority is propensity x worth x context weight x lever - contact cost; a message's
worth is certain, so its propensity is 1. `expected_value` leaves lever and context weight out: it alone is money.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def priorities(
    propensity: Floats, worth: Floats, context_weight: Floats, lever: Floats, contact_cost: Floats
) -> Floats:
    """Priority of each candidate, in the strategy's currency; all arrays float64[n], propensity 1 for messages."""
    return propensity * worth * context_weight * lever - contact_cost


def arbitrate(priority: Floats, action_hash: Hashes, *, person: str) -> Ints:
    """Candidate positions, best first; equal priorities are ordered by a hash of person and action.

    Ties are common: an untrained action starts at its group's mean. A random tie-break would make a page differ on
    reload, and the order of files would make one action win everywhere.
    """
    order = np.argsort(-priority, kind="stable")
    ranked = priority[order]
    if ranked.size > 1 and (ranked[1:] == ranked[:-1]).any():
        order = np.lexsort((mixed(action_hash, person), -priority))
    return order


def mixed(action_hash: Hashes, text: str) -> Hashes:
    """splitmix64 of a text and each action: one number per candidate, the same on every machine."""
    seed = np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest()))
    x = action_hash ^ seed
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # wraps around, as meant
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
