"""The lane, fuzzed: whatever the server does, every caller gets its own replies or StoreUnavailable, once and in time.

In each case a hundred callers, some of whom leave, ask a server that splits what it says anywhere, dawdles, refuses,
goes silent or hangs up in the middle of a reply. Both event loops are meant: uvloop serves, asyncio runs the commands.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import hiredis
import pytest
import uvloop
from redis.exceptions import ResponseError

from decisioning.errors import StoreUnavailable
from decisioning.store.embedded import EmbeddedServer, find_binary
from decisioning.store.lane import BATCHES_MAX, Lane
from decisioning.store.link import Command, Reply
from tests.store.nodes import Node, wait_until

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
DEADLINE_S = 0.3
LATE_S = 3.0  # by which a busy machine may miss a deadline; what hangs misses it by more
CALLERS = 100
KINDS = 6
PATIENCE_S = 30.0  # the deadline of a call that must not need it


def said(number: int) -> bytes:
    """What the fickle server replies to `ECHO number`; each kind of reply, recognisable as this one's."""
    text = b"%d" % number
    return [
        b"$%d\r\n%s\r\n" % (len(text), text),
        b":%s\r\n" % text,
        b"*3\r\n:%s\r\n$-1\r\n*1\r\n+%s\r\n" % (text, text),
        b"-ERR no %s\r\n" % text,
        b"$20000\r\n%s\r\n" % text.rjust(20_000),
        b"-READONLY %s\r\n" % text if number % 7 == 0 else b"_\r\n",
    ][number % KINDS]


def expected(number: int) -> object:
    text = b"%d" % number
    refused = str(number) if number % 7 == 0 else None
    return [text, number, [number, None, [text]], f"no {number}", text.rjust(20_000), refused][number % KINDS]


def plain(reply: Reply) -> object:
    return str(reply.args[0]) if isinstance(reply, ResponseError) else reply


class Fickle:
    """A server that answers as the chance says, and remembers what reached it."""

    def __init__(self, chance: random.Random, *, trouble: float) -> None:
        self._chance = chance
        self._trouble = trouble  # the share of replies at which it hangs up, goes silent or speaks unasked
        self.received: Counter[int] = Counter()
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        commands = hiredis.Reader(notEnoughData=self)
        with suppress(ConnectionError, RuntimeError, asyncio.CancelledError):  # uvloop's word for a closed connection
            while data := await reader.read(1 << 16):
                commands.feed(data)
                while (command := commands.gets()) is not self:
                    await self._answer(command, writer)
        writer.transport.abort()

    async def close(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _answer(self, command: list[bytes], writer: asyncio.StreamWriter) -> None:
        if command[0] == b"HELLO":
            writer.write(b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n")
        elif command[0] != b"ECHO":
            writer.write(b"+OK\r\n")
        else:
            self.received[int(command[1])] += 1
            await self._say(said(int(command[1])), writer)

    async def _say(self, reply: bytes, writer: asyncio.StreamWriter) -> None:
        chance = self._chance
        if chance.random() < self._trouble:
            match chance.randrange(5):
                case 0:
                    writer.write(reply[: chance.randrange(len(reply))])
                    await writer.drain()
                    raise ConnectionResetError
                case 1:
                    await asyncio.sleep(chance.choice([0.01, DEADLINE_S, 2 * DEADLINE_S]))
                case 2:
                    writer.write(b">2\r\n+message\r\n+unasked\r\n")
                case 3:
                    writer.write(chance.choice([b"!nonsense\r\n", b"-LOADING soon\r\n", b"\x00"]))
                case 4:
                    writer.write(reply[:-1])
                    await asyncio.sleep(chance.choice([0, 2 * DEADLINE_S]))
                    writer.write(reply[-1:])
                    return
        at = 0
        while at < len(reply):  # short replies a byte at a time, now and then
            size = 1 if len(reply) < 100 and chance.random() < 0.3 else chance.randint(1, len(reply))
            writer.write(reply[at : at + size])
            at += size
            if chance.random() < 0.2:
                await asyncio.sleep(chance.choice([0, 0, 0.001]))


@asynccontextmanager
async def saying(directory: Path, answer: Callable[[bytes, int], bytes]) -> AsyncIterator[str]:
    """The URL of a server that gives this answer to what comes over its first connection, its second, and so on.

    It is silent from the start where it has nothing to say to b"".
    """
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        connection = len(serving)
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if b"ECHO" in data:
                    writer.write(answer(data, connection))
                elif answer(b"", connection):
                    hello = b"%1\r\n$5\r\nproto\r\n:3\r\n" if b"HELLO" in data else b""
                    writer.write(hello + b"+OK\r\n" * data.count(b"\r\nCLIENT"))
        writer.close()

    listening = await asyncio.start_unix_server(serve, directory / "socket")
    yield f"unix://{directory}/socket"
    await asyncio.gather(*(each for each in serving if each is not None))
    listening.close()


def run(factory: Callable[[], asyncio.AbstractEventLoop], whole: Callable[[], Awaitable[None]]) -> list[str]:
    """Run to the end; what the loop had to complain about."""
    complaints: list[str] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(str(told)))
        await whole()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(watched())
    return complaints


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seed", range(3))
def test_every_caller_gets_its_own_replies_or_none_at_all(seed: int, loop: str, tmp_path: Path) -> None:
    chance = random.Random(seed)
    fared: Counter[str] = Counter()
    server = Fickle(chance, trouble=(0.0, 0.01, 0.05)[seed])

    async def caller(lane: Lane, number: int) -> None:
        numbers = [number * 10 + each for each in range(chance.randint(1, 5))]
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.2, 0.4]))
        commands: list[Command] = [("ECHO", b"%d" % each) for each in numbers]
        is_unfit = chance.random() < 0.1
        if is_unfit:
            commands.insert(chance.randint(0, len(commands)), ("ECHO", cast(bytes, None)))
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(chance.choice([None, None, 0, 0.001, 0.01, DEADLINE_S])):
                replies = await lane.exchange(commands)
            assert [plain(each) for each in replies] == [expected(each) for each in numbers]
            fared["answered"] += 1
        except StoreUnavailable:
            fared["unavailable"] += 1
        except TypeError:
            assert is_unfit
            fared["unfit"] += 1
        except TimeoutError:
            fared["left"] += 1
        assert time.monotonic() - began_s < DEADLINE_S + LATE_S

    async def whole() -> None:
        listening = await asyncio.start_unix_server(server.serve, tmp_path / "socket")
        lane = Lane(f"unix://{tmp_path}/socket", deadline_s=DEADLINE_S)
        for round_number in range(3):
            first = round_number * CALLERS
            await asyncio.gather(*(caller(lane, number) for number in range(first, first + CALLERS)))
        assert all(call.is_settled or call.replies.cancelled() for call in lane._open)
        await lane.close()
        await server.close()
        listening.close()

    complaints = run(LOOPS[loop], whole)

    assert complaints == []
    assert not server.received or max(server.received.values()) == 1
    assert fared["answered"] > 0
    assert fared["unfit"] > 0
    assert fared.total() == 3 * CALLERS


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("unfit", [None, "\ud800"])
def test_a_command_that_cannot_be_sent_fails_its_caller_alone(loop: str, unfit: object, server: EmbeddedServer) -> None:
    async def whole() -> None:
        lane = Lane(server.url, deadline_s=PATIENCE_S)
        bad: Command = ("ECHO", cast(bytes, unfit))
        found = await asyncio.gather(
            *(lane.exchange(each) for each in ([("ECHO", b"a")], [("ECHO", b"b"), bad], [("ECHO", b"c")])),
            return_exceptions=True,
        )
        after = await lane.exchange([("ECHO", b"d")])
        await lane.close()

        assert [found[0], found[2], after] == [[b"a"], [b"c"], [b"d"]]
        assert isinstance(found[1], TypeError if unfit is None else ValueError)

    assert run(LOOPS[loop], whole) == []


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("garbage", "named"),
    [
        (b"-MOVED garbage\r\n", "ValueError"),
        (b"-ASK 1 nowhere\r\n", "ValueError"),
        (b"%1\r\n*1\r\n:1\r\n:2\r\n", "TypeError"),  # a list as a name
        (b"$-7\r\n", "InvalidResponse"),
    ],
)
def test_a_reply_that_cannot_be_read_ends_the_connection_and_nothing_else(
    loop: str, garbage: bytes, named: str, tmp_path: Path
) -> None:
    async def whole() -> None:
        async with saying(tmp_path, lambda data, _: garbage if b"first" in data else b"+second\r\n") as url:
            lane = Lane(url, deadline_s=PATIENCE_S)
            with pytest.raises(StoreUnavailable, match=named):
                await lane.exchange([("ECHO", b"first")])
            assert await lane.exchange([("ECHO", b"second")]) == [b"second"]
            await lane.close()

    assert run(LOOPS[loop], whole) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_who_comes_while_a_connection_fails_waits_for_the_next_until_its_own_deadline(
    loop: str, tmp_path: Path
) -> None:
    """The first connection is never answered; whoever came for it in time is served by the second."""

    async def whole() -> None:
        async with saying(tmp_path, lambda _, connection: b"" if connection == 1 else b"+second\r\n") as url:
            lane = Lane(url, deadline_s=1.0)
            first = asyncio.create_task(lane.exchange([("ECHO", b"first")]))
            await asyncio.sleep(0.5)
            second = asyncio.create_task(lane.exchange([("ECHO", b"second")]))

            with pytest.raises(StoreUnavailable, match="did not answer within 1000 ms"):
                await first
            assert await second == [b"second"]
            assert not lane._waiting
            await lane.close()

    assert run(LOOPS[loop], whole) == []


async def test_what_breaks_while_connecting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(url: str, tell: object) -> None:
        raise ZeroDivisionError("as it should")

    monkeypatch.setattr("decisioning.store.lane.linked", broken)
    lane = Lane("redis://nowhere", deadline_s=PATIENCE_S)

    began_s = time.monotonic()
    with pytest.raises(StoreUnavailable, match="ZeroDivisionError: as it should"):
        await lane.exchange([("PING",)])

    assert time.monotonic() - began_s < PATIENCE_S / 2
    await lane.close()


async def test_who_left_before_its_turn_keeps_nobody_in_memory(server: EmbeddedServer) -> None:
    lane = Lane(server.url, deadline_s=PATIENCE_S)
    gone = asyncio.ensure_future(lane.exchange([("PING",)]))
    await asyncio.sleep(0)
    gone.cancel()

    for _ in range(100):
        await lane.exchange([("PING",)])

    assert len(lane._open) <= 1
    await lane.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_stops_and_dies_under_load_repeats_nothing(
    loop: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    """Each key is counted up once at most, though the server is stopped, killed and started in between."""
    node = Node(find_binary(), tmp_path / "node", ("--save", "", "--appendonly", "yes"))
    wait_until(lambda: node.ask("PING") == "PONG")
    chance = random.Random(1)
    fared: Counter[str] = Counter()
    is_over = False

    async def caller(lane: Lane, name: int) -> None:
        number = 0
        while not is_over:
            number += 1
            key = b"%d:%d" % (name, number)
            try:
                async with asyncio.timeout(chance.choice([None, None, 0.001])):
                    replies = await lane.exchange([("INCR", key), ("ECHO", key)])
                assert replies == [1, key]
                fared["answered"] += 1
            except (StoreUnavailable, TimeoutError):
                fared["failed"] += 1
                await asyncio.sleep(0.002)

    async def whole() -> None:
        nonlocal is_over
        lane = Lane(node.url, deadline_s=DEADLINE_S)
        callers = [asyncio.create_task(caller(lane, name)) for name in range(30)]
        for _ in range(3):
            await asyncio.sleep(0.1)
            node.send(signal.SIGSTOP)
            await asyncio.sleep(chance.choice([0.01, DEADLINE_S / 2, DEADLINE_S + 0.1]))
            node.send(signal.SIGCONT)
            await asyncio.sleep(0.1)
            node.kill()
            await asyncio.sleep(0.05)
            node.launch()
        await asyncio.to_thread(wait_until, lambda: node.ask("PING") == "PONG")
        answered = fared["answered"]
        async with asyncio.timeout(30):
            while fared["answered"] == answered:  # it comes back by itself
                await asyncio.sleep(0.01)
        is_over = True
        await asyncio.gather(*callers)
        await lane.close()

    complaints = run(LOOPS[loop], whole)
    node.kill()

    assert complaints == []
    assert fared["answered"] > 0
    assert fared["failed"] > 0


@pytest.mark.parametrize("loop", LOOPS)
def test_a_call_behind_a_silent_one_keeps_its_own_deadline(loop: str, tmp_path: Path) -> None:
    """The server wakes after the first caller's deadline and before the second's, who is served."""

    async def whole() -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                if b"HELLO" in data:
                    writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n" + b"+OK\r\n" * (data.count(b"\r\nCLIENT")))
                elif b"CLIENT" in data:
                    writer.write(b"+OK\r\n" * data.count(b"\r\nCLIENT"))
                elif b"first" in data:
                    await asyncio.sleep(1.3)
                    writer.write(b"+first\r\n")
                else:
                    writer.write(b"+second\r\n")
            writer.close()

        listening = await asyncio.start_unix_server(slow, tmp_path / "socket")
        lane = Lane(f"unix://{tmp_path}/socket", deadline_s=1.0)
        first = asyncio.create_task(lane.exchange([("ECHO", b"first")]))
        await asyncio.sleep(0.6)
        second = asyncio.create_task(lane.exchange([("ECHO", b"second")]))

        with pytest.raises(StoreUnavailable, match="1000 ms"):
            await first
        assert await second == [b"second"]
        await lane.close()
        listening.close()

    assert run(LOOPS[loop], whole) == []


async def test_no_more_batches_are_under_way_than_the_lane_allows(tmp_path: Path) -> None:
    seen = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while data := await reader.read(1 << 16):
            seen += data.count(b"ECHO")
            writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n" if b"HELLO" in data else b"+OK\r\n" * data.count(b"CLIENT"))
        writer.close()

    listening = await asyncio.start_unix_server(silent, tmp_path / "socket")
    lane = Lane(f"unix://{tmp_path}/socket", deadline_s=30.0)
    calls = []
    for number in range(3 * BATCHES_MAX):
        calls.append(asyncio.ensure_future(lane.exchange([("ECHO", b"%d" % number)])))
        await asyncio.sleep(0.02)

    await lane.close()

    assert {type(each) for each in await asyncio.gather(*calls, return_exceptions=True)} == {StoreUnavailable}
    assert seen == BATCHES_MAX
    listening.close()
