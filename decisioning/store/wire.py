"""Wire: commands of concurrent tasks share round trips on a few connections.

Between redis.py, which knows keys and scripts, and redis-py, which knows the protocol. redis-py's own client costs 80
to 130 µs per command; its connection used directly 40 to 55, and 5 to 10 when sixteen commands travel together. A lane
is one connection with one batch under way; while all lanes are busy, new commands wait and travel together.

Nothing is sent twice: a command whose reply was lost may have run, and only the caller knows whether that matters.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hiredis import pack_command
from redis.asyncio import ConnectionPool, RedisCluster
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from decisioning.errors import StoreUnavailable

LANE_COUNT = 4  # a server runs one command at a time, so more lanes only make smaller batches
BATCH_COMMANDS = 256  # a batch takes no further call from here on: a few milliseconds of work for the server
_NO_RETRY = Retry(NoBackoff(), 0)

Argument = bytes | int
Command = tuple[str, *tuple[Argument, ...]]
Reply = Any  # bytes, int, None, lists of them, or a ResponseError: the server refused this one command


class Link(Protocol):
    """A way to the server: one connection, or a cluster client."""

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Replies in order. After an exception (RedisError, OSError, cancellation) the link can only be closed."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Call:
    """Commands of one caller, and where it waits for the replies; cancelled once it has given up."""

    commands: Sequence[Command]
    replies: asyncio.Future[list[Reply]]


class Wire:
    """Bound to the event loop of its first call."""

    def __init__(self, url: str, *, deadline_ms: int) -> None:
        parse_url(_plain(url))  # raises ValueError now instead of at the first call
        self._url = url
        self._deadline_s = deadline_ms / 1000
        self._waiting: deque[_Call] = deque()
        self._idle: list[Link | None] = [None] * LANE_COUNT  # None: not connected yet, or no more
        self._gathering = False  # a lane has been woken and will take what arrives until it runs
        self._lanes: set[asyncio.Task[None]] = set()  # keeps running lanes from being collected

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one round trip, together with those of other callers; replies in order.

        Raises StoreUnavailable after the deadline or when the connection breaks. A caller who gives up before its turn
        has sent nothing.
        """
        call = _Call(commands, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        self._wake_lane()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await call.replies
        except TimeoutError:
            raise StoreUnavailable(f"the store did not answer within {self._deadline_s * 1000:.0f} ms") from None

    async def close(self) -> None:
        """Give the connections back; calls under way or waiting fail as unavailable."""
        _fail(self._waiting, "the store was closed")
        self._waiting.clear()
        for lane in tuple(self._lanes):
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        for link in filter(None, self._idle):
            await link.close()
        self._idle = [None] * LANE_COUNT
        self._gathering = False

    def _wake_lane(self) -> None:
        if self._idle and not self._gathering:
            self._gathering = True
            lane = asyncio.get_running_loop().create_task(self._run_lane(self._idle.pop()))
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)

    async def _run_lane(self, link: Link | None) -> None:
        self._gathering = False
        batch = self._take_batch()
        sound: Link | None = None  # the link, once all replies are read; else it would give them to the wrong callers
        try:
            async with asyncio.timeout(self._deadline_s):
                link = link or await _open_link(self._url)
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


async def _open_link(url: str) -> Link:
    """The link that fits the server: `redis+cluster://` names a cluster, and a server that is part of one says so."""
    if url != _plain(url):
        return _ClusterLink(_plain(url))
    link = _ServerLink(url)
    if url.startswith("unix:") or not await link.is_in_cluster():  # cluster nodes name each other by host and port
        return link
    await link.close()
    return _ClusterLink(url)


def _plain(url: str) -> str:
    return url.replace("+cluster://", "://", 1)


class _ServerLink:
    def __init__(self, url: str) -> None:
        # The pool only reads the URL for us. The wire's deadline bounds everything, redis-py's own time-outs are off.
        pool = ConnectionPool.from_url(url, socket_timeout=None, retry=_NO_RETRY)
        self._connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        connection = self._connection
        if connection.is_connected and await connection.can_read():  # at its end: the server was restarted meanwhile
            await connection.disconnect(nowait=True)
        await connection.send_packed_command(b"".join(map(_packed, commands)), check_health=False)
        return [await self._reply() for _ in commands]

    async def is_in_cluster(self) -> bool:
        [info] = await self.exchange([("INFO", b"cluster")])
        return isinstance(info, bytes) and b"cluster_enabled:1" in info

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


class _ClusterLink:
    def __init__(self, url: str) -> None:
        self._client = RedisCluster.from_url(url, retry=_NO_RETRY)
        for verb in ("XRANGE", "XREVRANGE", "SMEMBERS"):
            self._client.set_response_callback(verb, _undressed)

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        pipeline = self._client.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
        replies = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                raise reply
        return list(replies)

    async def close(self) -> None:
        await self._client.aclose()


def _packed(command: Command) -> bytes:
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # the stub asks for a tuple of one
    return packed


def _undressed(response: Reply, **_: Any) -> Reply:
    """The server's own form of a reply, which redis-py's cluster client would turn into pairs and dictionaries."""
    return response
