"""Redis store: customers, logs and registries on Redis or Valkey, one server or a cluster.

Implements protocol.py. A customer is one hash with the fields p (profile) and s (state), as packing.py makes them, and
v (state version). It, its once-keys and its partition's log carry the partition as hash tag, `{p017}`, and so share a
cluster slot: one script reads or commits them. keyspace.py names the keys, wire.py carries the commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from redis.exceptions import NoScriptError, ResponseError

from decisioning.customer import EXHAUSTED, PARTITION_COUNT, Snapshot, partition_of
from decisioning.errors import StoreUnavailable
from decisioning.store import keyspace
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.keyspace import Keys
from decisioning.store.link import Argument, Command, Reply
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
    Record,
    Repeated,
)
from decisioning.store.scripts import BLOCKS, CLAIM, COMMIT, DELIVER, ERASE, LOG_SIZE, OWN, READ, Script
from decisioning.store.wire import Wire

SEARCH_FIRST, SEARCH_MAX = 4, 256  # log entries in a round trip for a record: mostly the first few have it
TRIM_AT_ONCE = 200  # log entries in one step; a thousand take milliseconds, and the worker trims 16 partitions at once
LEDGER = ("in", "out", "held", "over")  # a block's other counts, as Block has them
RELEASED_MAX = 1_000  # reservations that end in one step: a millisecond of the server's time

Arguments = tuple[Argument, ...]


def connect(url: str, *, deadline_ms: int = 1_000) -> RedisStore:
    """A store on the server or cluster at this URL; connects at its first use, so a service can start before its store.

    url          redis://, rediss:// or unix:// as redis-py reads them, or redis+cluster://host:port,host:port of some
                 nodes; a server that belongs to a cluster is also recognised without the +cluster
    deadline_ms  bound for every call, waiting and connecting included
    The store belongs to the event loop that uses it first.
    """
    return RedisStore(Wire(url, deadline_ms=deadline_ms))


class RedisStore:
    """See protocol.Store."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def read(self, customer_keys: Sequence[str], *, quotas: bool = False) -> list[Snapshot]:
        replies = await self._run(READ, [(keyspace.to_read(key, quotas=quotas), ()) for key in customer_keys])
        return [_snapshot(key, *reply) for key, reply in zip(customer_keys, replies, strict=True)]

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        replies = await self._run(
            COMMIT, [(keyspace.to_commit(change), _commit_arguments(change)) for change in changes]
        )
        return [_outcome(change, *reply) for change, reply in zip(changes, replies, strict=True)]

    async def erase(self, customer_key: str) -> bool:
        keys = keyspace.customer(customer_key), keyspace.people(partition_of(customer_key))
        [reply] = await self._run(ERASE, [(keys, ())])
        return bool(reply)

    async def log(self, partition: int, *, after: str, limit: int) -> list[LogEntry]:
        entries = await self._ask("XRANGE", keyspace.log(partition), b"(" + after.encode(), b"+", b"COUNT", limit)
        return [_log_entry(*entry) for entry in entries]

    async def customers_of(self, partition: int, person_keys: Sequence[str]) -> list[str | None]:
        if not person_keys:
            return []
        found = await self._ask("HMGET", keyspace.people(partition), *(each.encode() for each in person_keys))
        return [None if each is None else each.decode() for each in found]

    async def find_record(self, decision_id: str) -> bytes | None:
        where = whereabouts_of(decision_id)
        if where is None:
            return None
        key, start, end = keyspace.log(where.partition), b"%d-0" % where.from_ms, b"%d" % where.until_ms
        size = SEARCH_FIRST
        while page := await self._ask("XRANGE", key, start, end, b"COUNT", size):
            for position, (_, record_id, _, body) in page:
                if record_id == decision_id.encode():
                    return bytes(body)
                start = b"(" + position
            size = min(4 * size, SEARCH_MAX)
        return None

    async def log_size(self, partition: int) -> LogSize:
        [(size, oldest)] = await self._run(LOG_SIZE, [((keyspace.log(partition),), ())])
        return LogSize(int(size), None if oldest is None else oldest.decode())

    async def trim(self, partition: int, *, before: str) -> None:
        log = keyspace.log(partition), b"MINID"
        while await self._ask("XTRIM", *log, b"~", before.encode(), b"LIMIT", TRIM_AT_ONCE) > TRIM_AT_ONCE // 2:
            pass  # a load's records come of age together, and others want to be served between
        await self._ask("XTRIM", *log, b"=", before.encode())  # what shares a node with what stays

    async def append(self, series: str, number: int, body: bytes) -> bool:
        [reply] = await self._wire.exchange([("XADD", keyspace.series(series), b"%d-0" % number, b"b", body)])
        if isinstance(reply, ResponseError) and "equal or smaller" in str(reply):
            return False
        _accepted([reply])
        return True

    async def entries(self, series: str, *, after: int, limit: int) -> list[Numbered]:
        found = await self._ask("XRANGE", keyspace.series(series), b"(%d-0" % after, b"+", b"COUNT", limit)
        return [_numbered(*entry) for entry in found]

    async def latest(self, series: str, *, after: int = 0) -> Numbered | None:
        found = await self._ask("XREVRANGE", keyspace.series(series), b"+", b"(%d-0" % after, b"COUNT", 1)
        return _numbered(*found[0]) if found else None

    async def forget(self, series: str, *, before: int) -> None:
        await self._ask("XTRIM", keyspace.series(series), b"MINID", b"=", b"%d-0" % max(before, 0))

    async def notes(self, places: Sequence[tuple[int, str]]) -> list[frozenset[str]]:
        replies = _accepted(await self._wire.exchange([("SMEMBERS", keyspace.note(*place)) for place in places]))
        return [frozenset(word.decode() for word in words) for words in replies]

    async def note(self, notes: Sequence[Note]) -> None:
        commands: list[Command] = []
        for each in notes:
            key = keyspace.note(each.partition, each.name)
            arguments: Arguments = (key, *(word.encode() for word in sorted(each.words)))
            commands += [("SADD", *arguments), ("EXPIRE", key, each.ttl_s)]
        _accepted(await self._wire.exchange(commands))

    async def blocks(self, partitions: Sequence[int]) -> list[dict[str, Block]]:
        keys = [(keyspace.blocks(each), keyspace.ledger(each), keyspace.reservations(each)) for each in partitions]
        replies = await self._run(BLOCKS, [(each, (RELEASED_MAX,)) for each in keys])
        return [_blocks_of(_counts(blocks), _counts(ledger)) for blocks, ledger in replies]

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Block]:
        calls: list[tuple[Keys, Arguments]] = [
            (
                (keyspace.blocks(each.partition), keyspace.ledger(each.partition)),
                (each.budget.encode(), each.granted, each.give_back, int(each.is_exhausted)),
            )
            for each in deliveries
        ]
        return [Block(*(int(count or 0) for count in reply)) for reply in await self._run(DELIVER, calls)]

    async def claim(self, claims: Sequence[Claim]) -> list[Grant]:
        calls: list[tuple[Keys, Arguments]] = [
            (
                (keyspace.counter(each.budget),),
                (
                    each.partition,
                    b"" if each.received is None else each.received,
                    each.returned,
                    each.limit,
                    each.wanted,
                    each.least,
                    2 * PARTITION_COUNT,
                    each.ttl_s,
                ),
            )
            for each in claims
        ]
        return [Grant(total, left) for total, left in await self._run(CLAIM, calls)]

    async def counters(self, budgets: Sequence[str]) -> list[Counter]:
        replies = _accepted(await self._wire.exchange([("HGETALL", keyspace.counter(each)) for each in budgets]))
        return [_counter_of(_counts(reply)) for reply in replies]

    async def drop_blocks(self, partition: int, budgets: Sequence[str]) -> None:
        if budgets:
            quotas: Arguments = tuple(field.encode() for each in budgets for field in (each, EXHAUSTED + each))
            entries: Arguments = tuple(f"{name} {each}".encode() for each in budgets for name in LEDGER)
            await self._ask("HDEL", keyspace.blocks(partition), *quotas)
            await self._ask("HDEL", keyspace.ledger(partition), *entries)

    async def own(self, resource: str, owner: str, *, ttl_ms: int) -> bool:
        [reply] = await self._run(OWN, [((keyspace.owner(resource),), (owner.encode(), ttl_ms))])
        return bool(reply)

    async def put(self, kind: str, name: str, value: bytes) -> None:
        await self._ask("HSET", keyspace.registry(kind), name.encode(), value)

    async def get(self, kind: str, name: str) -> bytes | None:
        value: bytes | None = await self._ask("HGET", keyspace.registry(kind), name.encode())
        return value

    async def names(self, kind: str) -> list[str]:
        return sorted(name.decode() for name in await self._ask("HKEYS", keyspace.registry(kind)))

    async def remove(self, kind: str, name: str) -> bool:
        return bool(await self._ask("HDEL", keyspace.registry(kind), name.encode()))

    async def ping(self) -> None:
        # PING has no key: a cluster client would not know whom to ask
        await self._ask("EXISTS", keyspace.registry("current"))

    async def close(self) -> None:
        await self._wire.close()

    async def _ask(self, verb: str, *arguments: Argument) -> Reply:
        [reply] = _accepted(await self._wire.exchange([(verb, *arguments)]))
        return reply

    async def _run(self, script: Script, calls: Sequence[tuple[Keys, Arguments]]) -> list[Reply]:
        """Replies of the script to each call of (keys, arguments), in one round trip.

        The script is called by its digest. A server that was restarted or has just joined does not know it and has done
        nothing: those calls go again with the text, which makes that server remember.
        """
        replies = await self._wire.exchange([_command("EVALSHA", script.digest, *call) for call in calls])
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._wire.exchange([_command("EVAL", script.text, *calls[index]) for index in unknown])
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return _accepted(replies)


def _accepted(replies: list[Reply]) -> list[Reply]:
    """The replies, when none is a refusal, such as: out of memory, a replica, a cluster slot that nobody serves."""
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise StoreUnavailable(f"the store refused a command: {reply}")
    return replies


def _command(verb: str, script: bytes, keys: Keys, arguments: Arguments) -> Command:
    rest: Arguments = (script, len(keys), *keys, *arguments)
    return (verb, *rest)


def _commit_arguments(change: Change) -> Arguments:
    arguments: list[Argument] = [
        change.expected_version,
        b"" if change.state is None else pack(change.state),
        b"" if change.profile is None else pack(change.profile),
        change.customer_key.encode(),
        len(change.records),
    ]
    for record in change.records:
        arguments += (record.record_id.encode(), record.body)
    for once in change.once:
        arguments += (once.value.encode(), once.ttl_s)
    for each in change.movements:
        arguments += (each.kind.encode(), each.budget.encode(), each.units, _reserved(each), each.until_ms)
    return tuple(arguments)


def _reserved(movement: Movement) -> bytes:
    """The name of a reservation, from which BLOCKS reads what to release."""
    return f"{movement.units} {movement.budget} {movement.reservation}".encode()


def _outcome(change: Change, verdict: bytes, *rest: Reply) -> Outcome:
    if verdict == b"committed":
        return Committed(int(rest[0]))
    if verdict == b"lost":
        return Lost(_snapshot(change.customer_key, *rest))
    return Repeated([None if value is None else value.decode() for value in rest])


def _snapshot(
    customer_key: str,
    seconds: bytes,
    microseconds: bytes,
    version: bytes | None,
    state: bytes | None,
    profile: bytes | None,
    quotas: Reply = None,
) -> Snapshot:
    return Snapshot(
        customer_key=customer_key,
        now_ms=int(seconds) * 1000 + int(microseconds) // 1000,
        state_version=0 if version is None else int(version),
        profile=None if profile is None else unpack_profile(profile),
        state=fresh_state() if state is None else unpack_state(state),
        quotas=_counts(quotas) if quotas else {},
    )


def _counts(reply: Reply) -> dict[str, int]:
    """A hash of numbers, as scripts reply it (field and value in turn) or a command of its own (a mapping)."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {field.decode(): int(value) for field, value in pairs}


def _blocks_of(at_hand: Mapping[str, int], ledger: Mapping[str, int]) -> dict[str, Block]:
    budgets = {field for field in at_hand if not field.startswith(EXHAUSTED)}
    budgets |= {field.partition(" ")[2] for field in ledger}
    return {
        budget: Block(at_hand.get(budget, 0), *(ledger.get(f"{name} {budget}", 0) for name in LEDGER))
        for budget in budgets
    }


def _counter_of(fields: Mapping[str, int]) -> Counter:
    granted, returned = (
        {int(field[1:]): count for field, count in fields.items() if field[0] == kind and field[1:].isdigit()}
        for kind in "gr"
    )
    return Counter(fields.get("out", 0), granted, returned, fields.get("empty", 0))


def _log_entry(position: bytes, fields: Iterable[bytes]) -> LogEntry:
    _, record_id, _, body = fields
    return LogEntry(position.decode(), Record(record_id.decode(), body))


def _numbered(position: bytes, fields: Sequence[bytes]) -> Numbered:
    return Numbered(int(position.partition(b"-")[0]), fields[1])
