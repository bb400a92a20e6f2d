"""Connection: the bytes of uvicorn's own protocol, in fewer pieces."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.connection import HEAD_BYTES_MAX, HELD_BYTES_MAX, Connection, Gathering
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
    if path == "/begun":  # and ended by the client alone
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await receive()
        return
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


def refused(port: int, pieces: Iterable[bytes]) -> bytes:
    """What comes back to a client that sends these pieces, until the server has closed the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        with suppress(ConnectionError):  # the server closes while much is still on its way
            for piece in pieces:
                client.sendall(piece)
        with suppress(ConnectionError):
            return b"".join(iter(lambda: client.recv(65_536), b""))
    return b""


LINE = b"GET /whole HTTP/1.1\r\nhost: a\r\n"
LARGE = b"x" * HEAD_BYTES_MAX
TOO_LARGE = {
    "a header": [LINE + b"cookie: " + LARGE + b"\r\n\r\n"],
    "a header in pieces": [LINE + b"cookie: ", LARGE[:20_000], LARGE[:20_000] + b"\r\n\r\n"],
    "a header's name": [LINE + LARGE + b": b\r\n\r\n"],
    "a header that has not ended": [LINE + b"cookie: " + LARGE],
    "a url": [b"GET /whole?" + LARGE + b" HTTP/1.1\r\nhost: a\r\n\r\n"],
    "a url that has not ended": [b"GET /whole?", LARGE],
    "many headers": [LINE + b"a:\r\n" * (HEAD_BYTES_MAX // 4) + b"\r\n"],
    "many headers that have not ended": [LINE + b"a:\r\n" * (HEAD_BYTES_MAX // 4)],
    "empty lines": [b"\r\n" * HEAD_BYTES_MAX],
}


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_a_head_that_is_too_large_is_refused_and_ends_the_connection(what: str) -> None:
    async with served(app, Connection) as port:
        answer = await asyncio.to_thread(refused, port, TOO_LARGE[what])

        assert b"whole" in await answered(port, ASKED["an answer"])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ") and b"connection: close" in head
    assert f"content-length: {len(body)}".encode() in head and b"32 KiB" in body and b"HTTP" not in body


WITHOUT_END = {
    "a header": LINE + b"cookie: ",
    "a url": b"GET /whole?",
    "a trailer": LINE.replace(b"GET", b"POST") + b"transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\na: ",
}


@pytest.mark.parametrize("what", WITHOUT_END)
async def test_what_does_not_end_is_not_read_to_the_end(what: str) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        yield WITHOUT_END[what]
        for _ in range(2_000):
            yield LARGE
            sent.append(1)

    async with served(app, Connection) as port:
        await asyncio.to_thread(refused, port, pieces())

    assert len(sent) < 2_000


async def test_a_head_that_begins_beside_another_request_is_weighed_as_a_whole() -> None:
    async with served(app, Connection) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASKED["an answer"] + LINE + b"cookie: " + LARGE[:20_000])
        first = await reader.readuntil(b"whole")
        writer.write(LARGE[:20_000] + b"\r\n\r\n")
        rest = await asyncio.wait_for(reader.read(-1), 10)
        writer.close()

    assert first.startswith(b"HTTP/1.1 200 ") and rest.startswith(b"HTTP/1.1 431 ")


async def test_a_refusal_does_not_stand_in_the_midst_of_another_answer() -> None:
    async with served(app, Connection) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /begun HTTP/1.1\r\nhost: a\r\n\r\n")
        begun = await reader.readuntil(CHUNK)
        writer.write(TOO_LARGE["a header"][0])
        rest = await asyncio.wait_for(reader.read(-1), 10)
        writer.close()

    assert b"HTTP/1.1 200" in begun and b"HTTP" not in rest


@pytest.mark.parametrize("largest", ["header", "url", "body", "many bodies"])
async def test_what_is_not_too_large_is_answered_and_so_is_what_follows(largest: str) -> None:
    room = b"x" * (HEAD_BYTES_MAX - 200)
    post = LINE.replace(b"GET", b"POST")
    asked = {
        "header": (LINE + b"cookie: " + room + b"\r\n\r\n") * 3,
        "url": LINE.replace(b"whole", b"whole?" + room) + b"\r\n" + LINE + b"\r\n",
        "body": (post + b"content-length: 100000\r\n\r\n" + b"y" * 100_000) * 2 + LINE + b"\r\n",
        "many bodies": (post + b"transfer-encoding: chunked\r\n\r\n" + b"5\r\nabcde\r\n" * 20_000 + b"0\r\n\r\n") * 3,
    }[largest]

    async with served(app, Connection) as gathered, served(app, HttpToolsProtocol) as plain:
        answer = await answered(gathered, asked)

        assert answer == await answered(plain, asked)
    assert answer.count(b"HTTP/1.1 200") == {"header": 4, "url": 3, "body": 4, "many bodies": 4}[largest]


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
