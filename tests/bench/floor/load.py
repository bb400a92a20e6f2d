"""What the service that does nothing costs: CPU time of its process per request, the unit of other measurements.

CPU time is far steadier than requests per second. It comes from /proc/PID/stat, around a load over a few connections
that are always kept open. Client and server run on different cores where there are two.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

CONNECTION_COUNT = 8
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BODY = (
    b'{"customer_id":"C-0042917","channel":"web","placements":["web.home.hero","web.home.tile"],'
    b'"context":{"page":"home","device":"mobile"}}'
)
REQUEST = (
    b"POST /noop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(BODY), BODY)
)


class Noop:
    """The running service and the connections to it."""

    def __init__(self, pid: int, connections: Sequence[socket.socket]) -> None:
        self.pid = pid
        self.connections = connections
        self.answer_size = first_answer_size(connections[0])

    def cpu_us(self, request_count: int) -> float:
        """CPU microseconds of the server per request; the count is a multiple of CONNECTION_COUNT."""
        before_s = cpu_seconds(self.pid)
        for _ in range(request_count // CONNECTION_COUNT):
            for connection in self.connections:
                connection.sendall(REQUEST)
            for connection in self.connections:
                receive(connection, self.answer_size)
        return (cpu_seconds(self.pid) - before_s) / request_count * 1e6


def first_answer_size(connection: socket.socket) -> int:
    """Bytes of an answer. All are as long as the first, which saves the client a parser in every round."""
    connection.sendall(REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(connection, 1)
    length = re.search(rb"content-length: (\d+)", head, re.I)
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise RuntimeError(f"the service that does nothing answered {head!r}")
    receive(connection, int(length[1]))
    return len(head) + int(length[1])


def receive(connection: socket.socket, size: int) -> bytes:
    received = connection.recv(size, socket.MSG_WAITALL)
    if len(received) < size:
        raise RuntimeError("the service that does nothing closed a connection")
    return received


def cpu_seconds(pid: int) -> float:
    """User and system time a process has spent, in steps of a hundredth of a second."""
    # The second field is the program's name in parentheses and may hold spaces; the rest counts from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


@contextmanager
def noop_service() -> Iterator[Noop]:
    """A running service that does nothing, on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "tests.bench.floor.server"]
    with ExitStack() as opened:
        server = opened.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        opened.callback(server.terminate)
        if len(cores) > 1:
            os.sched_setaffinity(server.pid, cores[:1])
            os.sched_setaffinity(0, cores[1:])
            opened.callback(os.sched_setaffinity, 0, cores)
        assert server.stdout is not None
        address = "127.0.0.1", int(server.stdout.readline())
        connections = [opened.enter_context(socket.create_connection(address)) for _ in range(CONNECTION_COUNT)]
        yield Noop(server.pid, connections)
