"""A cluster in trouble: only what a lost node held is unavailable, and nobody has to be started again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from decisioning.customer import partition_of
from decisioning.errors import StoreUnavailable
from decisioning.store.cluster import Cluster
from decisioning.store.embedded import EmbeddedServer, find_binary
from decisioning.store.packing import fresh_state
from decisioning.store.protocol import Change, Committed, Once, Record
from decisioning.store.redis import RedisStore, connect
from tests.conftest import PATIENCE_MS
from tests.store.conftest import emptied
from tests.store.nodes import PATIENCE_S, ClusterOfNodes, Node, free_port, wait_until
from tests.store.once import left

Result = TypeVar("Result")

HASTY_MS = 300
UNUSED_SLOT = 0  # the first primary's, and of no partition
NODE_TIMEOUT_MS = 500  # after which the other nodes replace one


def key_on(cluster: ClusterOfNodes, node: Node) -> str:
    """A customer whom this primary holds."""
    keys = (f"C-{n}" for n in range(10_000))
    return next(key for key in keys if cluster.holder_of(f"{{p{partition_of(key):03d}}}") is node)


async def sooner_or_later(act: Callable[[], Awaitable[Result]]) -> Result:
    """What comes of it once the store is available again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StoreUnavailable):
                return await act()
            await asyncio.sleep(0.01)


async def bumped(store: RedisStore, key: str) -> bool:
    """Read and commit once."""
    [snapshot] = await store.read([key])
    change = Change(key, snapshot.state_version, snapshot.state, records=[Record(f"r-{snapshot.state_version}", b"{}")])
    [outcome] = await store.commit([change])
    return isinstance(outcome, Committed)


@pytest.fixture
def empty_cluster(cluster: ClusterOfNodes) -> ClusterOfNodes:
    emptied(cluster)
    return cluster


@pytest.fixture
def replicated(tmp_path: Path, server: EmbeddedServer) -> Iterator[ClusterOfNodes]:
    """Three primaries, of which the first has a replica; `server` skips the test where there is no binary."""
    options = "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no"
    started = ClusterOfNodes.start(find_binary(), tmp_path, replicas=1, options=options)
    yield started
    started.stop()


async def test_a_plain_url_of_one_node_is_enough(empty_cluster: ClusterOfNodes) -> None:
    store = connect(empty_cluster.primaries[1].url, deadline_ms=PATIENCE_MS)

    keys = [key_on(empty_cluster, node) for node in empty_cluster.primaries]
    outcomes = await store.commit([Change(key, 0, fresh_state()) for key in keys])
    await store.close()

    assert {type(outcome) for outcome in outcomes} == {Committed}
    assert [node.ask("DBSIZE") for node in empty_cluster.primaries] == ["1", "1", "1"]


async def test_a_start_needs_one_living_node_of_those_named(empty_cluster: ClusterOfNodes) -> None:
    living, dead = empty_cluster.primaries[0].port, free_port()
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    deaf = silent.sockets[0].getsockname()[1]

    async with silent:
        store = connect(
            f"redis+cluster://127.0.0.1:{dead},127.0.0.1:{deaf},127.0.0.1:{living}/0", deadline_ms=PATIENCE_MS
        )
        async with asyncio.timeout(PATIENCE_MS / 2000):
            await store.ping()
        await store.close()


async def test_without_any_node_every_call_fails_at_once() -> None:
    store = connect(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{free_port()}", deadline_ms=PATIENCE_MS)

    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="none of the nodes"):
            await store.ping()

    await store.close()


async def test_a_silent_node_delays_nobody_who_does_not_ask_it(empty_cluster: ClusterOfNodes) -> None:
    """Many calls wait for the silent one, while the others are read without a failure."""
    store = connect(empty_cluster.url, deadline_ms=HASTY_MS)
    patient = connect(empty_cluster.url, deadline_ms=PATIENCE_MS)
    silent, sound, _ = empty_cluster.primaries
    lost, kept = key_on(empty_cluster, silent), key_on(empty_cluster, sound)
    await sooner_or_later(lambda: store.read([lost, kept]))
    await patient.read([lost, kept])

    silent.send(signal.SIGSTOP)
    try:
        waiting = [asyncio.ensure_future(patient.read([lost])) for _ in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_MS / 2000):
            for _ in range(50):
                await patient.read([kept])
        failures = await asyncio.gather(*(store.read([lost]) for _ in range(50)), return_exceptions=True)
    finally:
        silent.send(signal.SIGCONT)

    assert {type(each) for each in failures} == {StoreUnavailable}
    assert [[snapshot.customer_key] for [snapshot] in await asyncio.gather(*waiting)] == [[lost]] * 50
    assert await sooner_or_later(lambda: store.read([lost]))
    await store.close()
    await patient.close()


@contextmanager
def moving_slot(cluster: ClusterOfNodes, tag: str) -> Iterator[tuple[Node, Node, str]]:
    """The slot of a hash tag on its way from the first primary to the second, as resharding begins it; later it is back
    where it was, empty.
    """
    source, target, _ = cluster.primaries
    slot = source.ask("CLUSTER", "KEYSLOT", tag)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.name)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.name)
    try:
        yield source, target, slot
    finally:
        emptied(cluster)
        for node in cluster.primaries:
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", source.name)


async def test_a_slot_that_moves_is_followed(empty_cluster: ClusterOfNodes) -> None:
    """Key by key, as resharding does it. Meanwhile commits are refused whole, because not all of their keys exist."""
    store = connect(empty_cluster.url, deadline_ms=PATIENCE_MS)
    key = key_on(empty_cluster, empty_cluster.primaries[0])
    tag = f"{{p{partition_of(key):03d}}}"
    await bumped(store, key)
    [before] = await store.read([key])

    with moving_slot(empty_cluster, tag) as (source, target, slot):
        for name in (f"c:{key}", "log", "people"):
            source.ask("MIGRATE", "127.0.0.1", target.port, f"nb:{tag}:{name}", 0, 5000)
        [meanwhile] = await store.read([key])  # ASK leads to it
        with pytest.raises(StoreUnavailable, match="rehashing"):
            await bumped(store, key)
        for node in empty_cluster.primaries:
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.name)
        assert await bumped(store, key)  # MOVED does
        [after] = await store.read([key])
        logged = await store.log(partition_of(key), after="0-0", limit=10)
    await store.close()

    assert (meanwhile.state_version, after.state_version) == (before.state_version, before.state_version + 1)
    assert after.state == before.state
    assert len(logged) == 2


async def test_a_replica_that_takes_over_is_found_and_nobody_else_notices(replicated: ClusterOfNodes) -> None:
    """The primary is killed, the cluster promotes its replica; then the old one comes back, as a replica."""
    store = connect(replicated.url, deadline_ms=PATIENCE_MS)
    killed, *others = replicated.primaries
    lost, kept = key_on(replicated, killed), [key_on(replicated, node) for node in others]
    for key in (lost, *kept):
        assert await bumped(store, key)
    wait_until(lambda: killed.ask("WAIT", "1", "100") == "1")

    killed.kill()
    with pytest.raises(StoreUnavailable):
        await store.read([lost])
    takeover = asyncio.ensure_future(sooner_or_later(lambda: store.read([lost])))
    while not takeover.done():
        assert [each.state_version > 0 for each in await store.read(kept)] == [True, True]
        await asyncio.sleep(0.01)
    [promoted] = await takeover
    assert promoted.state_version > 0
    assert await bumped(store, lost)

    killed.launch()
    wait_until(lambda: not killed.is_primary)
    assert await bumped(store, lost)
    fresh = connect(killed.url, deadline_ms=PATIENCE_MS)  # now a replica: good enough to ask for the map
    assert await bumped(fresh, lost)
    await store.close()
    await fresh.close()


async def test_where_full_coverage_is_required_a_slot_that_nobody_holds_stops_all_until_somebody_does(
    empty_cluster: ClusterOfNodes,
) -> None:
    store = connect(empty_cluster.url, deadline_ms=PATIENCE_MS)
    keys = [key_on(empty_cluster, node) for node in empty_cluster.primaries]
    await store.read(keys)

    for node in empty_cluster.primaries:
        node.ask("CLUSTER", "DELSLOTS", UNUSED_SLOT)
    refused = await asyncio.gather(*(store.read([key]) for key in keys), return_exceptions=True)
    empty_cluster.primaries[0].ask("CLUSTER", "ADDSLOTS", UNUSED_SLOT)

    assert {type(each) for each in refused} == {StoreUnavailable}
    assert {"cluster is down" in str(each) for each in refused} == {True}
    assert await sooner_or_later(lambda: store.read(keys))
    wait_until(lambda: all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in empty_cluster.primaries))
    await store.close()


async def test_a_slot_that_nobody_holds_is_told_without_the_customer_who_would_be_there() -> None:
    cluster = Cluster([f"redis://127.0.0.1:{free_port()}"], deadline_s=1.0)
    cluster._holders = [""] * REDIS_CLUSTER_HASH_SLOTS

    with pytest.raises(StoreUnavailable, match=f"holds slot {key_slot(b'x:C-1')}$"):
        await cluster.exchange([("GET", b"x:C-1")])
    await cluster.close()


async def test_a_call_for_several_nodes_is_one_answer_or_none(empty_cluster: ClusterOfNodes) -> None:
    store = connect(empty_cluster.url, deadline_ms=PATIENCE_MS)
    keys = [f"C-{n}" for n in range(100)]
    changes = [Change(key, 0, fresh_state(), once=[Once("k", key, ttl_s=60)]) for key in keys]

    outcomes = await store.commit(changes)
    snapshots = await store.read(keys)
    marks = await asyncio.gather(*(left(store, key, "k") for key in keys))
    await store.close()

    assert {type(outcome) for outcome in outcomes} == {Committed}
    assert [each.customer_key for each in snapshots] == marks == keys
    assert all(int(node.ask("DBSIZE")) > 40 for node in empty_cluster.primaries)


async def test_a_slot_that_moves_as_a_whole_disturbs_nobody(empty_cluster: ClusterOfNodes) -> None:
    """As Valkey 9 does it: the slot changes hands at once, when the new node has everything."""
    store = connect(empty_cluster.url, deadline_ms=PATIENCE_MS)
    source, target, _ = empty_cluster.primaries
    if "MIGRATESLOTS" not in source.ask("CLUSTER", "HELP"):
        pytest.skip("the server is older than Valkey 9")
    key = key_on(empty_cluster, source)
    slot = source.ask("CLUSTER", "KEYSLOT", f"{{p{partition_of(key):03d}}}")
    outcomes = [await bumped(store, key)]

    for here, there in ((source, target), (target, source)):
        here.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", there.name)
        while here.ask("CLUSTER", "COUNTKEYSINSLOT", slot) != "0":
            outcomes.append(await bumped(store, key))
    logged = await store.log(partition_of(key), after="0-0", limit=100_000)
    await store.close()

    assert len(outcomes) > 3 and all(outcomes)
    assert len(logged) == len(outcomes)
