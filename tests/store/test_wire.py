"""The wire under trouble: it answers or fails within its deadline, never crosses replies, and recovers by itself."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from decisioning.customer import Snapshot
from decisioning.errors import StoreUnavailable
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.lane import BATCHES_MAX
from decisioning.store.packing import fresh_state
from decisioning.store.protocol import Change, Committed, Lost, Once, Record
from decisioning.store.redis import RedisStore, connect
from tests.conftest import PATIENCE_MS

DEADLINE_MS = 200
NEVER_MS = 3_600_000  # the deadline of a store that must not need it
PATIENCE_S = 30  # far beyond what a busy machine takes: only what hangs gets there


@contextmanager
def frozen(server: EmbeddedServer) -> Iterator[None]:
    """The server accepts connections and commands, and answers nothing."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
async def hasty_store(store_url: str) -> AsyncIterator[RedisStore]:
    store = connect(store_url, deadline_ms=DEADLINE_MS)
    yield store
    await store.close()


def change(customer_key: str) -> Change:
    return Change(customer_key, 0, fresh_state())


async def read_again(store: RedisStore, customer_key: str) -> Snapshot:
    """Read by a hasty store after trouble; on a busy machine even a sound answer can take longer than it waits."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StoreUnavailable):
                [snapshot] = await store.read([customer_key])
                return snapshot


async def test_a_silent_server_is_unavailable_by_the_deadline_and_fine_afterwards(
    server: EmbeddedServer, hasty_store: RedisStore
) -> None:
    await hasty_store.ping()

    with frozen(server):  # for as long as the reads take, so that nothing but the deadline can end them
        async with asyncio.timeout(PATIENCE_S):
            results = await asyncio.gather(*(hasty_store.read([f"C-{n}"]) for n in range(50)), return_exceptions=True)

    assert {type(result) for result in results} == {StoreUnavailable}
    snapshot = await read_again(hasty_store, "C-1")
    assert snapshot.customer_key == "C-1"


async def test_a_caller_who_gives_up_before_its_turn_has_sent_nothing(
    server: EmbeddedServer, hasty_store: RedisStore
) -> None:
    with frozen(server):
        reads = []
        for _ in range(BATCHES_MAX):
            reads.append(asyncio.ensure_future(hasty_store.read(["C-1"])))
            await asyncio.sleep(0.01)  # so that each is a batch of its own
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(DEADLINE_MS / 4000):
                await hasty_store.commit([change("C-1")])
        await asyncio.gather(*reads, return_exceptions=True)

    snapshot = await read_again(hasty_store, "C-1")
    assert snapshot.state_version == 0


async def test_without_a_server_every_call_fails_at_once(tmp_path: Path) -> None:
    store = connect(f"unix://{tmp_path}/nobody.sock", deadline_ms=NEVER_MS)

    async with asyncio.timeout(PATIENCE_S):
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"nobody\.sock"):
                await store.ping()

    await store.close()


async def test_a_restarted_server_is_found_again_without_an_error(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server:
        store = connect(server.url, deadline_ms=PATIENCE_MS)
        await store.commit([change("C-1")])
    with pytest.raises(StoreUnavailable):
        await store.ping()

    with EmbeddedServer.start(tmp_path):
        [snapshot] = await store.read(["C-1"])
        [outcome] = await store.commit([Change("C-1", snapshot.state_version, snapshot.state)])
        await store.close()

    assert isinstance(outcome, Committed)


async def test_a_server_that_forgot_the_scripts_is_taught_again(store: RedisStore, store_url: str) -> None:
    await store.commit([change("C-1")])
    with redis.Redis.from_url(store_url) as client:
        client.script_flush()

    outcomes = await store.commit([change("C-1"), change("C-2")])

    assert [type(outcome) for outcome in outcomes] == [Lost, Committed]


async def test_a_full_server_refuses_commits_whole_and_still_reads_and_trims(store: RedisStore, store_url: str) -> None:
    with redis.Redis.from_url(store_url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                await store.commit([change("C-1")])
            assert (await store.read(["C-1"]))[0].state_version == 0
            await store.trim(0, before="1-0")
        finally:
            client.config_set("maxmemory", 0)

        assert client.keys() == []


async def test_an_unfit_time_to_live_is_refused_and_has_written_nothing(store: RedisStore, store_url: str) -> None:
    faulty = Change("C-1", 0, fresh_state(), records=[Record("r", b"{}")], once=[Once("k", "v", ttl_s=0)])

    with pytest.raises(StoreUnavailable, match="expire"):
        await store.commit([faulty])

    with redis.Redis.from_url(store_url) as client:
        assert client.keys() == []


async def test_callers_who_leave_never_cross_the_replies_of_those_who_stay(store: RedisStore) -> None:
    keys = [f"C-{n}" for n in range(100)]
    states = {key: fresh_state() for key in keys}
    await store.commit([Change(key, 0, state) for key, state in states.items()])
    chance = random.Random(7)

    async def read_some() -> None:
        wanted = chance.choices(keys, k=chance.randint(1, 5))
        try:
            async with asyncio.timeout(chance.choice([0, 0.0005, 0.001, 5])):
                snapshots = await store.read(wanted)
        except TimeoutError:
            return
        assert [snapshot.state for snapshot in snapshots] == [states[key] for key in wanted]

    for _ in range(10):
        await asyncio.gather(*(read_some() for _ in range(100)))


async def test_many_callers_share_a_connection(store_url: str) -> None:
    store = connect(f"{store_url}?client_name=sharing", deadline_ms=PATIENCE_MS)

    await asyncio.gather(*(store.read([f"C-{n}"]) for n in range(500)))

    with redis.Redis.from_url(store_url) as client:
        names = [connection["name"] for connection in client.client_list()]
    assert names.count("sharing") == 1
    await store.close()


async def test_a_closed_store_fails_those_who_wait(server: EmbeddedServer, store_url: str) -> None:
    store = connect(store_url, deadline_ms=NEVER_MS)

    with frozen(server):
        calls = [asyncio.ensure_future(store.read(["C-1"])) for _ in range(3)]
        await asyncio.sleep(0.02)  # so that some are under way
        async with asyncio.timeout(PATIENCE_S):
            await store.close()
            results = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(result) for result in results} == {StoreUnavailable}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "redis://a:1,b:2", "redis+cluster://a:1,b:two", "file+cluster://a"]
)
def test_an_unreadable_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"scheme|[Pp]ort"):
        connect(url)


@pytest.mark.parametrize("option", ["foo=bar", "ssl_cert_reqs=none", "retry=3", "protocol=x"])
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_an_option_that_nobody_knows_is_refused_at_once(scheme: str, option: str) -> None:
    with pytest.raises(ValueError, match=r"foo|ssl_cert_reqs|option|protocol"):
        connect(f"{scheme}://127.0.0.1:1?{option}")
