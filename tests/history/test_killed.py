"""A worker killed at any point loses nothing and repeats nothing.

Two tests. One kills a writer before each single change it makes to the disk, by leaving the process from an audit hook.
The other kills a real worker process, on a real server, at random moments while records arrive.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from decisioning.history.archive import Archive, Reject, locked
from decisioning.history.datasets import row_of
from decisioning.history.reader import open_history
from decisioning.store.protocol import Store
from decisioning.store.redis import RedisStore
from tests.history.record_examples import append, decision, logged, response

KILLED = 9
PATIENCE_S = 60  # far beyond what a worker takes for what is left: only a loss gets there
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def killed_at_change(count: int, work: Callable[[], None]) -> bool:
    """Run `work` in a child that vanishes before its count-th change of the disk; False when it got to the end."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
    remaining = count

    def step(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal remaining
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        remaining -= bool(writes or event in CHANGES)
        if remaining < 0:
            os._exit(KILLED)

    sys.addaudithook(step)
    try:
        work()
    finally:
        os._exit(0)


def move(directory: Path, numbers: range) -> None:
    """What the worker does with a batch that ends at the last of these numbers."""
    with locked(directory) as held:
        assert held
        history = Archive(directory)
        moved = int(history.manifest.positions.get("0", "0-0").split("-")[0])
        fresh = [number for number in numbers if number > moved]
        if fresh:
            records = [logged(make(number)) for number in fresh for make in (decision, response)]
            rows = [row_of(record.record_id, record.body) for record in records]
            rejects = [Reject(0, f"{number}-0", f"poison{number}", "not JSON", "{") for number in fresh]
            history.commit(history.prepare(rows, rejects, {"0": f"{fresh[-1]}-0"}))
        history.merge("2000-01-01")


def contents(directory: Path) -> tuple[list[str], list[str], int]:
    history = open_history(directory)
    decisions = [row[0] for row in history.execute("SELECT draw_index FROM decisions ORDER BY 1").fetchall()]
    responses = [row[0] for row in history.execute("SELECT person_key FROM responses ORDER BY 1").fetchall()]
    return decisions, responses, sum(path.read_text().count("\n") for path in directory.glob("rejected/*"))


def test_a_writer_killed_before_any_change_of_the_disk_leaves_every_record_once(tmp_path: Path) -> None:
    start = tmp_path / "start"
    move(start, range(1, 3))
    change, killed = 0, True
    while killed:
        directory = shutil.copytree(start, tmp_path / str(change))

        killed = killed_at_change(change, partial(move, directory, range(3, 5)))
        seen = contents(directory)
        move(directory, range(3, 5))

        assert seen[0] in ([1, 2], [1, 2, 3, 4]), f"killed before change {change}: part of a day's batch was visible"
        assert contents(directory) == ([1, 2, 3, 4], ["p1", "p2", "p3", "p4"], 4), f"killed before change {change}"
        change += 1
    assert change > 20


async def test_a_worker_killed_a_dozen_times_while_records_arrive_moves_each_once(
    tmp_path: Path, store: RedisStore, store_url: str
) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    enough = asyncio.Event()
    arriving = asyncio.create_task(_arrive(store, enough))
    for _ in range(12):
        moved = batch_count(tmp_path)
        process = start_worker(store_url, tmp_path)
        while batch_count(tmp_path) == moved:
            await asyncio.sleep(0.005)
        await asyncio.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.wait()
    enough.set()
    count = await arriving

    process = start_worker(store_url, tmp_path)
    await arrived(tmp_path, count)
    process.terminate()

    assert process.wait() == 0
    decisions, responses, reject_count = contents(tmp_path)
    assert decisions == list(range(count)), f"seed {seed}"
    assert responses == sorted(f"p{number}" for number in range(count)), f"seed {seed}"
    assert reject_count == 0, f"seed {seed}"


def start_worker(store_url: str, directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.history.worker_process", store_url, str(directory)])


def batch_count(directory: Path) -> int:
    """How many batches count by now; -1 before the first worker."""
    manifest = directory / "manifest.json"
    return int(json.loads(manifest.read_bytes())["batch"]) if manifest.exists() else -1


async def arrived(directory: Path, count: int) -> None:
    """Return when so many decisions and responses can be read, or patience ends: the assertions say what lacks."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while min(len(kind) for kind in contents(directory)[:2]) < count:
                await asyncio.sleep(0.05)


async def _arrive(store: Store, enough: asyncio.Event) -> int:
    """Log a decision and a response at a time; how many times."""
    count = 0
    while not enough.is_set():
        await append(store, count, logged(decision(count)), logged(response(count)))
        count += 1
        await asyncio.sleep(0.002)
    return count
