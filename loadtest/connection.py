"""Connection: one HTTP/1.1 connection that is kept open, with at most one request under way."""

from __future__ import annotations

import socket
from typing import NamedTuple

from loadtest.traffic import Asked

HEAD_END, LENGTH = b"\r\n\r\n", b"content-length:"
CHUNK_BYTES = 1 << 16


class Answer(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


class Connection:
    """Raises OSError where the server hangs up, ValueError for what is no answer of known length."""

    __slots__ = ("_received", "_socket", "asked", "due_s", "last_used_s")

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.asked: Asked | None = None
        self.due_s = self.last_used_s = 0.0

    def fileno(self) -> int:
        """For select()."""
        return self._socket.fileno()

    def send(self, asked: Asked, *, due_s: float, now_s: float) -> None:
        """Send a request that was due then."""
        self.asked, self.due_s, self.last_used_s = asked, due_s, now_s
        self._socket.sendall(asked.request)

    def receive(self) -> Answer | None:
        """What has arrived: the answer once it is complete. Blocks when nothing has."""
        chunk = self._socket.recv(CHUNK_BYTES)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        self._received += chunk
        head_size = self._received.find(HEAD_END)
        if head_size < 0:
            return None
        head = self._received[:head_size].lower()
        start = head.find(LENGTH)
        if start < 0:
            raise ValueError(f"an answer without a length: {head[:200]!r}")
        end = head.find(b"\r\n", start)
        size = int(head[start + len(LENGTH) : end if end >= 0 else None])
        body = self._received[head_size + len(HEAD_END) :]
        if len(body) < size:
            return None
        self._received = b""
        return Answer(int(head[9:12]), body)

    def close(self) -> None:
        """Give up what is under way."""
        self._socket.close()
