"""Arbitration: who wins.

Pure, on parallel arrays. An offer's priority is propensity x worth x context weight x lever - contact cost; a message's
worth is certain, so its propensity is 1. `expected_value` leaves lever and context weight out: it alone is money.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

# Of splitmix64; as arrays, because numpy takes twice as long to add a number to an array.
SHIFTS = [np.array(each, dtype=np.uint64) for each in (30, 27, 31)]
FACTORS = [np.array(each, dtype=np.uint64) for each in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]


def priorities(
    propensity: Floats, worth: Floats, context_weight: Floats | None, lever: Floats, contact_cost: float
) -> Floats:
    """Priority of each candidate, in the strategy's currency; docs/glossary.md has the formula.

    propensity      float64[n]  chance of a positive response, 0..1; 1 for messages. Rows of it, one a guess, give rows
    worth           float64[n]  of one positive response, in currency; of a message its brand_value
    context_weight  float64[n]  fit to the moment, 1 = neutral; None where all are 1
    lever           float64[n]  business emphasis, 1 = neutral
    contact_cost    of one contact in this channel, in currency
    """
    priority = propensity * worth
    if context_weight is not None:
        priority *= context_weight
    priority *= lever
    if contact_cost:
        priority -= contact_cost
    return priority


def arbitrate(priority: Floats, action_hash: Hashes, *, person: str) -> Ints:
    """Candidate positions, best first; equal priorities are ordered by a hash of person and action.

    All at once, for explanations; a draw asks `best_first`, which gives the same order.
    Ties are common: an untrained action starts at its group's mean. A random tie-break would make a page differ on
    reload, and the order of files would make one action win everywhere.
    """
    descending = -priority
    order = descending.argsort(kind="stable")
    ranked = descending[order]
    if np.count_nonzero(ranked[1:] == ranked[:-1]):
        order = np.lexsort((mixed(action_hash, person), descending))
    return order


def best_first(priority: Floats, action_hash: Hashes, *, person: str) -> Iterator[int]:
    """The positions that `arbitrate` gives, one by one: who asks for two of fifty need not wait for the others."""
    left = priority.copy()
    for _ in range(left.size):
        best = int(left.argmax())
        tied = left == left[best]
        if np.count_nonzero(tied) > 1:
            among = tied.nonzero()[0]
            best = int(among[mixed(action_hash[among], person).argmin()])
        yield best
        left[best] = -np.inf


def mixed(action_hash: Hashes, text: str) -> Hashes:
    """splitmix64 of a text and each action: one number per candidate, the same on every machine."""
    x = action_hash ^ np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest()))
    x ^= x >> SHIFTS[0]
    x *= FACTORS[0]  # wraps around, as meant
    x ^= x >> SHIFTS[1]
    x *= FACTORS[1]
    x ^= x >> SHIFTS[2]
    return x
