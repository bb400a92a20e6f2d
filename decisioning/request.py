"""What is asked and what is answered: the values that pass between the edge and `decide`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decisioning.customer import State
from decisioning.store.protocol import Movement

OFFER, MESSAGE, NOTHING = "offer", "message", "nothing"


@dataclass(slots=True)
class Request:
    """One question: what to show this customer in these placements of one channel, now."""

    customer_key: str
    channel: str
    placements: tuple[str, ...]
    context: Mapping[str, Any] = field(default_factory=dict)  # typed by the schema
    sending: bool = False  # True: the answer goes out now, unasked for, and quiet hours count
    offers_allowed: bool = True  # False after two lost races: no offer but what the newest state leases


def slot_of(placement: str, rank: int) -> str:
    """The name of one rank of a placement: the placement's own for the first, `web.list#2` for the second."""
    return placement if rank == 1 else f"{placement}#{rank}"


def slots_of(placement: str, count: int) -> list[str]:
    """The names of all ranks of a placement."""
    return [slot_of(placement, rank) for rank in range(1, count + 1)]


@dataclass(slots=True)
class Placed:
    """One outcome in a placement. Propensity to expected_value are None where nothing was scored."""

    placement: str
    outcome: str  # offer, message or nothing
    reasons: list[str]  # `code` or `code:detail`
    action: str | None = None
    treatment: str | None = None
    rank: int = 1  # from the top of its placement
    content: Mapping[str, Any] | None = None
    propensity: float | None = None
    uplift: float | None = None  # what acting adds; None where the strategy ranks gross
    priority: float | None = None
    expected_value: float | None = None
    selection_probability: float | None = None  # None: no trial of the policy (render of a lease or a hold, fallback)
    lease_of: str | None = None  # the decision whose draw this renders again
    valid_until_ms: int = 0

    @property
    def slot(self) -> str:
        """Its place in the answer: what a hold, and what kept others out, is remembered by."""
        return slot_of(self.placement, self.rank)

    @property
    def is_trial(self) -> bool:
        """True when this outcome was drawn now, False when it repeats an earlier draw."""
        return self.selection_probability is not None


@dataclass(slots=True)
class Decision:
    """The whole answer, with the customer's next state."""

    decision_id: str
    at_ms: int
    holdout: bool
    arms: Mapping[str, str]
    arm_probability: float  # of this holdout and these arms; 1 where there are none
    placements: list[Placed]
    drops: dict[str, int]  # reason -> the actions a gate removed, as a mask, of those that were asked about
    placement_drops: dict[str, dict[str, int]]  # the same for what kept actions out of one slot
    state: State
    changes_state: bool  # False: it repeats what was promised and shown before, and only its record is new
    attributes: Mapping[str, Any]  # what was read of the profile, typed: enough to decide again
    movements: list[Movement]  # what it takes of budgets, committed with the state

    @property
    def stages(self) -> list[dict[str, int]]:
        """What kept actions out, anywhere in this answer: of all its placements, then of each slot."""
        return [self.drops, *self.placement_drops.values()]

    def reasons_against(self, index: int) -> list[str]:
        """Why an action dropped out, anywhere in this answer; none for one that was not asked about."""
        return [reason for drops in self.stages for reason, mask in drops.items() if mask >> index & 1]
