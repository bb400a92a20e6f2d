"""Drive: sends requests at the moments they are due and measures from there.

An open loop: arrivals come at a constant rate whatever the server does, and latency counts from the intended start. A
server that stalls for half a second is thus seen by everybody who would have come in that time; a driver that waits
for an answer before it asks again would send one slow request and miss the rest.

One thread, blocking sockets and select(): its timer has microseconds, epoll's and asyncio's have milliseconds, which
would be added to every latency. A request costs it 40 µs of CPU flat out and about 100 at a rate, of which the timer is
the most; httpx took sixty times as much in the same minute, more than most servers that are measured here.
"""

from __future__ import annotations

import gc
import select
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from loadtest.connection import Connection
from loadtest.histogram import Histogram
from loadtest.traffic import Traffic

CONNECTIONS_MAX = 256
TIMEOUT_S = 5.0
REST_MAX_S = 2.0  # servers close connections that rest; uvicorn after five seconds
WINDOW_S = 1.0

Latencies = dict[str, Histogram]  # by kind of request


@dataclass(slots=True)
class Measured:
    """What came of a run."""

    latencies: Latencies = field(default_factory=lambda: defaultdict(Histogram))
    windows: dict[int, Latencies] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Histogram)))
    errors: Counter[str] = field(default_factory=Counter)
    lateness: Histogram = field(default_factory=Histogram)  # of sending behind due, waiting for a connection included
    seconds: float = 0.0  # from the first intended start to the last answer
    driver_cpu_s: float = 0.0

    def merge(self, other: Measured) -> None:
        """Take another run of the same as a part of this one; windows stay those of this one."""
        for kind, histogram in other.latencies.items():
            self.latencies[kind].merge(histogram)
        self.errors.update(other.errors)
        self.lateness.merge(other.lateness)
        self.seconds += other.seconds
        self.driver_cpu_s += other.driver_cpu_s

    @property
    def count(self) -> int:
        """Answers, whatever they said."""
        return sum(each.count for each in self.latencies.values())

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def driver_share(self) -> float:
        """Of a core that the driver took; near 1 it measures itself."""
        return self.driver_cpu_s / self.seconds if self.seconds else 0.0


class Arrivals(Protocol):
    """When requests are due."""

    def due_s(self, now_s: float) -> float:
        """The intended start of the next request, inf when there is none any more."""

    def take(self) -> None:
        """The next request is on its way."""


class AtRate:
    """A constant rate."""

    def __init__(self, per_second: float, seconds: float, start_s: float) -> None:
        self._interval_s, self._start_s = 1.0 / per_second, start_s
        self._count, self._taken = max(round(per_second * seconds), 1), 0

    def due_s(self, now_s: float) -> float:
        """Does not depend on now, which is the point."""
        return self._start_s + self._taken * self._interval_s if self._taken < self._count else inf

    def take(self) -> None:
        """Count it."""
        self._taken += 1


class FlatOut:
    """As soon as a connection is free, so many times. For CPU per request; latencies of it mean little."""

    def __init__(self, count: int) -> None:
        self._left = count

    def due_s(self, now_s: float) -> float:
        """Now."""
        return now_s if self._left else inf

    def take(self) -> None:
        """Count it."""
        self._left -= 1


class Driver:
    """Connections to one server, and a measurement that runs over them."""

    def __init__(
        self,
        address: tuple[str, int],
        traffic: Traffic,
        *,
        connections_max: int = CONNECTIONS_MAX,
        timeout_s: float = TIMEOUT_S,
        window_s: float = WINDOW_S,
        on_window: Callable[[int], None] = lambda window: None,
    ) -> None:
        """on_window is called when a window of window_s has passed, with its number from 0."""
        self._address, self._traffic = address, traffic
        self._connections_max, self._timeout_s = connections_max, timeout_s
        self._window_s, self._on_window = window_s, on_window
        self._idle: list[Connection] = []
        self._busy: dict[Connection, None] = {}  # oldest first
        self._measured = Measured()
        self._start_s, self._window = 0.0, 0

    def at_rate(self, per_second: float, seconds: float) -> Measured:
        """An open loop."""
        return self._run(lambda start_s: AtRate(per_second, seconds, start_s))

    def flat_out(self, count: int) -> Measured:
        """A closed loop over all connections."""
        return self._run(lambda start_s: FlatOut(count))

    def _run(self, arrivals_from: Callable[[float], Arrivals]) -> Measured:
        self._measured, self._window = Measured(), 0
        with _undisturbed():
            cpu_s, self._start_s = time.process_time(), time.perf_counter()
            arrivals = arrivals_from(self._start_s)
            while self._turn(arrivals):
                pass
            self._measured.seconds = time.perf_counter() - self._start_s
            self._measured.driver_cpu_s = time.process_time() - cpu_s
        while self._idle:
            self._idle.pop().close()
        return self._measured

    def _turn(self, arrivals: Arrivals) -> bool:
        """Send what is due, take what has come; false when everything has been answered or given up."""
        now_s = time.perf_counter()
        while (due_s := arrivals.due_s(now_s)) <= now_s:
            if now_s - due_s > self._timeout_s:  # nobody waits so long for a turn; and a run has to end
                self._measured.errors["not_sent"] += 1
            elif len(self._busy) < self._connections_max:
                self._send(due_s, now_s)
            else:
                due_s = inf  # until one of those under way is answered
                break
            arrivals.take()
        if due_s == inf and not self._busy:
            return False
        wait_s = min(due_s, self._oldest_deadline_s(), now_s + self._window_s) - time.perf_counter()
        readable, _, _ = select.select(list(self._busy), (), (), max(wait_s, 0.0))
        for connection in readable:
            self._receive(connection)
        self._give_up_late()
        self._close_windows()
        return True

    def _send(self, due_s: float, now_s: float) -> None:
        asked = self._traffic.next()
        self._measured.lateness.add(now_s - due_s)
        try:
            connection = self._connection(now_s)
            connection.send(asked, due_s=due_s, now_s=now_s)
        except OSError as error:
            self._measured.errors[f"connect: {error.strerror or error}"] += 1
        else:
            self._busy[connection] = None

    def _connection(self, now_s: float) -> Connection:
        """The one that rested least, or a new one. Those that rested too long are about to be closed by the server."""
        if self._idle and now_s - self._idle[-1].last_used_s > REST_MAX_S:
            while self._idle:
                self._idle.pop().close()
        return self._idle.pop() if self._idle else Connection(self._address)

    def _receive(self, connection: Connection) -> None:
        try:
            answer = connection.receive()
        except (OSError, ValueError) as error:
            del self._busy[connection]
            connection.close()
            self._measured.errors[f"broken: {error}"[:80]] += 1
            return
        if answer is None:
            return
        now_s = time.perf_counter()
        del self._busy[connection]
        connection.last_used_s = now_s
        self._idle.append(connection)
        assert connection.asked is not None
        verdict = self._traffic.answered(connection.asked, *answer)
        if verdict.error:
            self._measured.errors[verdict.error] += 1
        self._count(verdict.kind, connection.due_s, now_s)

    def _count(self, kind: str, due_s: float, now_s: float) -> None:
        self._measured.latencies[kind].add(now_s - due_s)
        self._measured.windows[int((due_s - self._start_s) / self._window_s)][kind].add(now_s - due_s)

    def _oldest_deadline_s(self) -> float:
        oldest = next(iter(self._busy), None)
        return inf if oldest is None else oldest.last_used_s + self._timeout_s

    def _give_up_late(self) -> None:
        """An answer that did not come in time counts as if it came now: leaving it out would flatter the server."""
        now_s = time.perf_counter()
        while self._oldest_deadline_s() <= now_s:
            connection = next(iter(self._busy))
            del self._busy[connection]
            connection.close()
            self._measured.errors["timeout"] += 1
            assert connection.asked is not None
            self._count(connection.asked.kind, connection.due_s, now_s)

    def _close_windows(self) -> None:
        while time.perf_counter() >= self._start_s + (self._window + 1) * self._window_s:
            self._on_window(self._window)
            self._window += 1


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No collection of garbage by the driver in the middle of a measurement; it makes hardly any cycles."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
