"""Lane: commands of concurrent callers share round trips on one connection to one server.

Below wire.py and cluster.py, above link.py, which is the connection. Commands of one turn of the event loop travel
together; while BATCHES_MAX batches are under way, new commands wait and join up.

Nothing is sent twice: a command whose reply was lost may have run, and only the caller knows whether that matters.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from decisioning.store.link import Call, Command, Link, Reply, linked, packed

BATCHES_MAX = 4  # a server runs one command at a time, so more under way only make smaller batches


class Lane:
    """Bound to the event loop of its first call."""

    def __init__(self, url: str, *, deadline_s: float) -> None:
        """deadline_s bounds every call, its turn and connecting included."""
        self._url = url
        self._deadline_s = deadline_s
        self._loop: asyncio.AbstractEventLoop  # kept: each look for the one that runs is a system call under 3.11
        self._open: deque[Call] = deque()  # all calls that are not settled, and some that are; the first ends first
        self._waiting: deque[Call] = deque()  # of these, what was not sent yet
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_gathering = False  # until the end of this turn of the loop
        self._alarm: asyncio.TimerHandle | None = None  # one for all: it rings when the first of those open ends

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one round trip, one after the other on one connection; replies in order.

        Raises StoreUnavailable after the deadline or when the connection breaks; TypeError or ValueError for an
        argument that cannot be sent. A caller who gives up before its turn has sent nothing.
        """
        if not commands:
            return []
        ready = [packed(command) for command in commands]
        if self._alarm is None:
            self._loop = asyncio.get_running_loop()
            self._alarm = self._loop.call_later(self._deadline_s, self._ring)
        call = Call(ready, self._loop.create_future(), self._loop.time() + self._deadline_s)
        while self._open and self._open[0].is_over:
            self._open.popleft()
        self._open.append(call)
        self._waiting.append(call)
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
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_gathering = False
        if self._link is not None and self._link.is_closing:
            self._link.end("the store is not available: the connection broke")
        batch = [call for call in self._waiting if not call.replies.done()]
        self._waiting.clear()
        if batch and self._link is not None:
            self._link.send(batch)
        elif batch:
            self._waiting.extend(batch)
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._deadline_s) as limit:
                self._link = await linked(self._url, self._heed)
        except Exception as error:  # whatever it is, who waits must not wait for the deadline
            if not limit.expired():  # else who still has time waits for the next attempt, and the alarm ends the others
                self._fail_waiting(f"the store is not available: {type(error).__name__}: {error}")
        finally:
            self._connecting = None
        self._gather()

    def _heed(self, link: Link) -> None:
        """A link can carry more, or nothing any more."""
        if link is self._link and link.is_retired:
            self._link = None
        if self._waiting:
            self._gather()

    def _ring(self) -> None:
        """Fail every call whose time is over; a link that has kept one waiting carries no other."""
        now_s = self._loop.time()
        while self._open and (self._open[0].is_over or self._open[0].until_s <= now_s):
            late = self._open.popleft()
            if not late.is_settled:
                late.fail(f"the store did not answer within {self._deadline_s * 1000:.0f} ms")
                if late.link is not None:
                    late.link.retire()
        self._alarm = self._loop.call_at(self._open[0].until_s, self._ring) if self._open else None

    def _fail_waiting(self, reason: str) -> None:
        while self._waiting:
            self._waiting.popleft().fail(reason)
