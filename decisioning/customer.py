"""The customer as a decision sees it: profile, consents, interactions, lease.

Plain data, no store and no clock. `store/` packs these values, `decide.py` reads them, `consequences.py` and
`respond.py` return changed copies. Times are milliseconds since the epoch by the *store's* clock, never a replica's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple

PARTITION_COUNT = 256  # fixed at installation: changing it would orphan every stored customer


def partition_of(customer_key: str) -> int:
    """The partition, 0..255, whose slot holds everything about this customer.

    Not cached, though one request asks five times: that saved 0.3 µs each, and kept ids of customers who were erased.
    """
    return blake2b(customer_key.encode(), digest_size=1).digest()[0]


@dataclass(slots=True)
class SourceFacts:
    """What one source last said about a customer."""

    at_ms: int  # when the source observed it
    attributes: dict[str, Any]  # attribute name without its `customer.` prefix -> JSON value
    times_ms: dict[str, int] = field(default_factory=dict)  # of attributes said at another time, and of forgotten ones


@dataclass(slots=True)
class Profile:
    """All attributes of a customer, kept by source so that age and origin are known."""

    sources: dict[str, SourceFacts] = field(default_factory=dict)


@dataclass(slots=True)
class Consent:
    """One permission, or its refusal, for a channel and a purpose."""

    channel: str
    purpose: str
    granted: bool
    at_ms: int
    version: int  # counts this customer's changes to this channel x purpose
    source: str = "api"
    basis: str = "consent"  # lawful basis it was stated on


class Interaction(NamedTuple):
    """One counted fact about an action: what contact policies and `history.*` read."""

    at_ms: int
    outcome: str  # a response outcome of the glossary
    action: str  # issue/group/action
    channel: str


class DayCount(NamedTuple):
    """Interactions of one UTC day that are no answers and not kept one by one any more."""

    day: int  # days since the epoch
    outcome: str
    action: str
    channel: str
    times: int
    last_ms: int  # the latest of them


@dataclass(slots=True)
class LeaseEntry:
    """One offer promised to the customer in every channel until it ends."""

    action: str
    decision_id: str  # the decision whose draw put it here
    at_ms: int
    until_ms: int
    channels: list[str] = field(default_factory=list)  # where it was shown, the channel of its draw first
    reserved: dict[str, int] = field(default_factory=dict)  # budget -> units set aside until it is answered or ends


@dataclass(slots=True)
class Hold:
    """What a placement shows while its `nothing` or `message` lasts; it holds in this channel only and yields to a
    lease.
    """

    action: str | None  # None: nothing
    decision_id: str
    until_ms: int


@dataclass(slots=True)
class Render:
    """What one mail token showed last: where its link leads, and what a machine's fetch chose for it alone."""

    token_id: str
    placement: str
    decision_id: str  # whose record has it
    action: str | None  # None: nothing
    at_ms: int
    until_ms: int
    held: bool  # drawn when a machine fetched it: nobody was charged, nothing was leased


@dataclass(slots=True)
class State:
    """Everything about a customer that decisions and responses change, committed as one by compare-and-set."""

    person_key: str  # names the person in history
    assignment_key: str  # decides holdout and arms; survives merges
    sealing_key: str  # base64 of 32 bytes: seals personal attributes in records; deleting it is the erasure
    draw_index: int = 0  # running number of recorded draws
    consents: list[Consent] = field(default_factory=list)
    lease: list[LeaseEntry] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)  # by slot: each rank of a placement has its own
    interactions: list[Interaction] = field(default_factory=list)  # oldest first
    day_counts: list[DayCount] = field(default_factory=list)  # what was before, oldest day first
    complete_since_ms: int = 0  # interactions other than answers are complete from here on; 0: nothing was forgotten
    answers_since_ms: int = 0  # the same of accepted, rejected, converted and dismissed
    renders: list[Render] = field(default_factory=list)  # of mail tokens, the latest last; under a bound


_fields_of = attrgetter(*(each.name for each in fields(State)))


def copy_of(state: State) -> State:
    """A state with the same lists in it; `replace` makes one in three times the time."""
    return State(*_fields_of(state))


EXHAUSTED = "!"  # before a budget among the quotas: since when, in milliseconds, its counter is known to be empty


@dataclass(slots=True)
class Snapshot:
    """One customer at one moment of the store's clock: the whole input of a decision beside the request."""

    customer_key: str
    now_ms: int
    state_version: int  # 0: never written
    profile: Profile | None  # None: unknown identifier, decided as an empty profile
    state: State
    quotas: Mapping[str, int] = field(default_factory=dict)  # units of each budget that the partition has at hand
