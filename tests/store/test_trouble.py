"""A server or network in trouble: calls fail as unavailable, nothing is applied twice, and it ends by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from decisioning.customer import partition_of
from decisioning.errors import StoreUnavailable
from decisioning.store.embedded import EmbeddedServer, find_binary
from decisioning.store.packing import fresh_state
from decisioning.store.protocol import Change, Committed, Once, Record, Repeated
from decisioning.store.redis import RedisStore, connect
from tests.conftest import PATIENCE_MS
from tests.store.network import Network
from tests.store.nodes import PATIENCE_S, Node, wait_until

Result = TypeVar("Result")

CUSTOMERS = [f"C-{n}" for n in range(60)]
HASTY_MS = 100  # shorter than some exchanges through the bad network take
LOADING_US = 10_000  # that a server takes for each key it loads
IDLE = "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0"


@pytest.fixture
def node(tmp_path: Path, server: EmbeddedServer) -> Iterator[Node]:
    """A server of one test's own; `server` skips the test where there is no binary."""
    running = Node(find_binary(), tmp_path / "node", ("--appendonly", "yes", "--save", ""))
    wait_until(lambda: running.ask("PING") == "PONG")
    yield running
    running.kill()


async def sooner_or_later(act: Callable[[], Awaitable[Result]]) -> Result:
    """What comes of it once the store is available again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StoreUnavailable):
                return await act()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_through_a_bad_network_replies_reach_their_callers_and_nothing_happens_twice(
    seed: int, store: RedisStore, store_url: str
) -> None:
    chance = random.Random(seed)
    states = {key: fresh_state() for key in CUSTOMERS}
    await store.commit([Change(key, 0, state) for key, state in states.items()])
    fared: dict[str, int] = {"read": 0, "committed": 0, "unavailable": 0, "given up": 0}
    committed: list[str] = []

    async with Network(store_url, chance=chance, cut=0.05) as network:
        far = connect(network.url, deadline_ms=HASTY_MS)

        async def read() -> None:
            wanted = chance.choices(CUSTOMERS, k=chance.randint(1, 4))
            snapshots = await far.read(wanted)
            assert [each.customer_key for each in snapshots] == wanted
            assert [each.state.person_key for each in snapshots] == [states[key].person_key for key in wanted]
            fared["read"] += 1

        async def commit(record_id: str) -> None:
            [snapshot] = await far.read([chance.choice(CUSTOMERS)])
            change = Change(snapshot.customer_key, snapshot.state_version, snapshot.state)
            [outcome] = await far.commit([change_with(change, record_id)])
            assert not isinstance(outcome, Repeated)
            if isinstance(outcome, Committed):
                committed.append(record_id)
                fared["committed"] += 1

        async def one(number: int) -> None:
            try:
                async with asyncio.timeout(chance.choice([0.003, 5, 5, 5])):
                    await (read() if chance.random() < 0.5 else commit(f"r-{number}"))
            except StoreUnavailable:
                fared["unavailable"] += 1
            except TimeoutError:
                fared["given up"] += 1

        for start in range(0, 480, 12):
            await asyncio.gather(*(one(number) for number in range(start, start + 12)))
        await far.close()

    logged = [
        entry.record.record_id for p in {partition_of(key) for key in CUSTOMERS} for entry in await whole(store, p)
    ]
    assert len(logged) == len(set(logged))
    assert set(committed) <= set(logged)
    assert min(fared.values()) > 0, fared


def change_with(change: Change, record_id: str) -> Change:
    change.records.append(Record(record_id, b"{}"))
    change.once.append(Once(record_id, "", ttl_s=60))
    return change


async def whole(store: RedisStore, partition: int) -> list:
    return await store.log(partition, after="0-0", limit=100_000)


async def test_a_connection_reset_in_the_middle_of_a_reply_is_made_anew(store_url: str) -> None:
    async with Network(store_url, chance=random.Random(1), cut=0.3) as network:
        store = connect(network.url, deadline_ms=PATIENCE_MS)
        outcomes = await asyncio.gather(*(store.read([f"C-{n}"]) for n in range(20)), return_exceptions=True)
        for n in range(20):
            outcomes += await asyncio.gather(store.read([f"C-{n}"]), return_exceptions=True)
        await store.close()

    failed = [each for each in outcomes if isinstance(each, BaseException)]
    assert {type(each) for each in failed} == {StoreUnavailable}
    assert 0 < len(failed) < len(outcomes)


async def test_a_server_that_loads_its_data_is_unavailable_until_it_has_them(node: Node) -> None:
    store = connect(node.url, deadline_ms=PATIENCE_MS)
    await store.commit([Change(key, 0, fresh_state()) for key in CUSTOMERS])
    node.ask("BGREWRITEAOF")  # into a snapshot: while it loads one of these, a server answers
    wait_until(lambda: "aof_base_size:0" not in (told := node.ask("INFO", "persistence")) and IDLE in told)
    node.kill()

    node.launch("--key-load-delay", str(LOADING_US), "--loading-process-events-interval-bytes", "1024")
    troubles = set()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                snapshots = await store.read(CUSTOMERS)
                break
            except StoreUnavailable as error:
                troubles.add("loading" if "loading" in str(error) else "away")
                await asyncio.sleep(0.01)
    await store.close()

    assert "loading" in troubles
    assert all(each.state_version > 0 for each in snapshots)


async def test_a_server_that_cannot_save_refuses_commits_whole_until_it_can(node: Node, tmp_path: Path) -> None:
    """MISCONF: with save points, a failed snapshot stops all writing."""
    store = connect(node.url, deadline_ms=PATIENCE_MS)
    await store.ping()
    (tmp_path / "node" / "dump.rdb").mkdir()
    node.ask("CONFIG", "SET", "save", "3600 1000000")
    node.ask("BGSAVE")
    wait_until(lambda: "rdb_last_bgsave_status:err" in node.ask("INFO", "persistence"))

    with pytest.raises(StoreUnavailable, match="MISCONF"):
        await store.commit([Change("C-1", 0, fresh_state(), records=[Record("r", b"{}")])])
    [meanwhile] = await store.read(["C-1"])
    node.ask("CONFIG", "SET", "save", "")
    [outcome] = await store.commit([Change("C-1", 0, fresh_state())])
    await store.close()

    assert meanwhile.state_version == 0
    assert isinstance(outcome, Committed)


async def test_when_a_server_has_become_a_replica_its_name_is_looked_up_again(
    node: Node, server: EmbeddedServer
) -> None:
    """A name that leads to the primary, such as a virtual address, is moved; connections to the old one stay open."""
    async with Network(node.url) as network:
        store = connect(network.url, deadline_ms=PATIENCE_MS)
        await store.ping()
        node.ask("REPLICAOF", "127.0.0.1", "1")
        network.upstream = server.url

        with pytest.raises(StoreUnavailable, match="read only"):
            await store.commit([Change("C-moved", 0, fresh_state())])
        [outcome] = await sooner_or_later(lambda: store.commit([Change("C-moved", 0, fresh_state())]))
        await store.close()

    assert isinstance(outcome, Committed)


async def test_an_answer_that_was_lost_is_known_by_its_once_key(node: Node) -> None:
    """The commit ran and its reply was lost: the caller asks again and learns that it had happened."""
    change = Change("C-1", 0, fresh_state(), once=[Once("k", "first", ttl_s=60)])
    async with Network(node.url) as network:
        store = connect(network.url, deadline_ms=HASTY_MS)
        await sooner_or_later(
            lambda: store.commit([Change("C-0", 0, fresh_state())])
        )  # the server knows the script now
        network.is_one_way = True
        with pytest.raises(StoreUnavailable):
            await store.commit([change])
        network.is_one_way = False

        [again] = await sooner_or_later(lambda: store.commit([change]))
        await store.close()

    assert again == Repeated(["first"])
