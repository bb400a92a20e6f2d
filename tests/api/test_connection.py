"""Connection: the bytes of uvicorn's own protocol, in fewer pieces."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.connection import HELD_BYTES_MAX, Connection, Gathering
from tests.api.serving import served

CHUNK = b"x" * 10_000
ASKED = {
    "an answer": b"GET /whole HTTP/1.1\r\nhost: a\r\n\r\n",
    "a head alone": b"HEAD /whole HTTP/1.1\r\nhost: a\r\n\r\n",
    "no body": b"GET /empty HTTP/1.1\r\nhost: a\r\n\r\n",
    "two at once": b"GET /whole HTTP/1.1\r\nhost: a\r\n\r\n" * 2,
    "chunks": b"GET /chunks HTTP/1.1\r\nhost: a\r\n\r\n",
    "more than is held": b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n",
    "the last": b"GET /whole HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "a body on demand": b"POST /whole HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\nab",
    "no HTTP": b"what\r\n\r\n",
    "an app that breaks": b"GET /broken HTTP/1.1\r\nhost: a\r\n\r\n",
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers in several ways, by path."""
    await receive()
    path, headers = scope["path"], [(b"content-type", b"text/plain")]
    if path == "/broken":
        raise ValueError("as it should")
    if path in ("/chunks", "/large"):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(3 if path == "/chunks" else 100):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body = b"" if path == "/empty" else b"whole"
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 204 if path == "/empty" else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answered(port: int, asked: bytes) -> bytes:
    """All bytes that come back until nothing more does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    if b"connection: close" not in asked:  # then the next answer is the last, and the server closes
        writer.write(b"GET /whole HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    found = await asyncio.wait_for(reader.read(-1), 10)
    writer.close()
    return found


@pytest.mark.parametrize("what", ASKED)
async def test_a_client_reads_the_same_bytes(what: str) -> None:
    async with served(app, Connection) as gathered, served(app, HttpToolsProtocol) as plain:
        assert await answered(gathered, ASKED[what]) == await answered(plain, ASKED[what]) != b""


def half_closed(port: int, asked: bytes) -> bytes:
    """All that comes back to a client that says with its request that there will be no other."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(asked)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


@pytest.mark.parametrize("what", ["an answer", "no body", "chunks", "the last"])
def test_a_client_that_says_no_more_reads_its_answer(what: str) -> None:
    async def whole() -> list[bytes]:
        async with served(app, Connection) as port:
            return [await asyncio.to_thread(half_closed, port, ASKED[what]) for _ in range(20)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = set(runner.run(whole()))

    [answer] = answers
    assert answer.startswith(b"HTTP/1.1 20")
    assert answer.endswith({"chunks": b"\r\n0\r\n\r\n", "no body": b"\r\n\r\n"}.get(what, b"whole"))


async def test_a_client_that_leaves_early_disturbs_nobody() -> None:
    async with served(app, Connection) as port:
        for asked in (ASKED["more than is held"], ASKED["an answer"]):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked)
            writer.transport.abort()

        assert b"whole" in await answered(port, ASKED["an answer"])


class Listening(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Remember."""
        assert not self.closed
        self.pieces.append(bytes(data))

    def close(self) -> None:
        """Take no more."""
        self.closed = True

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed


async def test_what_is_written_in_one_turn_is_one_piece() -> None:
    beneath = Listening()
    gathering = Gathering(beneath, asyncio.get_running_loop())

    gathering.write(b"head")
    gathering.write(b"body")
    await asyncio.sleep(0)
    gathering.write(b"next")
    gathering.close()
    await asyncio.sleep(0)

    assert beneath.pieces == [b"headbody", b"next"]


async def test_much_is_not_held_back() -> None:
    beneath = Listening()
    gathering = Gathering(beneath, asyncio.get_running_loop())

    gathering.write(b"x" * HELD_BYTES_MAX)
    gathering.write(b"y")

    assert beneath.pieces == [b"x" * HELD_BYTES_MAX + b"y"]


async def test_nothing_is_sent_to_who_has_gone() -> None:
    beneath = Listening()
    gathering = Gathering(beneath, asyncio.get_running_loop())

    gathering.write(b"late")
    beneath.close()
    await asyncio.sleep(0)

    assert beneath.pieces == []
