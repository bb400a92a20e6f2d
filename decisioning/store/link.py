"""Link: one connection to a server, from the moment it stands to its end, and the calls under way on it.

Below lane.py, which decides what is sent when. redis-py connects: TLS, passwords, the choice of a database. Then the
link takes over the transport, because redis-py's way from a reply to its caller costs several times what reading the
reply does: here it goes from hiredis to the caller without a task, a stream or a time-out in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hiredis import PushNotification, Reader, pack_command
from redis._parsers import BaseParser
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ReadOnlyError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from decisioning.errors import StoreUnavailable

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
class Call:
    """Commands of one caller, and where it waits for the replies."""

    packed: Sequence[bytes]  # each command, before anything is counted: one that cannot be sent is its caller's alone
    replies: asyncio.Future[list[Reply]]  # cancelled once the caller has given up
    until_s: float
    link: Link | None = None  # that carries it
    ends_batch: bool = False
    is_settled: bool = False  # answered or failed: what still comes is for nobody

    @property
    def is_over(self) -> bool:
        """True when nobody waits and no link carries it."""
        return self.is_settled or (self.link is None and self.replies.done())

    def answer(self, replies: list[Reply]) -> None:
        self.is_settled = True
        if not self.replies.done():
            self.replies.set_result(replies)

    def fail(self, reason: str) -> None:
        self.is_settled = True
        if not self.replies.done():
            self.replies.set_exception(StoreUnavailable(reason))


class Link(asyncio.Protocol):
    """One connection, from the moment it stands."""

    def __init__(self, connection: AbstractConnection, tell: Callable[[Link], None]) -> None:
        """tell: called when the link can carry more, and when it is retired."""
        assert connection._writer is not None
        self._connection = connection  # closes the socket when it is collected
        self._transport = connection._writer.transport
        self._transport.set_protocol(self)
        self._tell = tell
        self._reader = Reader(InvalidResponse, BaseParser.parse_error, notEnoughData=_INCOMPLETE)
        self._under_way: deque[Call] = deque()
        self._replies: list[Reply] = []  # to the first of these, so far
        self.batch_count = 0
        self.is_retired = False  # takes no call, and ends with the last one under way

    @property
    def is_closing(self) -> bool:
        """True from when the loop knows that the connection broke, a turn before it says so."""
        return self._transport.is_closing()

    def send(self, batch: Sequence[Call]) -> None:
        for call in batch:
            call.link = self
        batch[-1].ends_batch = True
        self.batch_count += 1
        self._under_way.extend(batch)
        self._transport.write(b"".join([command for call in batch for command in call.packed]))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._take(reply)
        except (RedisError, ValueError, TypeError) as error:
            # ValueError comes from redis-py, of an unreadable refusal, TypeError from hiredis, of a list as a name.
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
        if len(self._replies) == len(call.packed):
            self._under_way.popleft()
            call.answer(self._replies)
            self._replies = []
            if call.ends_batch:
                self.batch_count -= 1
                self._tell(self)
        if isinstance(reply, ReadOnlyError) or self.is_retired:
            self.retire()  # this server became a replica: the name may lead to the new primary by now


async def linked(url: str, tell: Callable[[Link], None]) -> Link:
    connection = connection_to(url)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # as above
        return Link(connection, tell)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise


def connection_to(url: str) -> AbstractConnection:
    """What would connect to this server. Raises ValueError when the URL or one of its options cannot be read."""
    pool = ConnectionPool.from_url(url, **_OPTIONS)  # only reads the URL for us
    try:
        connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
    except (TypeError, AttributeError, RedisError) as error:  # redis-py hands on whatever stands there
        raise ValueError(f"an option in the URL of the store cannot be read: {error}") from error
    return connection


def packed(command: Command) -> bytes:
    """As it goes over the wire. Raises TypeError or ValueError for an argument that cannot."""
    return cast(bytes, pack_command(command))  # type: ignore[arg-type]  # the stub asks for a tuple of one
