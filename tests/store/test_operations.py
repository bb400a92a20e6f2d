"""The store's page in the operations guide says what is so."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import redis

from decisioning.customer import partition_of
from decisioning.store.packing import fresh_state
from decisioning.store.protocol import Change, Claim, Committed, Delivery, Movement, Note, Once, Record
from decisioning.store.redis import connect
from tests.conftest import PATIENCE_MS
from tests.store.nodes import nodes_of

GUIDE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


async def test_the_rights_in_the_guide_are_enough(any_url: str) -> None:
    rights = re.search(r"ACL SETUSER nextbest on >secret (.+?)\n\n", GUIDE, re.DOTALL)
    assert rights
    for url in nodes_of(any_url):
        with redis.Redis.from_url(url) as client:
            client.execute_command(
                "ACL", "SETUSER", "nextbest", "reset", "on", ">secret", *rights[1].replace("\\", "").split()
            )
    store = connect(any_url.replace("://", "://nextbest:secret@"), deadline_ms=PATIENCE_MS)
    partition = partition_of("C-1")

    await store.ping()
    [snapshot] = await store.read(["C-1"])
    records, once = [Record("r", b"{}")], [Once("k", "v", ttl_s=60)]
    await store.commit([Change("C-1", 0, snapshot.state, records=records, once=once)])
    await store.commit([Change("C-1", 0, fresh_state())])
    await store.log(partition, after="0-0", limit=1)
    await store.find_record(f"{partition:03d}-{snapshot.now_ms:x}-{0:016x}")
    await store.log_size(partition)
    await store.trim(partition, before="1-0")
    await store.own("worker", "host", ttl_ms=1)
    await store.put("strategy", "a", b"")
    await store.get("strategy", "a")
    await store.names("strategy")
    await store.remove("strategy", "a")
    await store.customers_of(partition, ["p"])
    await store.append("folds", 1, b"")
    await store.entries("folds", after=0, limit=1)
    await store.latest("folds")
    await store.forget("folds", before=1)
    await store.note([Note(partition, "n", frozenset({"w"}), ttl_s=1)])
    await store.notes([(partition, "n")])
    moves = [Movement("spend", "b", 1), reserve := Movement("reserve", "b", 1, "r", until_ms=1), keep_of(reserve)]
    await store.claim([Claim(partition, "b", 0, 0, limit=9, wanted=9, ttl_s=60)])
    await store.deliver([Delivery(partition, "b", granted=9, is_exhausted=True)])
    [held] = await store.read(["C-1"], quotas=True)
    for move in moves:
        [outcome] = await store.commit([Change("C-1", held.state_version, None, movements=[move])])
        assert isinstance(outcome, Committed)
    await store.blocks([partition])
    await store.counters(["b"])
    await store.drop_blocks(partition, ["b"])
    await store.erase("C-1")
    await store.close()


def keep_of(reserve: Movement) -> Movement:
    return replace(reserve, kind="keep")


async def test_every_key_is_in_the_guide(store_url: str) -> None:
    store = connect(store_url, deadline_ms=PATIENCE_MS)
    records, once = [Record("r", b"{}")], [Once("k", "v", ttl_s=60)]
    await store.commit([Change("CUSTOMER", 0, fresh_state(), records=records, once=once)])
    await store.put("KIND", "a", b"")
    await store.own("JOB", "host", ttl_ms=1000)
    await store.append("NAME", 1, b"")
    await store.note([Note(0, "n", frozenset({"w"}), ttl_s=60)])
    await store.claim([Claim(0, "BUDGET", 0, 0, limit=1, wanted=1)])
    await store.deliver([Delivery(partition_of("CUSTOMER"), "BUDGET", granted=1)])
    [held] = await store.read(["CUSTOMER"])
    reserve = Movement("reserve", "BUDGET", 1, "r", until_ms=1)
    await store.commit([Change("CUSTOMER", held.state_version, None, movements=[reserve])])
    await store.close()

    with redis.Redis.from_url(store_url, decode_responses=True) as client:
        keys = {re.sub(r"\{p\d{3}\}", "{pNNN}", key) for key in client.scan_iter()}
    assert {re.sub(r":([on]):[0-9a-f]{32}$", r":\1:HASH", key) for key in keys} == set(re.findall(r"`(nb:\S+)`", GUIDE))
