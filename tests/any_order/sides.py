"""Sides: the whole service on one store, under a clock and dice that the test holds.

Two sides that are given the same operations use the same ids, keys and nonces at the same milliseconds, so that what
they answer and store can be compared to the last byte. Everything else is the product's own: HTTP application, packing,
and on a real server the very scripts, which ask the test's clock where they would ask the server's.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from itertools import chain, repeat
from typing import Any, Self
from unittest.mock import patch

import orjson
import redis

import api.decide
import api.email.asking
import api.email.following
import api.respond
import api.restocker
import api.taking
from api.deployed import Deployed
from api.email.pace import Followed, Pace
from api.email.pictures import Drawing
from api.live import Live
from api.restocker import Restocker
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Snapshot, partition_of
from decisioning.errors import StoreUnavailable
from decisioning.records import Versions
from decisioning.request import Decision, Request
from decisioning.restocking import Place, Upkeep, restock
from decisioning.scoring import StatedScorer
from decisioning.store import scripts
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import LogEntry
from decisioning.store.redis import RedisStore
from decisioning.store.scripts import Script
from decisioning.store.wire import Command, Reply, Wire
from decisioning.volume import budgets_of
from tests.any_order.town import PROPENSITIES, VARIANTS
from tests.api.desk import Desk
from tests.conftest import PATIENCE_MS

START_MS = 1_790_000_000_000
SCRIPTS = {each.digest: each for each in vars(scripts).values() if isinstance(each, Script)}
LANE: ContextVar[int] = ContextVar("LANE")

Operation = Callable[["Side"], Awaitable[Any]]


class Clock:
    """Milliseconds that pass only when the test or a call of the store lets them."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


class Turns:
    """Lets operations that run side by side go on one store call at a time, in a given order."""

    def __init__(self) -> None:
        self._parked: dict[int, list[asyncio.Future[None]]] | None = None  # by lane; None: nobody waits for a turn

    async def wait(self) -> None:
        """Called before each call of the store."""
        if self._parked is not None:
            turn = asyncio.get_running_loop().create_future()
            self._parked.setdefault(LANE.get(), []).append(turn)
            await turn

    async def interleaved(self, operations: Sequence[Awaitable[Any]], order: Iterable[int]) -> list[Any]:
        """What the operations return; order says who goes on next, and whoever is left goes on when it is used up."""
        self._parked = {}
        tasks = [asyncio.create_task(self._in_lane(lane, each)) for lane, each in enumerate(operations)]
        for lane, task in enumerate(tasks):
            await self._settled(lane, task)
        for pick in chain(order, repeat(0)):
            running = [lane for lane, task in enumerate(tasks) if not task.done()]
            if not running:
                break
            lane = running[pick % len(running)]
            for turn in self._parked.pop(lane):  # an operation may ask two things at once
                turn.set_result(None)
            await self._settled(lane, tasks[lane])
        self._parked = None
        return [task.result() for task in tasks]

    async def _in_lane(self, lane: int, operation: Awaitable[Any]) -> Any:
        LANE.set(lane)
        return await operation

    async def _settled(self, lane: int, task: asyncio.Task[Any]) -> None:
        """Wait until this operation stands before its next call of the store, or has ended."""
        assert self._parked is not None
        while not task.done() and lane not in self._parked:
            await asyncio.sleep(0)


class PatientRestocker(Restocker):
    """Restocks between two steps, one block after the other, so that both sides do it in the same order."""

    def __init__(self, store: Any, live: Live) -> None:
        super().__init__(store, live)
        self._noticed: list[tuple[Any, ...]] = []

    def notice(self, request: Request, snapshot: Snapshot, decision: Decision, strategy: Strategy) -> None:
        self._noticed.append((request, snapshot, decision, strategy))

    async def settle(self) -> None:
        """Restock what was found low since the last time."""
        for each in self._noticed:
            super().notice(*each)
            await asyncio.gather(*self._tasks)
        self._noticed.clear()


class ToldStudio:
    """Pictures that say in letters what they show."""

    is_full = False

    async def draw(self, placement: Any, content: Mapping[str, Any], **how: Any) -> Drawing:
        return Drawing(content["headline"].encode(), "image/png", ())

    def quiet(self, placement: str, **how: Any) -> Drawing:
        return Drawing(b"quiet", "image/png", ())

    def fallback(self, placement: str, **how: Any) -> Drawing:
        return Drawing(b"fallback", "image/png", ())


class KeptEntries:
    """The journal's entries as they come out of its files, which tests/email/test_journal.py is about."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Any]] = []

    async def take(self, sealer: Any, kind: str, fields: Mapping[str, Any]) -> None:
        self.entries.append((kind, orjson.loads(orjson.dumps(fields))))


class TimedStore:
    """A store each of whose calls takes its turn and a millisecond."""

    def __init__(self, store: MemoryStore | RedisStore, clock: Clock, turns: Turns) -> None:
        self.store = store
        self._clock = clock
        self._turns = turns
        self.is_down = False

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self.store, verb)

        async def in_turn(*arguments: Any, **named: Any) -> Any:
            await self._turns.wait()
            self._clock.now_ms += 1
            if self.is_down:
                raise StoreUnavailable("it is down")
            return await call(*arguments, **named)

        return in_turn


class TimedWire(Wire):
    """A wire whose scripts read the test's clock, which travels as one more argument, instead of the server's."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, deadline_ms=PATIENCE_MS)
        self._clock = clock

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        return await super().exchange([self._timed(each) for each in commands])

    def _timed(self, command: Command) -> Command:
        verb, *arguments = command
        if verb != "EVALSHA":
            return command
        digest, *rest = arguments
        return ("EVAL", timed_text(digest), *rest, b"%d" % self._clock.now_ms)


@cache
def timed_text(digest: bytes) -> bytes:
    """A script of the store that asks the test's clock."""
    text = SCRIPTS[digest].text.decode()
    head = (
        "local test_ms = table.remove(ARGV)\n"
        "local test_time = {string.sub(test_ms, 1, -4), string.sub(test_ms, -3) .. '000'}\n"
    )
    return (head + text.replace("redis.call('TIME')", "test_time").replace("'*'", "test_ms .. '-*'")).encode()


class Side:
    """One application on one store, used for one sequence after the other."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.clock = Clock()
        self.turns = Turns()
        self.store = self._store()
        self.timed: Any = TimedStore(self.store, self.clock, self.turns)
        self.desk = Desk(self.timed, VARIANTS["base"], PROPENSITIES)
        service = self.desk.service
        service.settings = replace(service.settings, deadline_ms=PATIENCE_MS)
        service.studio = ToldStudio()  # type: ignore[assignment]
        self.restart()

    def restart(self) -> None:
        """Forget everybody and everything, and begin again at the same moment."""
        self.clock.now_ms = START_MS
        if self.url is None:
            self.timed.store = self.store = self._store()
        else:
            with redis.Redis.from_url(self.url) as client:
                client.flushall()
        self.restocker = PatientRestocker(self.timed, self.desk.service.live)
        self.desk.service.restocker = self.restocker
        self.upkeep = Upkeep(self.timed)
        self.journal = KeptEntries()
        self.desk.service.journal = self.journal  # type: ignore[assignment]
        self._log_ends: dict[int, str] = {}

    def _store(self) -> MemoryStore | RedisStore:
        return MemoryStore(self.clock) if self.url is None else RedisStore(TimedWire(self.url, self.clock))

    def deploy(self, variant: str) -> None:
        """Put another strategy in force, as a publication does between two requests."""
        bank = VARIANTS[variant]
        self.desk.service.live.current = Deployed(
            bank, StatedScorer(bank, PROPENSITIES), Versions(bank.version, "stated")
        )

    async def stock_up(self, partitions: Iterable[int]) -> None:
        """Bring some of every budget into these partitions, which otherwise wait for their first decision."""
        budgets = budgets_of(self.strategy, now_ms=self.clock.now_ms)
        await restock(self.timed, [Place(partition, budget) for partition in partitions for budget in budgets])

    async def keep_up(self) -> None:
        """Let time do to budgets what a serving process does every few seconds."""
        await self.upkeep.run(self.strategy)

    @property
    def strategy(self) -> Strategy:
        """What is in force."""
        return self.desk.service.deployed().strategy

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body of one request."""
        answer = await self.desk.http.request(method, path, json=body)
        return answer.status_code, answer.json()

    async def fetch(self, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        """What a mail asks for: in words what the picture shows, and where the link leads."""
        answer = await self.desk.http.request("GET", path, headers=dict(headers))
        return answer.status_code, {"shown": answer.text, "location": answer.headers.get("location")}

    @contextmanager
    def out_of_reach(self, is_down: bool) -> Iterator[None]:
        """The store, for as long as this lasts."""
        self.timed.is_down = is_down
        yield
        self.timed.is_down = False

    def pass_time(self, passed_ms: int) -> None:
        """Let time pass: for the clock, and for what the server lets expire by itself."""
        self.clock.now_ms += passed_ms
        if self.url is None:
            return
        with redis.Redis.from_url(self.url) as client:
            for key in client.keys("*"):
                left_ms = client.pttl(key)
                if 0 <= left_ms <= passed_ms:
                    client.delete(key)
                elif left_ms > passed_ms:
                    client.pexpire(key, left_ms - passed_ms)

    async def snapshot(self, customer_key: str) -> Snapshot:
        """The customer as stored, without letting time pass."""
        (snapshot,) = await self.store.read([customer_key])
        return snapshot

    async def news(self, customer_key: str) -> list[LogEntry]:
        """What was logged in the customer's partition since the last look."""
        partition = partition_of(customer_key)
        entries = await self.store.log(partition, after=self._log_ends.get(partition, "0-0"), limit=1000)
        if entries:
            self._log_ends[partition] = entries[-1].position
        return entries

    def stored_bytes(self) -> Iterator[bytes]:
        """Every key of the server, and all that it holds."""
        assert self.url is not None
        with redis.Redis.from_url(self.url) as client:
            for key in client.keys("*"):
                yield key
                yield from flat(contents_of(client, key))

    async def close(self) -> None:
        await self.desk.http.aclose()
        await self.store.close()


def contents_of(client: redis.Redis, key: bytes) -> Any:
    """All that one key holds."""
    reads = {b"string": client.get, b"hash": client.hgetall, b"stream": client.xrange, b"set": client.smembers}
    return client.zrange(key, 0, -1) if client.type(key) == b"zset" else reads[client.type(key)](key)


def flat(value: Any) -> Iterator[bytes]:
    """The texts within a reply."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        yield from flat(list(value.items()))
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from flat(each)


class Dice:
    """All randomness of the service, the same after the same seed."""

    def __init__(self) -> None:
        self._random = random.Random(0)

    def seed(self, seed: int) -> None:
        self._random.seed(seed)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def hex(self, count: int) -> str:
        return self._random.randbytes(count).hex()


class WallClock:
    """The service's machine has the clock of the side that is at work."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __call__(self) -> int:
        return self.clock()


class Twins:
    """The two sides, their one event loop, their dice and their wall clock."""

    def __init__(self, url: str) -> None:
        self._open = ExitStack()
        self.runner = self._open.enter_context(asyncio.Runner())
        self.dice = Dice()
        self.sides = [Side(None), Side(url)]
        self.wall = WallClock(self.sides[0].clock)

    def __enter__(self) -> Self:
        self._open.enter_context(loaded(self.dice, self.wall))
        return self

    def __exit__(self, *_: object) -> None:
        for side in self.sides:
            self.runner.run(side.close())
        self._open.close()


@contextmanager
def loaded(dice: Dice, clock: WallClock) -> Iterator[None]:
    """The service throws these dice, and takes this clock for its machine's; nobody is too fast or too slow for it."""
    with (
        patch.object(Pace, "allows_address", lambda *_: True),
        patch.object(Pace, "allows_token", lambda *_: True),
        patch.object(Followed, "count", lambda *_, **named: 1),
        patch.object(api.restocker, "FETCH_S", PATIENCE_MS / 1000),
        patch.object(api.email.asking, "wall_ms", clock),
        patch.object(api.email.following, "wall_ms", clock),
        patch.object(api.taking, "wall_ms", clock),
        patch.object(secrets, "token_hex", dice.hex),
        patch.object(secrets, "token_bytes", dice.bytes),
        patch.object(os, "urandom", dice.bytes),
        patch.object(api.respond, "wall_ms", clock),
        patch.object(api.decide, "wall_ms", clock),
    ):
        yield
