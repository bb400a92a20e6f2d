"""Connection: uvicorn's HTTP, with every answer sent in one piece and no head of a request without end.

uvicorn writes the head of an answer and its body one after the other, and uvloop sends whatever it is given at once:
two system calls and two packets an answer, which cost as much CPU as all of the HTTP parsing. It also keeps as much of
a URL and of headers as anybody sends, before anything of ours knows who that is.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 32_768  # URL and headers of a request; common proxies take less
HELD_BYTES_MAX = 65_536  # beyond it the transport has to see what is waiting, to slow down whoever writes
LINE_BYTES = 4  # of a header beside its name and value
_REFUSAL = b'{"code":"too_large","message":"URL and headers have at most 32 KiB. Send less.","where":"headers"}'
REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_REFUSAL), _REFUSAL)
)


class HeadTooLarge(Exception):
    """Ends the parsing of what follows."""


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve it."""
        self._unended_bytes = 0  # all that came in behind the last head or piece of a body
        self._gathering = Gathering(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(self._gathering)

    def data_received(self, data: bytes) -> None:
        """Read it."""
        self._unended_bytes += len(data)
        super().data_received(data)
        if self._unended_bytes > HEAD_BYTES_MAX:  # the parser tells of a header when it has ended, if it ever does
            self._refuse()

    def on_headers_complete(self) -> None:
        """The head has ended: weigh it, for a part of it may have come in with the request before."""
        self._unended_bytes = 0
        head_bytes = len(self.url)
        for name, value in self.headers:
            head_bytes += len(name) + len(value) + LINE_BYTES
        if head_bytes > HEAD_BYTES_MAX:
            self._refuse()
            raise HeadTooLarge
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, which whoever reads it bounds."""
        self._unended_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed ends the connection, which may have ended before."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # in the midst of another answer it would be part of it
            self.transport.write(REFUSAL)
        self.transport.close()

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
