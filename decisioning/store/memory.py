"""Memory store: the slow, obvious twin of redis.py, for tests, simulation and persona checks.

Implements protocol.py in one process and one event loop. It keeps packed bytes as the real store does, so that nobody
shares an object with it by accident and nothing passes here that would not survive being stored.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from decisioning.customer import Snapshot, partition_of
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.packing import fresh_state, pack, unpack_profile, unpack_state
from decisioning.store.protocol import Change, Committed, LogEntry, Lost, Note, Numbered, Outcome, Repeated


@dataclass(slots=True)
class _Cell:
    version: int
    state: bytes
    profile: bytes | None


@dataclass(slots=True)
class _Expiring:
    value: str
    until_ms: int


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class MemoryStore:
    """See protocol.Store. `clock` gives milliseconds since the epoch."""

    def __init__(self, clock: Callable[[], int] = _wall_clock_ms) -> None:
        self._clock = clock
        self._cells: dict[str, _Cell] = {}
        self._version = 0  # of the last commit to anybody: a customer who was erased and comes back gets a new one
        self._once: dict[tuple[str, str], _Expiring] = {}
        self._owners: dict[str, _Expiring] = {}
        self._logs: defaultdict[int, list[LogEntry]] = defaultdict(list)
        self._ends: defaultdict[int, str] = defaultdict(lambda: "0-0")  # the last position given in each log
        self._people: dict[tuple[int, str], str] = {}  # customers by partition and person key
        self._series: defaultdict[str, list[Numbered]] = defaultdict(list)
        self._heads: defaultdict[str, int] = defaultdict(int)  # the last number given in each series
        self._notes: dict[tuple[int, str], tuple[frozenset[str], int]] = {}  # words, and until when
        self._registries: defaultdict[str, dict[str, bytes]] = defaultdict(dict)

    async def read(self, customer_keys: Sequence[str]) -> list[Snapshot]:
        return [self._snapshot(key) for key in customer_keys]

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        return [self._commit(change) for change in changes]

    async def once(self, customer_key: str, key: str) -> str | None:
        return self._live(self._once.get((customer_key, key)))

    async def erase(self, customer_key: str) -> bool:
        cell = self._cells.pop(customer_key, None)
        if cell is not None:
            self._people.pop((partition_of(customer_key), unpack_state(cell.state).person_key), None)
        return cell is not None

    async def log(self, partition: int, *, after: str, limit: int) -> list[LogEntry]:
        return [entry for entry in self._logs[partition] if _order(entry.position) > _order(after)][:limit]

    async def customers_of(self, partition: int, person_keys: Sequence[str]) -> list[str | None]:
        return [self._people.get((partition, each)) for each in person_keys]

    async def find_record(self, decision_id: str) -> bytes | None:
        where = whereabouts_of(decision_id)
        if where is None:
            return None
        for entry in self._logs[where.partition]:
            if entry.record.record_id == decision_id and where.from_ms <= _order(entry.position)[0] <= where.until_ms:
                return entry.record.body
        return None

    async def trim(self, partition: int, *, before: str) -> None:
        self._logs[partition] = [entry for entry in self._logs[partition] if _order(entry.position) >= _order(before)]

    async def append(self, series: str, number: int, body: bytes) -> bool:
        if number <= self._heads[series]:
            return False
        self._heads[series] = number
        self._series[series].append(Numbered(number, body))
        return True

    async def entries(self, series: str, *, after: int, limit: int) -> list[Numbered]:
        return [entry for entry in self._series[series] if entry.number > after][:limit]

    async def latest(self, series: str, *, after: int = 0) -> Numbered | None:
        return next((entry for entry in reversed(self._series[series]) if entry.number > after), None)

    async def forget(self, series: str, *, before: int) -> None:
        self._series[series] = [entry for entry in self._series[series] if entry.number >= before]

    async def notes(self, places: Sequence[tuple[int, str]]) -> list[frozenset[str]]:
        found = [self._notes.get(place, (frozenset(), 0)) for place in places]
        return [words if until_ms > self._clock() else frozenset() for words, until_ms in found]

    async def note(self, notes: Sequence[Note]) -> None:
        for each in notes:
            place = each.partition, each.name
            [known] = await self.notes([place])
            self._notes[place] = known | each.words, self._clock() + each.ttl_s * 1000

    async def own(self, resource: str, owner: str, *, ttl_ms: int) -> bool:
        holder = self._live(self._owners.get(resource))
        if holder not in (None, owner):
            return False
        self._owners[resource] = _Expiring(owner, self._clock() + ttl_ms)
        return True

    async def put(self, kind: str, name: str, value: bytes) -> None:
        self._registries[kind][name] = value

    async def get(self, kind: str, name: str) -> bytes | None:
        return self._registries[kind].get(name)

    async def names(self, kind: str) -> list[str]:
        return sorted(self._registries[kind])

    async def remove(self, kind: str, name: str) -> bool:
        return self._registries[kind].pop(name, None) is not None

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return

    def _snapshot(self, customer_key: str) -> Snapshot:
        now_ms, cell = self._clock(), self._cells.get(customer_key)
        if cell is None:
            return Snapshot(customer_key, now_ms, state_version=0, profile=None, state=fresh_state())
        profile = None if cell.profile is None else unpack_profile(cell.profile)
        return Snapshot(customer_key, now_ms, cell.version, profile, unpack_state(cell.state))

    def _commit(self, change: Change) -> Outcome:
        taken = [self._live(self._once.get((change.customer_key, once.key))) for once in change.once]
        if any(value is not None for value in taken):
            return Repeated(taken)
        cell = self._cells.get(change.customer_key)
        if change.expected_version != (cell.version if cell else 0):
            return Lost(self._snapshot(change.customer_key))
        self._apply(change, cell)
        return Committed(self._cells[change.customer_key].version)

    def _apply(self, change: Change, cell: _Cell | None) -> None:
        partition = partition_of(change.customer_key)
        if change.state is not None:
            kept_profile = cell.profile if cell else None
            profile = kept_profile if change.profile is None else pack(change.profile)
            self._version += 1
            self._cells[change.customer_key] = _Cell(self._version, pack(change.state), profile)
            if change.records:
                self._people.setdefault((partition, change.state.person_key), change.customer_key)
        for once in change.once:
            self._once[change.customer_key, once.key] = _Expiring(once.value, self._clock() + once.ttl_s * 1000)
        for record in change.records:
            self._logs[partition].append(LogEntry(self._next_position(partition), record))

    def _next_position(self, partition: int) -> str:
        """As Redis counts: the clock and a sequence number, never going back, not even after a trim to nothing."""
        now_ms = self._clock()
        last_ms, last_sequence = _order(self._ends[partition])
        position = f"{now_ms}-0" if now_ms > last_ms else f"{last_ms}-{last_sequence + 1}"
        self._ends[partition] = position
        return position

    def _live(self, entry: _Expiring | None) -> str | None:
        return entry.value if entry and entry.until_ms > self._clock() else None


def _order(position: str) -> tuple[int, int]:
    milliseconds, _, sequence = position.partition("-")
    return int(milliseconds), int(sequence or 0)  # a time alone stands for its first position, as it does for Redis
