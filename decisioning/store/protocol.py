"""What is asked of a store, in verbs of the business.

A decision needs `read` and `commit`; the other verbs are those of the log, of the learner, of budgets and registries.

Two stores speak it, `memory.py` (the slow obvious twin) and `redis.py`; one contract suite runs against both. A
customer is one compare-and-set cell: callers read a snapshot, compute the next state in Python and commit it with
everything that must happen with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import msgspec

from decisioning.customer import Profile, Snapshot, State


@dataclass(slots=True)
class Once:
    """A step that may happen only once: the second attempt learns what the first one left."""

    key: str  # unique within the customer: an idempotency key or a response's identity
    value: str  # what a repeat is told, e.g. body hash and decision id
    ttl_s: int


@dataclass(slots=True)
class Record:
    """One fact for the log: a decision or a response."""

    record_id: str  # decision id or response id, unique for ever: history drops repeats by it
    body: bytes  # JSON


@dataclass(frozen=True, slots=True)
class Movement:
    """Units of a budget that a change moves in its customer's partition.

    spend    leave the block for good
    reserve  leave the block until they are kept or released, or their time is over by the store's clock
    keep     what was reserved is spent
    release  what was reserved goes back to the block, unless it did already
    overrun  are spent although none were at hand: what happened is counted, whether it should have or not
    """

    kind: Literal["spend", "reserve", "keep", "release", "overrun"]
    budget: str
    units: int
    reservation: str = ""  # names a reservation within its budget, of decision and action: `keep` names the same
    until_ms: int = 0  # of a reservation


@dataclass(slots=True)
class Change:
    """The next state of one customer and the records that describe it, applied together or not at all.

    Without a state it is a note of what was shown: the version must still be the expected one, and stays it.
    """

    customer_key: str
    expected_version: int
    state: State | None  # None: leave it as it is, of a customer who is stored
    profile: Profile | None = None  # None: leave the profile as it is
    records: list[Record] = field(default_factory=list)  # appended to the partition's log in order
    once: list[Once] = field(default_factory=list)
    movements: Sequence[Movement] = ()  # too few units at hand, or nothing left to keep: the change is lost

    def __post_init__(self) -> None:
        if self.state is None and self.expected_version == 0:
            raise ValueError("a change without a state is about a customer who is stored; version 0 is of nobody")


@dataclass(slots=True)
class Committed:
    """The change holds; `state_version` is the customer's new version, higher than all before, erasure or not."""

    state_version: int


@dataclass(slots=True)
class Lost:
    """Somebody else changed the customer, or took the units, first; nothing of the change was applied.

    `snapshot` is the new truth, quotas included.
    """

    snapshot: Snapshot


@dataclass(slots=True)
class Repeated:
    """A once-key was taken; nothing was applied. `values` holds what its first holder left, or None, per once-key."""

    values: list[str | None]


Outcome = Committed | Lost | Repeated


@dataclass(slots=True)
class LogEntry:
    """One record of a partition's log, with its position there."""

    position: str  # the stream's own id, `ms-seq`, ordered within the partition
    record: Record


class LogSize(NamedTuple):
    """What a partition's log takes."""

    bytes: int  # about: servers look at a sample
    oldest: str | None  # position of its first record; None while it has none


@dataclass(slots=True)
class Numbered:
    """One entry of a series."""

    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """Words kept under a name for a while. Words are only ever added, so writing a note twice is harmless."""

    partition: int
    name: str
    words: frozenset[str]
    ttl_s: int  # from the last writing


class Block(msgspec.Struct, frozen=True, gc=False):
    """One partition's part of a budget.

    What came in and what went back are totals that only grow. A transfer names the new total instead of an amount, so
    that it can be repeated by anybody, at any time, and is counted once.

    There are 77,000 of 300 budgets, and the garbage collector, walking them, would hold up requests for 100 ms.
    """

    at_hand: int = 0
    received: int = 0  # all that the counter ever granted and that arrived
    returned: int = 0  # all that was ever put aside to go back
    reserved: int = 0
    overrun: int = 0

    @property
    def spent(self) -> int:
        """Units that are gone for good, those beyond the budget not among them."""
        return self.received - self.returned - self.at_hand - self.reserved


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is brought to, or fetched from, one block."""

    partition: int
    budget: str
    granted: int = 0  # the total the counter has granted to this partition; what has not arrived yet arrives now
    give_back: int = 0  # put aside at most so many units
    is_exhausted: bool = False  # the counter had nothing to give


@dataclass(frozen=True, slots=True)
class Claim:
    """What one partition has had of a budget, and what it asks for."""

    partition: int
    budget: str
    received: int | None  # None: not asked; what is under way to it is then no reason to wait
    returned: int
    limit: int  # of the whole budget, as the strategy of the asking process has it
    wanted: int = 0  # units it needs at least for its dearest action; 0: none, only to settle what is under way
    least: int = 1  # with fewer than these left, nothing is granted: no action could use it
    ttl_s: int = 0  # the counter is forgotten so long after its last use; 0: never


@dataclass(frozen=True, slots=True)
class Grant:
    """The counter's answer to a claim."""

    total: int  # granted to this partition, ever
    left: int  # nobody has these; below zero when the limit was lowered


@dataclass(frozen=True, slots=True)
class Counter:
    """A budget as its counter knows it."""

    outstanding: int = 0  # granted and not come back: spent, reserved, at hand and under way
    granted: Mapping[int, int] = field(default_factory=dict)  # by partition, in total
    returned: Mapping[int, int] = field(default_factory=dict)  # by partition, in total
    exhausted_ms: int = 0  # when a claim last found too little; 0: never


class Store(Protocol):
    """All methods raise `StoreUnavailable` when the server does not answer within the deadline given at construction.

    A write that raises it may have happened nevertheless: who repeats a commit reads first, or relies on a once-key.
    """

    async def read(self, customer_keys: Sequence[str], *, quotas: bool = False) -> list[Snapshot]:
        """One snapshot per key, in order, each read atomically, in one round trip.

        quotas: with what the customer's partition has at hand of each budget. Unknown customers get a fresh State,
        which is not saved: the next read makes another.
        """
        ...

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """Apply each change atomically (not all of them together), in one round trip; outcomes in order."""
        ...

    async def erase(self, customer_key: str) -> bool:
        """Delete everything stored under the customer, sealing key and person key included; False when there was
        nothing.
        """
        ...

    async def log(self, partition: int, *, after: str, limit: int) -> list[LogEntry]:
        """Records of a partition behind position `after` ("0-0": from the start), oldest first."""
        ...

    async def customers_of(self, partition: int, person_keys: Sequence[str]) -> list[str | None]:
        """Customer keys of those whose records carry these person keys, in order; None after an erasure."""
        ...

    async def find_record(self, decision_id: str) -> bytes | None:
        """The decision record with this id, or None when it never was or has left the store."""
        ...

    async def log_size(self, partition: int) -> LogSize:
        """How much memory a partition's log takes, and its oldest position."""
        ...

    async def trim(self, partition: int, *, before: str) -> None:
        """Forget log records older than position `before`."""
        ...

    async def append(self, series: str, number: int, body: bytes) -> bool:
        """Add an entry at the end of a series; False, and nothing is written, when its number is not the highest.

        So two writers who both take the next number cannot both succeed: whoever comes second learns that it is stale.
        """
        ...

    async def entries(self, series: str, *, after: int, limit: int) -> list[Numbered]:
        """Entries of a series behind a number, lowest first."""
        ...

    async def latest(self, series: str, *, after: int = 0) -> Numbered | None:
        """The last entry of a series when its number is higher than `after`, else None."""
        ...

    async def forget(self, series: str, *, before: int) -> None:
        """Drop the entries of a series with lower numbers. Numbers go on from where they were."""
        ...

    async def notes(self, places: Sequence[tuple[int, str]]) -> list[frozenset[str]]:
        """The words noted under each (partition, name), in order; none where nothing is, or its time is over."""
        ...

    async def note(self, notes: Sequence[Note]) -> None:
        """Add words."""
        ...

    async def blocks(self, partitions: Sequence[int]) -> list[dict[str, Block]]:
        """Each partition's blocks by budget, once reservations whose time is over are back in them."""
        ...

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Block]:
        """The blocks after their deliveries, in order. Repeating a delivery of granted units changes nothing."""
        ...

    async def claim(self, claims: Sequence[Claim]) -> list[Grant]:
        """Settle what came back and grant what is wanted while the limit allows, from each budget's counter, in order.

        A partition that has not received all of its last grant is told the same total again and gets nothing new. What
        is granted is guided by what is left, 1 / (2 x partitions) of it, so that little is stranded at the end.
        """
        ...

    async def counters(self, budgets: Sequence[str]) -> list[Counter]:
        """The counters of budgets, in order; empty ones where nothing was ever claimed."""
        ...

    async def drop_blocks(self, partition: int, budgets: Sequence[str]) -> None:
        """Forget a partition's blocks of budgets that nobody will ask for again."""
        ...

    async def own(self, resource: str, owner: str, *, ttl_ms: int) -> bool:
        """Take or renew a named lease on a job, for example `worker`; False while another owner holds it."""
        ...

    async def put(self, kind: str, name: str, value: bytes) -> None:
        """Write a registry entry: kind `strategy`, name its version; kind `current`, name `strategy` is the pointer."""
        ...

    async def get(self, kind: str, name: str) -> bytes | None:
        """Read a registry entry."""
        ...

    async def names(self, kind: str) -> list[str]:
        """Names of a registry's entries, sorted."""
        ...

    async def remove(self, kind: str, name: str) -> bool:
        """Delete a registry entry; False when there was none."""
        ...

    async def ping(self) -> None:
        """Return when the store answers, else raise."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
