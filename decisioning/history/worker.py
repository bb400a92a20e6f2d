"""The worker: moves log records from the store into the history directory, each of them once.

It reads all partitions, keeps what it read until a batch is large or old enough, and hands the batch to archive.py,
whose manifest is the only memory of how far it got. So nothing needs repair here: after any trouble the worker opens
the directory again and goes on from the manifest. The store's lease makes it the only worker of an installation, the
directory's lock the only one there; a restarted worker has its directory's name and need not wait for its own lease.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import duckdb

from decisioning.customer import PARTITION_COUNT
from decisioning.errors import StoreUnavailable
from decisioning.history.archive import Archive, Manifest, Reject, locked
from decisioning.history.datasets import RecordUnreadable, Row, day_of, row_of
from decisioning.learning.hearing import FORGOTTEN
from decisioning.store.gently import gently
from decisioning.store.protocol import LogEntry, LogSize, Store

START = "0-0"  # the position before the first record of a partition
PAGE_RECORDS = 200  # read from one partition at a time
UPKEEP_MS = 60_000  # between two rounds of merging files; the log is trimmed after each batch, and at least this often
ROOM_SHARE = 0.9  # of what records may take, is left of them when they have taken more
TROUBLE_PAUSE_MS = 1_000  # store or disk do not answer: try again, not at once

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at a time, and how long things are kept."""

    flush_ms: int = 5_000  # a batch is written when its first record has waited so long
    batch_records: int = 20_000  # or when it has so many
    lease_ms: int = 15_000  # another worker takes over so long after this one fell silent
    retention_ms: int = 86_400_000  # moved records stay in the store so long, where explaining them is quick,
    retention_bytes: int = 512 << 20  # but no longer than all records together take less than this


DEFAULT_PACE = Pace()


@dataclass(slots=True)
class Progress:
    """How the worker stands; one object, updated as it goes."""

    owner: bool = False  # false while another worker has the job
    moved: int = 0  # records this process has brought into the directory, or found there already
    rejected: int = 0  # of those, unreadable ones, set aside in rejected/
    waiting: int = 0  # records read and not yet moved
    more_waiting: bool = False  # the last round did not reach the end of every partition
    oldest_ms: int = 0  # age of the oldest record not yet moved
    stored_bytes: int = 0  # what records took in the store after the last trim, moved or not
    trouble: str = ""  # why the last round failed; empty when it did not


@dataclass(slots=True)
class Batch:
    """Entries read and not yet written."""

    entries: list[tuple[int, LogEntry]] = field(default_factory=list)  # with their partition
    positions: dict[str, str] = field(default_factory=dict)  # of the last entry of each partition
    since_ms: int = 0  # when the first entry was read
    oldest_ms: int = 0  # when the oldest entry was logged

    def add(self, partition: int, page: Sequence[LogEntry]) -> None:
        """Append the next entries of a partition."""
        if page:
            logged_ms = _order(page[0].position)[0]
            self.since_ms = self.since_ms or _clock_ms()
            self.oldest_ms = min(self.oldest_ms or logged_ms, logged_ms)
            self.entries.extend((partition, entry) for entry in page)
            self.positions[str(partition)] = page[-1].position


async def run_worker(
    store: Store,
    history_dir: Path,
    *,
    poll_ms: int,
    stop: asyncio.Event,
    on_progress: Callable[[Progress], None],
    pace: Pace = DEFAULT_PACE,
) -> None:
    """Move records until `stop` is set, then write what was read and give the job back.

    Store and disk trouble is reported through `on_progress`, which is called after every round, and does not end the
    worker; a HistoryFaulty directory does.
    """
    progress = Progress()
    while not stop.is_set():
        try:
            with locked(history_dir) as held:
                if held:
                    await Worker(store, history_dir, poll_ms, pace, progress, on_progress).run(stop)
        except (StoreUnavailable, OSError, duckdb.Error) as error:
            log.warning("history worker: %s: %s", type(error).__name__, error)
            progress.trouble = f"{type(error).__name__}: {error}"
            await _pause(stop, TROUBLE_PAUSE_MS)
        progress.owner = False
        on_progress(progress)
        await _pause(stop, poll_ms)


class Worker:
    """One spell of work: from opening the directory to the end of the job, to trouble, or to the loss of the lease."""

    def __init__(
        self,
        store: Store,
        history_dir: Path,
        poll_ms: int,
        pace: Pace,
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._store = store
        self._archive = Archive(history_dir)
        self._poll_ms = poll_ms
        self._pace = pace
        self._progress = progress
        self._on_progress = on_progress
        self._batch = Batch()
        self._upkeep_ms = 0  # when the last upkeep was done
        self._forgotten_ms = 0  # records logged before it may have left the store

    async def run(self, stop: asyncio.Event) -> None:
        """Take the job if it is free. The lease is renewed beside the work, because writing a batch takes seconds."""
        if not await self._take(self._pace.lease_ms):
            return
        renewal = asyncio.create_task(self._keep_lease())
        try:
            await self._work(stop)
        finally:
            renewal.cancel()
            await asyncio.wait((renewal,))
        if self._progress.owner:
            await self._take(1)  # for one more millisecond: the next worker need not wait

    async def _take(self, ttl_ms: int) -> bool:
        self._progress.owner = await self._store.own("worker", self._archive.manifest.owner, ttl_ms=ttl_ms)
        return self._progress.owner

    async def _keep_lease(self) -> None:
        try:
            while await self._take(self._pace.lease_ms):
                await asyncio.sleep(self._pace.lease_ms / 3000)
        except StoreUnavailable:
            self._progress.owner = False  # nobody knows whose it is

    async def _work(self, stop: asyncio.Event) -> None:
        while self._progress.owner and not stop.is_set():
            await self._read()
            if self._is_due():
                await self._write()
                if self._progress.owner:
                    await self._trim()
            self._report()
            await self._keep_up()
            if not self._progress.more_waiting:
                await _pause(stop, self._poll_ms)
        if self._progress.owner and self._batch.entries:
            await self._write()

    async def _read(self) -> None:
        """One page of every partition, behind what is read already."""
        after = {**self._archive.manifest.positions, **self._batch.positions}
        self._progress.more_waiting = False
        starts = ((each, after.get(str(each), START)) for each in range(PARTITION_COUNT))
        reads = ((each, self._store.log(each, after=start, limit=PAGE_RECORDS)) for each, start in starts)
        async for partition, page in gently(reads):
            self._batch.add(partition, page)
            self._progress.more_waiting |= len(page) == PAGE_RECORDS

    def _is_due(self) -> bool:
        count = len(self._batch.entries)
        waited_ms = _clock_ms() - self._batch.since_ms
        return count >= self._pace.batch_records or (count > 0 and waited_ms >= self._pace.flush_ms)

    async def _write(self) -> None:
        """Write the batch, and let it count only while the job is still ours."""
        manifest, reject_count = await _in_thread(lambda: _prepare(self._archive, self._batch))
        if await self._take(self._pace.lease_ms):
            await _in_thread(lambda: self._archive.commit(manifest))
            self._progress.moved += len(self._batch.entries)
            self._progress.rejected += reject_count
            self._batch = Batch()

    def _report(self) -> None:
        self._progress.trouble = ""
        self._progress.waiting = len(self._batch.entries)
        self._progress.oldest_ms = max(0, _clock_ms() - self._batch.oldest_ms) if self._batch.entries else 0
        self._on_progress(self._progress)

    async def _keep_up(self) -> None:
        """Now and then: merge small files, and trim the log also where nothing was moved: records have come of age."""
        if _clock_ms() - self._upkeep_ms < UPKEEP_MS:
            return
        self._upkeep_ms = _clock_ms()
        await _in_thread(lambda: self._archive.merge(day_of(_clock_ms())))
        await self._trim()

    async def _trim(self) -> None:
        """Let the store forget what is moved and need not be there any more.

        After each batch, because what goes in large pieces leaves holes in the store's memory that it does not fill.
        """
        cutoff_ms: int | None = max(0, _clock_ms() - self._pace.retention_ms)
        before_bytes = sys.maxsize
        while cutoff_ms is not None:
            await self._forget(cutoff_ms)
            asked = ((each, self._store.log_size(each)) for each in range(PARTITION_COUNT))
            sizes = [size async for _, size in gently(asked)]
            self._progress.stored_bytes = sum(each.bytes for each in sizes)
            if self._progress.stored_bytes >= before_bytes:
                break  # the rest is not moved yet
            before_bytes = self._progress.stored_bytes
            cutoff_ms = self._excess_until(sizes)

    async def _forget(self, before_ms: int) -> None:
        """Forget records older than this, as far as they are moved; the learner is told before, and may be behind."""
        moved, cutoff = self._archive.manifest.positions.items(), f"{before_ms}-0"
        until = {int(each): min(position, cutoff, key=_order) for each, position in moved}
        forgotten_ms = max((_order(each)[0] for each in until.values()), default=0)
        if forgotten_ms > self._forgotten_ms:
            await self._store.put(*FORGOTTEN, str(forgotten_ms).encode())
            self._forgotten_ms = forgotten_ms
        async for _ in gently((each, self._store.trim(each, before=position)) for each, position in until.items()):
            pass

    def _excess_until(self, sizes: Sequence[LogSize]) -> int | None:
        """Up to when records are to be forgotten so that the rest takes little enough, if they came evenly.

        They do not, so this is asked again after each trim; and a little more goes than has to, because others arrive
        meanwhile. Partitions lose what is older than one moment for all: a customer's records last as long as
        everybody's.
        """
        total = sum(each.bytes for each in sizes)
        if total <= self._pace.retention_bytes:
            return None
        oldest_ms = min((_order(each.oldest)[0] for each in sizes if each.oldest), default=0)
        newest_ms = max((_order(each)[0] for each in self._archive.manifest.positions.values()), default=0)
        share = 1 - ROOM_SHARE * self._pace.retention_bytes / total
        return None if newest_ms < oldest_ms else oldest_ms + math.ceil((newest_ms + 1 - oldest_ms) * share)


def _prepare(archive: Archive, batch: Batch) -> tuple[Manifest, int]:
    rows: list[Row] = []
    rejects: list[Reject] = []
    for partition, entry in batch.entries:
        record = entry.record
        try:
            rows.append(row_of(record.record_id, record.body))
        except RecordUnreadable as error:
            body = record.body.decode(errors="backslashreplace")
            rejects.append(Reject(partition, entry.position, record.record_id, str(error), body))
    return archive.prepare(rows, rejects, batch.positions), len(rejects)


async def _in_thread(function: Callable[[], Result]) -> Result:
    """Run beside the event loop. Cancelled, it still waits for the end: nobody else may touch the directory before."""
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise


async def _pause(stop: asyncio.Event, pause_ms: int) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), pause_ms / 1000)


def _order(position: str) -> tuple[int, int]:
    milliseconds, _, sequence = position.partition("-")
    return int(milliseconds), int(sequence)


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000
