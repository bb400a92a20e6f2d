"""What the deciding core asks of a store: a handful of verbs of the business.

Two stores speak it, `memory.py` (the slow obvious twin) and `redis.py`; one contract suite runs against both. A
customer is one compare-and-set cell: callers read a snapshot, compute the next state in Python and commit it with
everything that must happen with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

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
    body: bytes  # canonical JSON


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


@dataclass(slots=True)
class Committed:
    """The change holds; `state_version` is the customer's new version, higher than all before, erasure or not."""

    state_version: int


@dataclass(slots=True)
class Lost:
    """Somebody else changed the customer first; nothing of the change was applied, `snapshot` is the new truth."""

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


class Store(Protocol):
    """All methods raise `StoreUnavailable` when the server does not answer within the deadline given at construction.

    A write that raises it may have happened nevertheless: who repeats a commit reads first, or relies on a once-key.
    """

    async def read(self, customer_keys: Sequence[str]) -> list[Snapshot]:
        """One snapshot per key, in order, each read atomically, in one round trip.

        Unknown customers get a fresh State, which is not saved: the next read makes another.
        """
        ...

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """Apply each change atomically (not all of them together), in one round trip; outcomes in order."""
        ...

    async def once(self, customer_key: str, key: str) -> str | None:
        """The value the first holder of a once-key left, or None."""
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
