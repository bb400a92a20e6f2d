"""Lanes: commands of concurrent tasks share round trips on a few connections to one server.

Below wire.py and cluster.py, above redis-py, which knows the protocol. redis-py's own client costs 80 to 130 µs per
command; its connection used directly 40 to 55, and 5 to 10 when sixteen commands travel together. A lane is one
connection with one batch under way; while all lanes are busy, new commands wait and travel together.

Nothing is sent twice: a command whose reply was lost may have run, and only the caller knows whether that matters.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import pack_command
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from decisioning.errors import StoreUnavailable

LANE_COUNT = 4  # a server runs one command at a time, so more lanes only make smaller batches
BATCH_COMMANDS = 256  # a batch takes no further call from here on: a few milliseconds of work for the server
_NO_RETRY = Retry(NoBackoff(), 0)

Argument = bytes | int
Command = tuple[str, *tuple[Argument, ...]]
Reply = Any  # bytes, int, None, lists of them, or a ResponseError: the server refused this one command


@dataclass(slots=True, eq=False)
class _Call:
    """Commands of one caller, and where it waits for the replies; cancelled once it has given up."""

    commands: Sequence[Command]
    replies: asyncio.Future[list[Reply]]


class Lanes:
    """Bound to the event loop of its first call."""

    def __init__(self, url: str, *, deadline_s: float) -> None:
        """deadline_s bounds a batch, connecting included; how long a caller waits for its turn is the caller's."""
        self._url = url
        self._deadline_s = deadline_s
        self._waiting: deque[_Call] = deque()
        self._idle: list[_Link | None] = [None] * LANE_COUNT  # None: not connected yet, or no more
        self._gathering = False  # a lane has been woken and will take what arrives until it runs
        self._running: set[asyncio.Task[None]] = set()  # keeps running lanes from being collected

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one round trip, one after the other on one connection; replies in order.

        Raises StoreUnavailable when the connection breaks. A caller who gives up before its turn has sent nothing.
        """
        call = _Call(commands, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        self._wake_lane()
        return await call.replies

    async def close(self) -> None:
        """Give the connections back; calls under way or waiting fail as unavailable."""
        _fail(self._waiting, "the store was closed")
        self._waiting.clear()
        for lane in tuple(self._running):
            lane.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for link in filter(None, self._idle):
            await link.close()
        self._idle = [None] * LANE_COUNT
        self._gathering = False

    def _wake_lane(self) -> None:
        if self._idle and not self._gathering:
            self._gathering = True
            lane = asyncio.get_running_loop().create_task(self._run_lane(self._idle.pop()))
            self._running.add(lane)
            lane.add_done_callback(self._running.discard)

    async def _run_lane(self, link: _Link | None) -> None:
        self._gathering = False
        batch = self._take_batch()
        sound: _Link | None = None  # the link, once all replies are read; else it would give them to the wrong callers
        try:
            async with asyncio.timeout(self._deadline_s):
                link = link or _Link(self._url)
                replies = await link.exchange([command for call in batch for command in call.commands])
            sound = link
            _hand_out(replies, batch)
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            _fail(batch, f"the store is not available: {type(error).__name__}: {error}")
        finally:
            _fail(batch, f"the call was given up: {sys.exception()!r}")
            self._idle.append(sound)
            if self._waiting:
                self._wake_lane()
            if link and not sound:
                await link.close()

    def _take_batch(self) -> list[_Call]:
        batch: list[_Call] = []
        command_count = 0
        while self._waiting and command_count < BATCH_COMMANDS:
            call = self._waiting.popleft()
            if not call.replies.done():
                batch.append(call)
                command_count += len(call.commands)
        return batch


def _hand_out(replies: list[Reply], batch: list[_Call]) -> None:
    start = 0
    for call in batch:
        end = start + len(call.commands)
        if not call.replies.done():
            call.replies.set_result(replies[start:end])
        start = end


def _fail(calls: Iterable[_Call], reason: str) -> None:
    for call in calls:
        if not call.replies.done():
            call.replies.set_exception(StoreUnavailable(reason))


class _Link:
    """One connection. After an exception (RedisError, OSError, cancellation) it can only be closed."""

    def __init__(self, url: str) -> None:
        # The pool only reads the URL for us. Deadlines are the lane's, redis-py's own time-outs are off.
        pool = ConnectionPool.from_url(url, socket_timeout=None, retry=_NO_RETRY)
        self._connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
        self._is_outdated = False

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        connection = self._connection
        if connection.is_connected and (self._is_outdated or await connection.can_read()):
            await connection.disconnect(nowait=True)  # what can be read is the end: the server was restarted meanwhile
        self._is_outdated = False
        await connection.send_packed_command(b"".join(map(_packed, commands)), check_health=False)
        return [await self._reply() for _ in commands]

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response()
        except ReadOnlyError as error:
            self._is_outdated = True  # this server became a replica; the name may lead to the new primary by now
            return error
        except ResponseError as error:
            return error


def _packed(command: Command) -> bytes:
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # the stub asks for a tuple of one
    return packed
