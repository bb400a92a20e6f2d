"""The memory twin and the real store agree on every outcome of random histories."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decisioning.customer import Profile, Snapshot, SourceFacts, partition_of
from decisioning.store.memory import MemoryStore
from decisioning.store.packing import fresh_state
from decisioning.store.protocol import Change, Committed, Lost, Once, Record, Repeated, Store
from decisioning.store.redis import connect
from tests.conftest import PATIENCE_MS
from tests.store.once import left

CUSTOMERS = st.sampled_from(["C-1", "C-2"])
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("commit"),
            CUSTOMERS,
            st.integers(0, 2),  # how many commits the expected version lags behind
            st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True),  # once-keys
            st.integers(0, 2),  # records
            st.booleans(),  # with a profile
        ),
        st.tuples(st.just("erase"), CUSTOMERS),
        st.tuples(st.just("trim"), CUSTOMERS, st.integers(0, 3)),
    ),
    max_size=25,
)


class Teller:
    """Carries steps out on one store and tells what came of them, without clocks, versions and positions."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.versions: dict[str, list[int]] = {}  # of each customer, newest last

    async def tell(self, index: int, step: tuple[Any, ...]) -> list[Any]:
        verb, customer_key, *rest = step
        told = await getattr(self, verb)(index, customer_key, *rest)
        return [told, await self.view(customer_key)]

    async def commit(
        self, index: int, customer_key: str, lag: int, once_keys: list[str], record_count: int, with_profile: bool
    ) -> object:
        versions = self.versions.setdefault(customer_key, [0])
        state = replace(fresh_state(), person_key=str(index), assignment_key="", sealing_key="", draw_index=index)
        profile = Profile({"crm": SourceFacts(index, {"step": index})}) if with_profile else None
        records = [Record(f"{index}-{number}", b"{}") for number in range(record_count)]
        once = [Once(key, f"{index} {key}", ttl_s=600) for key in once_keys]
        change = Change(customer_key, versions[-1 - min(lag, len(versions) - 1)], state, profile, records, once)
        [outcome] = await self.store.commit([change])
        match outcome:
            case Committed(version):
                versions.append(version)
                return "committed"
            case Lost(snapshot):
                return self.facts(snapshot)
            case Repeated(values):
                return values

    async def erase(self, index: int, customer_key: str) -> object:
        return await self.store.erase(customer_key)

    async def trim(self, index: int, customer_key: str, keep_from: int) -> object:
        entries = await self.store.log(partition_of(customer_key), after="0-0", limit=100)
        if keep_from < len(entries):
            await self.store.trim(partition_of(customer_key), before=entries[keep_from].position)
        return len(entries)

    async def view(self, customer_key: str) -> list[object]:
        [snapshot] = await self.store.read([customer_key])
        entries = await self.store.log(partition_of(customer_key), after="0-0", limit=100)
        once = [await left(self.store, customer_key, key) for key in "xyz"]
        people = await people_of(self.store, customer_key)
        return [self.facts(snapshot), [entry.record for entry in entries], once, people]

    @staticmethod
    def facts(snapshot: Snapshot) -> object:
        return (snapshot.state, snapshot.profile) if snapshot.state_version else "unknown"


async def people_of(store: Store, customer_key: str) -> list[str | None]:
    """Whom each step's person key leads to; a step's number is its person key."""
    return await store.customers_of(partition_of(customer_key), [str(index) for index in range(1, 26)])


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_both_stores_tell_the_same_story(store_url: str, runner: asyncio.Runner, steps: list[tuple[Any, ...]]) -> None:
    with redis.Redis.from_url(store_url) as client:
        client.flushall()

    async def tell_both() -> None:
        store = connect(store_url, deadline_ms=PATIENCE_MS)
        real, twin = Teller(store), Teller(MemoryStore())
        for index, step in enumerate(steps, start=1):
            assert await real.tell(index, step) == await twin.tell(index, step)
        await store.close()

    runner.run(tell_both())
