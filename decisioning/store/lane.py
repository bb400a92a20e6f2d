"""Lane: commands of concurrent callers share round trips on one connection to one server.

Below wire.py and cluster.py. redis-py connects: TLS, passwords, the choice of a database. Then the lane takes over the
transport, because redis-py's way from a reply to its caller costs several times what reading the reply does. Commands
of one turn of the event loop travel together; while BATCHES_MAX batches are under way, new commands wait and join up.

Nothing is sent twice: a command whose reply was lost may have run, and only the caller knows whether that matters.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import PushNotification, Reader, pack_command
from redis._parsers import BaseParser
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ReadOnlyError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from decisioning.errors import StoreUnavailable

BATCHES_MAX = 4  # a server runs one command at a time, so more under way only make smaller batches
_INCOMPLETE = object()  # from the reader while the next reply has not come whole
_OPTIONS: dict[str, Any] = {  # deadlines are the lane's, and nobody here acts on a server's announcements
    "socket_timeout": None,
    "retry": Retry(NoBackoff(), 0),
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}

Argument = bytes | int
Command = tuple[str, *tuple[Argument, ...]]
Reply = Any  # bytes, int, None, lists of them, or a ResponseError: the server refused this one command


@dataclass(slots=True, eq=False)
class _Call:
    """Commands of one caller, and where it waits for the replies."""

    commands: Sequence[Command]
    replies: asyncio.Future[list[Reply]]  # cancelled once the caller has given up
    until_s: float
    link: _Link | None = None  # that carries it
    ends_batch: bool = False
    is_settled: bool = False  # answered or failed: what still comes is for nobody

    def answer(self, replies: list[Reply]) -> None:
        self.is_settled = True
        if not self.replies.done():
            self.replies.set_result(replies)

    def fail(self, reason: str) -> None:
        self.is_settled = True
        if not self.replies.done():
            self.replies.set_exception(StoreUnavailable(reason))


class Lane:
    """Bound to the event loop of its first call."""

    def __init__(self, url: str, *, deadline_s: float) -> None:
        """deadline_s bounds every call, its turn and connecting included."""
        self._url = url
        self._deadline_s = deadline_s
        self._open: deque[_Call] = deque()  # all calls that are not settled, and some that are; the first ends first
        self._waiting: deque[_Call] = deque()  # of these, what was not sent yet
        self._link: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_gathering = False  # until the end of this turn of the loop
        self._alarm: asyncio.TimerHandle | None = None  # one for all: it rings when the first of those open ends

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one round trip, one after the other on one connection; replies in order.

        Raises StoreUnavailable after the deadline or when the connection breaks. A caller who gives up before its turn
        has sent nothing.
        """
        if not commands:
            return []
        loop = asyncio.get_running_loop()
        call = _Call(commands, loop.create_future(), loop.time() + self._deadline_s)
        while self._open and self._open[0].is_settled:
            self._open.popleft()
        self._open.append(call)
        self._waiting.append(call)
        if self._alarm is None:
            self._alarm = loop.call_at(call.until_s, self._ring)
        self._gather()
        return await call.replies

    async def close(self) -> None:
        """Give the connection back; calls under way or waiting fail as unavailable."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        links = {self._link, *(call.link for call in self._open)}
        self._fail_waiting("the store was closed")
        for link in links:
            if link is not None:
                link.end("the store was closed")
        self._open.clear()
        self._alarm = None

    def _gather(self) -> None:
        if not self._is_gathering and (self._link is None or self._link.batch_count < BATCHES_MAX):
            self._is_gathering = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._is_gathering = False
        batch = [call for call in self._waiting if not call.replies.done()]
        if batch and self._link is not None:
            self._waiting.clear()
            self._link.send(batch)
        elif batch and self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                self._link = await _linked(self._url, self._heed)
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._fail_waiting(f"the store is not available: {type(error).__name__}: {error}")
        finally:
            self._connecting = None
        self._gather()

    def _heed(self, link: _Link) -> None:
        """A link can carry more, or nothing any more."""
        if link is self._link and link.is_retired:
            self._link = None
        if self._waiting:
            self._gather()

    def _ring(self) -> None:
        """Fail every call whose time is over; a link that has kept one waiting carries no other."""
        loop = asyncio.get_running_loop()
        while self._open and (self._open[0].is_settled or self._open[0].until_s <= loop.time()):
            late = self._open.popleft()
            if not late.is_settled:
                late.fail(f"the store did not answer within {self._deadline_s * 1000:.0f} ms")
                if late.link is not None:
                    late.link.retire()
        self._alarm = loop.call_at(self._open[0].until_s, self._ring) if self._open else None

    def _fail_waiting(self, reason: str) -> None:
        while self._waiting:
            self._waiting.popleft().fail(reason)


class _Link(asyncio.Protocol):
    """One connection, from the moment it stands."""

    def __init__(self, connection: AbstractConnection, tell: Callable[[_Link], None]) -> None:
        """tell: called when the link can carry more, and when it is retired."""
        assert connection._writer is not None
        self._connection = connection  # closes the socket when it is collected
        self._transport = connection._writer.transport
        self._transport.set_protocol(self)
        self._tell = tell
        self._reader = Reader(InvalidResponse, BaseParser.parse_error, notEnoughData=_INCOMPLETE)
        self._under_way: deque[_Call] = deque()
        self._replies: list[Reply] = []  # to the first of these, so far
        self.batch_count = 0
        self.is_retired = False  # takes no call, and ends with the last one under way

    def send(self, batch: Sequence[_Call]) -> None:
        for call in batch:
            call.link = self
        batch[-1].ends_batch = True
        self.batch_count += 1
        self._under_way.extend(batch)
        self._transport.write(b"".join([_packed(command) for call in batch for command in call.commands]))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._take(reply)
        except RedisError as error:
            self.end(f"the store is not available: {type(error).__name__}: {error}")

    def eof_received(self) -> None:
        self.end("the store is not available: it closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        self.end(f"the store is not available: {error!r}")

    def retire(self) -> None:
        self.is_retired = True
        self._tell(self)
        if all(call.is_settled for call in self._under_way):
            self.end("nobody waits")

    def end(self, reason: str) -> None:
        """Close the connection; those who wait for it fail."""
        self.is_retired = True
        self._transport.abort()  # what was not written yet never will be
        self._connection._close()  # type: ignore[no-untyped-call]  # redis-py leaves some of its own without types
        while self._under_way:
            self._under_way.popleft().fail(reason)
        self._tell(self)

    def _take(self, reply: Reply) -> None:
        """Give a reply to the first who waits for one. Raises RedisError where replies and callers may not match."""
        if isinstance(reply, PushNotification):
            return
        if isinstance(reply, RedisError) and not isinstance(reply, ResponseError):
            raise reply  # such as: the server is loading its data
        if not self._under_way:
            raise InvalidResponse("a reply that nobody asked for")
        call = self._under_way[0]
        self._replies.append(reply)
        if len(self._replies) == len(call.commands):
            self._under_way.popleft()
            call.answer(self._replies)
            self._replies = []
            if call.ends_batch:
                self.batch_count -= 1
                self._tell(self)
        if isinstance(reply, ReadOnlyError) or self.is_retired:
            self.retire()  # this server became a replica: the name may lead to the new primary by now


async def _linked(url: str, tell: Callable[[_Link], None]) -> _Link:
    pool = ConnectionPool.from_url(url, **_OPTIONS)  # only reads the URL for us
    connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        return _Link(connection, tell)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise


def _packed(command: Command) -> bytes:
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # the stub asks for a tuple of one
    return packed
