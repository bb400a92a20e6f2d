"""Assignment: holdout and arms by salted hash of the person.

Pure. The unit is the stored random `assignment_key`, so assignment survives merges of identifiers and no one can choose
an id that lands in a wanted arm. Text is hashed as UTF-8; a draw keeps 53 bits, which a float holds exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import prod

from decisioning.catalog.strategy import Experiment, Strategy


@dataclass(frozen=True, slots=True)
class Standing:
    """What experiments say about one person."""

    holdout: bool
    arms: Mapping[str, str]  # experiment -> arm
    probability: float = 1.0  # that somebody stands like this: the product of the shares; 1 without experiments

    @property
    def draws_at_random(self) -> bool:
        """True when some experiment gives this person a uniformly random eligible action."""
        return "random" in self.arms.values()


def draw(*parts: str | int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    text = "\x1f".join(map(str, parts)).encode()
    return (int.from_bytes(blake2b(text, digest_size=8).digest()) >> 11) * 2.0**-53


def standing_of(assignment_key: str, strategy: Strategy) -> Standing:
    """Holdout and arms of one person under a strategy."""
    holdout = strategy.holdout
    held_out = holdout is not None and draw("holdout", holdout.salt, assignment_key) < holdout.share
    arms = {each.name: arm_of(assignment_key, each) for each in strategy.experiments}
    shares = [each.arms[arms[each.name]] for each in strategy.experiments]
    if holdout is not None:
        shares.append(holdout.share if held_out else 1.0 - holdout.share)
    return Standing(held_out, arms, prod(shares, start=1.0))


def arm_of(assignment_key: str, experiment: Experiment) -> str:
    """The arm whose share of the unit interval, in order of arm names, holds this person's draw."""
    at = draw("arm", experiment.name, experiment.salt, assignment_key)
    reached = 0.0
    names = sorted(experiment.arms)
    for name in names:
        reached += experiment.arms[name]
        if at < reached:
            return name
    return names[-1]  # shares sum to 1 only up to rounding
