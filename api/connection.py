"""Connection: uvicorn's HTTP, with every answer sent in one piece.

uvicorn writes the head of an answer and its body one after the other, and uvloop sends whatever it is given at once:
two system calls and two packets an answer, which cost as much CPU as all of the HTTP parsing.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HELD_BYTES_MAX = 65_536  # beyond it the transport has to see what is waiting, to slow down whoever writes


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve it."""
        self._gathering = Gathering(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(self._gathering)

    def eof_received(self) -> None:
        """The client asks no more, but may still read; the loop closes the connection after this."""
        self._gathering.flush()
        super().eof_received()


class Gathering(asyncio.Transport):
    """A transport that sends together what is written in one turn of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: list[bytes | bytearray | memoryview] = []
        self._held_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send this at the end of the turn."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Send what is held now."""
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._transport.is_closing():  # the client may have gone since it was written
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._transport.set_protocol(protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)
