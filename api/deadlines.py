"""Deadlines: requests that are answered in time or given up, by one timer for all of them.

asyncio.timeout asks the loop for a timer each time, which costs 7 µs a request. All requests have equally long, so
whoever came first is due first, and one timer that waits for the first is enough.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Work:
    """Of one request."""

    task: asyncio.Task[Any] | None  # None: it is done
    until_s: float
    is_late: bool = False


class Deadlines:
    """Of one serving process; bound to the event loop of its first call."""

    def __init__(self) -> None:
        self._open: deque[_Work] = deque()  # all that is not done, and some that is
        self._alarm: asyncio.TimerHandle | None = None

    async def keep(self, seconds: float, work: Awaitable[Result]) -> Result:
        """The result of this work; cancels it and raises TimeoutError when it takes longer than all requests may."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        each, cancelling = _Work(task, loop.time() + seconds), task.cancelling()
        self._open.append(each)
        if self._alarm is None:
            self._alarm = loop.call_at(each.until_s, self._ring)
        try:
            return await work
        except asyncio.CancelledError:
            if each.is_late and task.cancelling() == cancelling + 1:  # else somebody beside us wants it to end
                raise TimeoutError from None
            raise
        finally:
            if each.is_late:
                task.uncancel()  # even where the work made something else of it: what comes next is not late
            each.task = None
            while self._open and self._open[0].task is None:
                self._open.popleft()

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        while self._open and (self._open[0].task is None or self._open[0].until_s <= loop.time()):
            late = self._open.popleft()
            if late.task is not None:
                late.is_late = True
                late.task.cancel()
        self._alarm = loop.call_at(self._open[0].until_s, self._ring) if self._open else None
