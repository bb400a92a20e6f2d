"""A cluster that talks nonsense: what cannot be read is an unavailable store, and the next sound answer is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import hiredis
import pytest
from redis.crc import key_slot

from decisioning.errors import StoreUnavailable
from decisioning.store.cluster import Cluster
from decisioning.store.link import Command
from tests.conftest import PATIENCE_MS
from tests.store.test_cluster import sooner_or_later

KEY = b"nb:{p000}:c:C-1"
SLOT = key_slot(KEY)
READ: Command = ("GET", KEY)
SOUND = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:%d\r\n"  # this node holds all slots


class Nonsense:
    """One node; what it says to CLUSTER SLOTS and to anything else can be changed."""

    def __init__(self) -> None:
        self.map = b""
        self.reply = b"$4\r\nread\r\n"
        self.complaints: list[str] = []  # of the loop, about what nobody caught

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader(notEnoughData=self)
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                commands.feed(data)
                while (command := commands.gets()) is not self:
                    writer.write(self._answer(*command))
        writer.close()

    def _answer(self, verb: bytes, *words: bytes) -> bytes:
        match verb, *words:
            case b"HELLO", *_:
                return b"%1\r\n$5\r\nproto\r\n:3\r\n"
            case b"CLIENT" | b"ASKING", *_:
                return b"+OK\r\n"
            case b"CLUSTER", b"INFO":
                return b"$16\r\ncluster_state:ok\r\n"
            case b"CLUSTER", b"SLOTS":
                return self.map
        return self.reply


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[Nonsense, Cluster]]:
    node = Nonsense()
    asyncio.get_running_loop().set_exception_handler(lambda _, told: node.complaints.append(str(told)))
    listening = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    node.map = SOUND % port
    cluster = Cluster([f"redis://127.0.0.1:{port}"], deadline_s=PATIENCE_MS / 1000)
    async with listening:
        yield node, cluster
        await cluster.close()


@pytest.mark.parametrize("verb", [b"MOVED", b"ASK"])
@pytest.mark.parametrize(
    "rest",
    [
        b"16384 127.0.0.1:1",
        b"-1 127.0.0.1:1",
        b"999999999999999999999 127.0.0.1:1",
        b"%d 127.0.0.1:65536" % SLOT,
        b"%d 127.0.0.1:-1" % SLOT,
        b"%d ?:6379" % SLOT,
        b"%d a]b:6379" % SLOT,
        b"%d a/b:6379" % SLOT,
        b"%d" % SLOT,
        b"%d nowhere" % SLOT,
        b"",
    ],
)
async def test_a_refusal_that_points_nowhere_is_an_unavailable_store(verb: bytes, rest: bytes) -> None:
    async with talking() as (node, cluster):
        sound = node.reply
        node.reply = b"-%s %s\r\n" % (verb, rest)

        with pytest.raises(StoreUnavailable):
            await cluster.exchange([READ])

        node.reply = sound
        assert await cluster.exchange([READ]) == [b"read"]
        assert node.complaints == []


MAPS: dict[str, Callable[[bytes], bytes]] = {
    "a slot too many": lambda sound: sound.replace(b":16383", b":16384"),
    "a slot below none": lambda sound: sound.replace(b":0", b":-9", 1),
    "the last before the first": lambda sound: sound.replace(b":0", b":9", 1).replace(b":16383", b":-9"),
    "no nodes": lambda _: b"*1\r\n*2\r\n:0\r\n:16383\r\n",
    "no slots": lambda _: b"*1\r\n*0\r\n",
    "a number for a range": lambda _: b"*1\r\n:7\r\n",
    "words for slots": lambda sound: sound.replace(b":0", b"+x", 1),
    "a number for a node": lambda _: b"*1\r\n*3\r\n:0\r\n:16383\r\n:1\r\n",
    "a node without a port": lambda _: b"*1\r\n*3\r\n:0\r\n:16383\r\n*1\r\n$0\r\n\r\n",
    "a number for a host": lambda _: b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n:5\r\n:1\r\n",
    "a host that is no text": lambda _: b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\n\xff\r\n:1\r\n",
    "a host with half a bracket": lambda _: b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$3\r\na]b\r\n:1\r\n",
    "a node without a name": lambda _: b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\n?\r\n:1\r\n",
    "a word for a port": lambda _: b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",
    "a word": lambda _: b"+x\r\n",
    "a refusal": lambda _: b"-ERR no\r\n",
    "a refusal for a range": lambda _: b"*1\r\n-MOVED 1 a:1\r\n",
}


@pytest.mark.parametrize("nonsense", MAPS.values(), ids=MAPS)
async def test_a_map_that_cannot_be_read_is_an_unavailable_store(nonsense: Callable[[bytes], bytes]) -> None:
    async with talking() as (node, cluster):
        sound, node.map = node.map, nonsense(node.map)

        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await cluster.exchange([READ])

        node.map = sound
        assert await sooner_or_later(lambda: cluster.exchange([READ])) == [b"read"]
        assert node.complaints == []


async def test_a_node_without_an_address_takes_only_its_own_slots_away() -> None:
    async with talking() as (node, cluster):
        here = node.map.removeprefix(b"*1\r\n*3\r\n:0\r\n:16383\r\n")
        other = b"*3\r\n:0\r\n:0\r\n*2\r\n$1\r\n?\r\n:6379\r\n"
        node.map = b"*2\r\n" + other + b"*3\r\n:1\r\n:16383\r\n" + here

        assert await cluster.exchange([READ]) == [b"read"]
        assert node.complaints == []
