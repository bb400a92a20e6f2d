"""The worker moves every record once, whatever is killed, repeated or unreadable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from decisioning.errors import StoreUnavailable
from decisioning.history.reader import find_decisions, open_history
from decisioning.history.worker import Pace, Progress, run_worker
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import LogEntry, Record
from tests.history.record_examples import AT_MS, append, decision, logged, response

QUICK = Pace(flush_ms=1)


@asynccontextmanager
async def working(store: MemoryStore, directory: Path, pace: Pace = QUICK) -> AsyncIterator[Progress]:
    """A worker beside the test, stopped in order at the end; yields its progress."""
    stop, progress = asyncio.Event(), Progress()

    def keep(latest: Progress) -> None:
        for name in Progress.__slots__:
            setattr(progress, name, getattr(latest, name))

    task = asyncio.create_task(run_worker(store, directory, poll_ms=5, stop=stop, on_progress=keep, pace=pace))
    yield progress
    stop.set()
    await task


async def until(progress: Progress, moved: int) -> None:
    async with asyncio.timeout(20):
        while progress.moved < moved:
            await asyncio.sleep(0.005)


def ids(directory: Path, dataset: str = "decisions") -> list[str]:
    column = f"{dataset[:-1]}_id"
    return [row[0] for row in open_history(directory).execute(f"SELECT {column} FROM {dataset} ORDER BY 1").fetchall()]


async def test_a_record_comes_back_from_history_as_it_was_logged(tmp_path: Path) -> None:
    store = MemoryStore()
    one = decision(1, added_later={"by": "a newer service"})
    await append(store, 1, logged(one), logged(response(1)))

    async with working(store, tmp_path) as progress:
        await until(progress, 2)

    assert find_decisions(tmp_path, [one["decision_id"]]) == {one["decision_id"]: one}
    assert ids(tmp_path, "responses") == ["r1"]


async def test_a_repeated_record_is_kept_once_within_a_batch_and_across_batches(tmp_path: Path) -> None:
    store = MemoryStore()
    await append(store, 1, logged(decision(1)), logged(decision(1)))

    async with working(store, tmp_path) as progress:
        await until(progress, 2)
        await append(store, 1, logged(decision(1)), logged(decision(2)))
        await until(progress, 4)

    assert ids(tmp_path) == sorted([decision(1)["decision_id"], decision(2)["decision_id"]])


UNREADABLE = {
    "not JSON": b"{",
    "not an object": b"[1]",
    "NaN": b'{"kind": "decision", "at_ms": NaN}',
    "unknown kind": b'{"kind": "guess"}',
    "kind of another type": b'{"kind": ["decision"]}',
    "no fields": b'{"kind": "decision"}',
    "text for a time": json.dumps(decision(1) | {"at_ms": "now"}).encode(),
    "a time without a day": json.dumps(decision(1) | {"at_ms": 10**15}).encode(),
    "more than a float holds": json.dumps(decision(1, arm_probability=10**400)).encode(),
    "more than 64 bits": json.dumps(decision(1, draw_index=2**70)).encode(),
    "half a surrogate pair": json.dumps(decision(1, channel="\ud800")).encode(),
    "half a surrogate pair inside JSON": json.dumps(decision(1, context={"\ud800": 1})).encode(),
    "placements of another shape": json.dumps(decision(1, placements=[1])).encode(),
    "another id": json.dumps(decision(2)).encode(),
    "too deep": b"[" * 100_000,
    "not UTF-8": b'{"kind": "\xff"}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_an_unreadable_record_is_set_aside_and_does_not_block(tmp_path: Path, body: bytes) -> None:
    store = MemoryStore()
    readable = decision(3)
    poison = Record(decision(1)["decision_id"], body)
    await append(store, 1, poison, logged(readable))

    async with working(store, tmp_path) as progress:
        await until(progress, 2)

    [line] = [line for path in (tmp_path / "rejected").iterdir() for line in path.read_text().splitlines()]
    assert progress.rejected == 1
    assert json.loads(line)["record_id"] == poison.record_id and json.loads(line)["reason"]
    assert ids(tmp_path) == [readable["decision_id"]]


async def test_odd_text_survives_the_way_through_files(tmp_path: Path) -> None:
    store = MemoryStore()
    odd = decision(1, api_key="a\x00b\u2028\"'\\\n😀", context={"page": "\x00", "": [1, 2.5, None, {"a": "\\u0000"}]})
    await append(store, 1, logged(odd))

    async with working(store, tmp_path / "it's [odd] *") as progress:
        await until(progress, 1)

    found = find_decisions(tmp_path / "it's [odd] *", [odd["decision_id"]])
    assert found == {odd["decision_id"]: odd}


async def test_a_second_worker_waits_and_takes_over(tmp_path: Path) -> None:
    store = MemoryStore()
    async with working(store, tmp_path) as first:
        await append(store, 1, logged(decision(1)))
        await until(first, 1)
        async with working(store, tmp_path) as same_directory, working(store, tmp_path / "other") as other:
            await asyncio.sleep(0.1)
            waited = not same_directory.owner and not other.owner

    async with working(store, tmp_path) as later:
        await append(store, 2, logged(decision(2)))
        await until(later, 1)

    assert waited
    assert ids(tmp_path) == sorted([decision(1)["decision_id"], decision(2)["decision_id"]])


async def test_a_worker_that_loses_the_lease_drops_its_batch(tmp_path: Path) -> None:
    class Stolen(MemoryStore):
        stolen = False

        async def own(self, resource: str, owner: str, *, ttl_ms: int) -> bool:
            return not self.stolen

        async def log(self, partition: int, *, after: str, limit: int) -> list[LogEntry]:
            entries = await super().log(partition, after=after, limit=limit)
            self.stolen = self.stolen or bool(entries)
            return entries

    store = Stolen()
    async with working(store, tmp_path) as progress:
        await append(store, 1, logged(decision(1)))
        await asyncio.sleep(0.3)

    assert progress.moved == 0 and not progress.owner
    assert ids(tmp_path) == []


async def test_trouble_with_the_store_is_reported_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flaky(MemoryStore):
        down = True

        async def log(self, partition: int, *, after: str, limit: int) -> list[LogEntry]:
            if self.down:
                raise StoreUnavailable("no answer")
            return await super().log(partition, after=after, limit=limit)

    monkeypatch.setattr("decisioning.history.worker.TROUBLE_PAUSE_MS", 10)
    store = Flaky()
    await append(store, 1, logged(decision(1)))
    async with working(store, tmp_path) as progress:
        async with asyncio.timeout(5):
            while "no answer" not in progress.trouble:
                await asyncio.sleep(0.005)
        store.down = False
        await until(progress, 1)

    assert ids(tmp_path) == [decision(1)["decision_id"]]


async def test_records_stay_in_the_store_until_moved_and_older_than_the_retention(tmp_path: Path) -> None:
    clock = AT_MS
    store = MemoryStore(clock=lambda: clock)
    await append(store, 1, logged(decision(1)))
    partition = int(decision(1)["decision_id"][:3])
    kept_all = Pace(flush_ms=1, retention_ms=10**13)

    async with working(store, tmp_path, kept_all) as progress:
        await until(progress, 1)
    held = await store.log(partition, after="0-0", limit=9)
    clock += 1
    await append(store, 1, logged(decision(1, at_ms=AT_MS + 1)))
    async with working(store, tmp_path, Pace(flush_ms=10**9, retention_ms=-(10**13))):
        await asyncio.sleep(0.1)
        after_trim = await store.log(partition, after="0-0", limit=9)

    # The last moved record stays until one behind it is moved: a trim keeps the position it is given.
    assert len(held) == 1
    assert [entry.position for entry in after_trim] == [f"{AT_MS}-0", f"{AT_MS + 1}-0"]


async def test_records_leave_the_store_with_the_next_batch_and_not_with_the_next_upkeep(tmp_path: Path) -> None:
    clock = AT_MS
    store = MemoryStore(clock=lambda: clock)
    one, two = decision(1), decision(1, at_ms=AT_MS + 1)
    await append(store, 1, logged(one))
    async with working(store, tmp_path, Pace(flush_ms=1, retention_ms=-(10**13))) as progress, asyncio.timeout(20):
        while not progress.stored_bytes:  # what the first upkeep found
            await asyncio.sleep(0.005)
        clock += 1
        await append(store, 1, logged(two))
        while await store.find_record(one["decision_id"]):
            await asyncio.sleep(0.005)

    assert await store.find_record(two["decision_id"])


async def test_the_oldest_records_leave_the_store_when_all_take_more_than_they_may(tmp_path: Path) -> None:
    now_ms = AT_MS
    store = MemoryStore(clock=lambda: now_ms)
    logs = []
    for number in range(40):
        now_ms += 60_000 if number < 20 else 1  # the second half comes in a burst
        logs.append(logged(decision(1, at_ms=now_ms)))
        await append(store, 1, logs[-1])
    room = sum(len(each.body) for each in logs[-10:])

    async with working(store, tmp_path, Pace(flush_ms=1, retention_ms=10**13)) as progress:
        await until(progress, 40)
    stored = await trimmed(store, tmp_path, Pace(flush_ms=10**9, retention_ms=10**13, retention_bytes=room))

    kept = [each.record_id for each in logs if await store.find_record(each.record_id)]
    assert stored <= room
    assert 1 < len(kept) <= 10 and kept == [each.record_id for each in logs[-len(kept) :]]


async def test_what_is_not_in_history_yet_stays_however_much_it_is(tmp_path: Path) -> None:
    store = MemoryStore()
    await append(store, 1, logged(decision(1)))
    async with working(store, tmp_path) as progress:
        await until(progress, 1)
    for number in range(2, 6):
        await append(store, number, logged(decision(number)))

    await trimmed(store, tmp_path, Pace(flush_ms=10**9, retention_ms=0, retention_bytes=1))

    for number in range(2, 6):
        partition = int(decision(number)["decision_id"][:3])
        assert len(await store.log(partition, after="0-0", limit=9)) == 1


async def trimmed(store: MemoryStore, directory: Path, pace: Pace) -> int:
    """What records take in the store after a worker's first upkeep."""
    async with working(store, directory, pace) as progress, asyncio.timeout(20):
        while not progress.stored_bytes:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)  # the next round would read what is not moved
    return progress.stored_bytes


async def test_lag_is_what_was_read_and_not_yet_moved(tmp_path: Path) -> None:
    store = MemoryStore()
    await append(store, 1, logged(decision(1)), logged(response(1)))

    async with working(store, tmp_path, Pace(flush_ms=10**9)) as progress, asyncio.timeout(5):
        while not progress.waiting or progress.oldest_ms < 20:
            await asyncio.sleep(0.005)
        waiting = progress.waiting

    assert waiting == 2
    assert len(ids(tmp_path)) == 1, "what was read is written when the worker is stopped in order"
