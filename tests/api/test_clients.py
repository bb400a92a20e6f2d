"""Clients that are slow, or leave: nobody else notices, and what was asked in full is decided once."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from api.connection import Connection
from decisioning.customer import partition_of
from tests.api.desk import HERO, Desk
from tests.api.serving import served

CLIENT_COUNT = 60
HEAD = "POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer demo-key\r\ncontent-length: %d\r\n\r\n"


def asked(customer: str) -> bytes:
    """A whole request."""
    body = json.dumps({**HERO, "customer": {"id": customer}}).encode()
    return (HEAD % len(body)).encode() + body


async def recorded(desk: Desk, customer: str) -> int:
    """Decisions about a customer; each is alone in its part of the log, or shares it."""
    entries = await desk.store.log(partition_of(customer), after="0-0", limit=999)
    [snapshot] = await desk.store.read([customer])
    return sum(f'"{snapshot.state.person_key}"'.encode() in entry.record.body for entry in entries)


async def speak(port: int, sent: bytes, pieces: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send this in so many pieces, each in a turn of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = max(1, len(sent) // pieces)
    for start in range(0, len(sent), size):
        writer.write(sent[start : start + size])
        await writer.drain()
        await asyncio.sleep(0.001)
    return reader, writer


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_asks_in_full_is_answered_however_slowly_and_others_leave(seed: int) -> None:
    desk, choice = Desk(), random.Random(seed)
    customers = [f"C-{number}" for number in range(CLIENT_COUNT)]
    await asyncio.gather(*map(desk.know, customers))
    kinds = {customer: choice.choice(("patient", "leaves_early", "leaves_late")) for customer in customers}

    async def client(port: int, customer: str) -> str:
        whole, kind = asked(customer), kinds[customer]
        sent = whole[: choice.randrange(1, len(whole))] if kind == "leaves_early" else whole
        reader, writer = await speak(port, sent, choice.choice((1, 2, 20, len(whole))))
        if kind != "patient":
            writer.transport.abort()
            return ""
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = json.loads(await reader.readexactly(size))
        writer.close()
        return str(answer["customer_id"])

    async with served(desk.http._transport.app, Connection) as port:  # type: ignore[attr-defined]  # httpx keeps it to itself
        answered = await asyncio.wait_for(asyncio.gather(*(client(port, each) for each in customers)), 60)

    assert answered == [each if kinds[each] == "patient" else "" for each in customers]
    for customer in customers:
        made = await recorded(desk, customer)
        assert made in {"patient": (1,), "leaves_early": (0,), "leaves_late": (0, 1)}[kinds[customer]]
