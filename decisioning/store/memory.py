"""Memory store: the slow, obvious twin of redis.py, for tests, simulation and persona checks.

Implements protocol.py in one process and one event loop. It keeps packed bytes as the real store does, so that nobody
shares an object with it by accident and nothing passes here that would not survive being stored.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from decisioning.customer import EXHAUSTED, PARTITION_COUNT, Snapshot, partition_of
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.packing import fresh_state, pack, unpack_profile, unpack_state
from decisioning.store.protocol import (
    Block,
    Change,
    Claim,
    Committed,
    Counter,
    Delivery,
    Grant,
    LogEntry,
    LogSize,
    Lost,
    Movement,
    Note,
    Numbered,
    Outcome,
    Repeated,
)


@dataclass(slots=True)
class _Cell:
    version: int
    state: bytes
    profile: bytes | None


@dataclass(slots=True)
class _Expiring:
    value: str
    until_ms: int


@dataclass(slots=True)
class _Stock:
    """What one partition has of every budget."""

    quotas: dict[str, int] = field(default_factory=dict)  # units at hand, and since when a counter is known empty
    received: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    returned: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    overrun: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    reservations: dict[tuple[str, int, str], int] = field(default_factory=dict)  # budget, units, name -> end

    def block(self, budget: str) -> Block:
        reserved = sum(units for name, units, _ in self.reservations if name == budget)
        counts = self.received[budget], self.returned[budget], reserved, self.overrun[budget]
        return Block(self.quotas.get(budget, 0), *counts)

    def allows(self, movements: Sequence[Movement]) -> bool:
        needed: defaultdict[str, int] = defaultdict(int)
        for each in movements:
            if each.kind in ("spend", "reserve"):
                needed[each.budget] += each.units
            elif each.kind == "keep" and _reservation(each) not in self.reservations:
                return False
        return all(units <= self.quotas.get(budget, 0) for budget, units in needed.items())

    def move(self, each: Movement) -> None:
        if each.kind in ("spend", "reserve"):
            self.add(each.budget, -each.units)
        if each.kind == "reserve":
            self.reservations[_reservation(each)] = each.until_ms
        elif each.kind == "overrun":
            self.overrun[each.budget] += each.units
        elif each.kind != "spend" and _reservation(each) in self.reservations:
            del self.reservations[_reservation(each)]
            if each.kind == "release":
                self.add(each.budget, each.units)

    def add(self, budget: str, units: int) -> None:
        self.quotas[budget] = self.quotas.get(budget, 0) + units


def _reservation(movement: Movement) -> tuple[str, int, str]:
    return movement.budget, movement.units, movement.reservation


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
        self._stocks: defaultdict[int, _Stock] = defaultdict(_Stock)  # by partition
        self._counters: dict[str, tuple[Counter, int | None]] = {}  # by budget, and until when

    async def read(self, customer_keys: Sequence[str], *, quotas: bool = False) -> list[Snapshot]:
        return [self._snapshot(key, quotas=quotas) for key in customer_keys]

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        return [self._commit(change) for change in changes]

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

    async def log_size(self, partition: int) -> LogSize:
        log = self._logs[partition]
        return LogSize(sum(len(each.record.body) for each in log), log[0].position if log else None)

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

    async def blocks(self, partitions: Sequence[int]) -> list[dict[str, Block]]:
        for partition in partitions:
            stock = self._stocks[partition]
            for reservation, until_ms in list(stock.reservations.items()):
                if until_ms <= self._clock():
                    budget, units, _ = reservation
                    del stock.reservations[reservation]
                    stock.add(budget, units)
        return [self._blocks(self._stocks[each]) for each in partitions]

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Block]:
        return [self._deliver(each, self._stocks[each.partition]) for each in deliveries]

    async def claim(self, claims: Sequence[Claim]) -> list[Grant]:
        return [self._claim(each) for each in claims]

    async def counters(self, budgets: Sequence[str]) -> list[Counter]:
        return [self._counter(each) for each in budgets]

    async def drop_blocks(self, partition: int, budgets: Sequence[str]) -> None:
        stock = self._stocks[partition]
        for budget in budgets:
            for counts in (stock.quotas, stock.received, stock.returned, stock.overrun):
                counts.pop(budget, None)
            stock.quotas.pop(EXHAUSTED + budget, None)

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

    def _snapshot(self, customer_key: str, *, quotas: bool) -> Snapshot:
        now_ms, cell = self._clock(), self._cells.get(customer_key)
        at_hand = dict(self._stocks[partition_of(customer_key)].quotas) if quotas else {}
        if cell is None:
            return Snapshot(customer_key, now_ms, state_version=0, profile=None, state=fresh_state(), quotas=at_hand)
        profile = None if cell.profile is None else unpack_profile(cell.profile)
        return Snapshot(customer_key, now_ms, cell.version, profile, unpack_state(cell.state), at_hand)

    def _blocks(self, stock: _Stock) -> dict[str, Block]:
        names = {*stock.quotas, *stock.received, *stock.returned, *stock.overrun}
        return {name: stock.block(name) for name in names if not name.startswith(EXHAUSTED)}

    def _deliver(self, delivery: Delivery, stock: _Stock) -> Block:
        budget = delivery.budget
        arriving = delivery.granted - stock.received[budget]
        if arriving > 0:
            stock.add(budget, arriving)
            stock.received[budget] += arriving
            stock.quotas.pop(EXHAUSTED + budget, None)
        leaving = min(stock.quotas.get(budget, 0), delivery.give_back)
        if leaving > 0:
            stock.add(budget, -leaving)
            stock.returned[budget] += leaving
        if delivery.is_exhausted:
            stock.quotas[EXHAUSTED + budget] = self._clock()
        return stock.block(budget)

    def _counter(self, budget: str) -> Counter:
        counter, until_ms = self._counters.get(budget, (Counter(), None))
        return Counter() if until_ms is not None and until_ms <= self._clock() else counter

    def _claim(self, claim: Claim) -> Grant:
        counter, here = self._counter(claim.budget), claim.partition
        granted, returned = dict(counter.granted), dict(counter.returned)
        granted[here] = max(granted.get(here, 0), claim.received or 0)
        returned[here] = max(returned.get(here, 0), claim.returned)
        exhausted_ms = counter.exhausted_ms
        left = claim.limit - sum(granted.values()) + sum(returned.values())
        if claim.wanted and claim.received in (None, granted[here]):
            if left >= claim.least:
                amount = min(left, max(claim.wanted, left // (2 * PARTITION_COUNT)))
                granted[here], left = granted[here] + amount, left - amount
            else:
                exhausted_ms = self._clock()
        until_ms = self._clock() + claim.ttl_s * 1000 if claim.ttl_s else None
        granted_to, returned_by = ({at: total for at, total in each.items() if total} for each in (granted, returned))
        self._counters[claim.budget] = Counter(claim.limit - left, granted_to, returned_by, exhausted_ms), until_ms
        return Grant(granted[here], left)

    def _commit(self, change: Change) -> Outcome:
        taken = [self._live(self._once.get((change.customer_key, once.key))) for once in change.once]
        if any(value is not None for value in taken):
            return Repeated(taken)
        cell = self._cells.get(change.customer_key)
        is_stale = change.expected_version != (cell.version if cell else 0)
        if is_stale or not self._stocks[partition_of(change.customer_key)].allows(change.movements):
            return Lost(self._snapshot(change.customer_key, quotas=True))
        self._apply(change, cell)
        return Committed(self._cells[change.customer_key].version)

    def _apply(self, change: Change, cell: _Cell | None) -> None:
        partition = partition_of(change.customer_key)
        if change.state is not None:
            kept_profile = cell.profile if cell else None
            profile = kept_profile if change.profile is None else pack(change.profile)
            self._version += 1
            self._cells[change.customer_key] = _Cell(self._version, pack(change.state), profile)
        for once in change.once:
            self._once[change.customer_key, once.key] = _Expiring(once.value, self._clock() + once.ttl_s * 1000)
        if change.records:
            person_key = unpack_state(self._cells[change.customer_key].state).person_key
            self._people.setdefault((partition, person_key), change.customer_key)
        for record in change.records:
            self._logs[partition].append(LogEntry(self._next_position(partition), record))
        for movement in change.movements:
            self._stocks[partition].move(movement)

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
