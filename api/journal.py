"""Journal: what people did while the store was down, kept on this machine until it can be counted.

One append-only file a serving process, flushed to disk before the caller gets an answer, bounded for all processes
together. A line is sealed with the installation's token keys: nobody reads a customer in it, and one that a crash cut
off does not open. A file is replayed by whoever holds its lock, its writer or, after that was killed, any other
process; once-keys of what is replayed make a second replay harmless, so a file goes only when all of it is counted.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import orjson

from api import metrics
from api.errors import Problem
from api.tokens import Sealer
from decisioning.errors import StoreUnavailable
from decisioning.store.protocol import Store

LOG = logging.getLogger("nextbest")
BYTES_MAX = 64 << 20  # in all; about 200,000 clicks
REPLAY_S = 1.0  # between two looks for files that nobody counted yet

Fields = Mapping[str, Any]
Apply = Callable[
    [str, Fields], Awaitable[None]
]  # counts one entry of a kind; raises StoreUnavailable to be asked again


class Journal:
    """Of one serving process, in a directory that the processes of a machine share."""

    def __init__(self, directory: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._file: BinaryIO | None = None  # what this process writes to, locked while it lives
        self._lock = Lock()
        self._waiting: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def take(self, sealer: Sealer, kind: str, fields: Fields) -> None:
        """Keep one entry; on disk when this returns. Raises Problem when the journal is full, or cannot be written."""
        line = sealer.seal("journal", [kind, orjson.dumps(fields).decode()]).encode() + b"\n"
        is_written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, is_written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        if not await is_written:
            raise _full()
        metrics.JOURNAL.labels("taken").inc()

    async def _write(self) -> None:
        """Write what waits, all of it with one flush: a disk flushes a hundred times a second, callers are more."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                count = await asyncio.to_thread(self._append, [line for line, _ in batch])
            except OSError as error:
                LOG.error("the journal cannot be written: %s", error)
                count = 0
            for position, (_, is_written) in enumerate(batch):
                if not is_written.done():  # its caller may have gone
                    is_written.set_result(position < count)

    async def keep(self, sealer_of: Callable[[], Sealer | None], store: Store, apply: Apply) -> None:
        """Replay what lies there whenever the store answers, until cancelled."""
        while True:
            sealer = sealer_of()
            if sealer is not None and self._files():
                try:
                    await store.ping()
                    await self.replay(sealer, apply)
                except (StoreUnavailable, OSError) as error:
                    LOG.info("the journal waits: %s", error)
            await asyncio.sleep(REPLAY_S)

    async def replay(self, sealer: Sealer, apply: Apply) -> int:
        """Count every entry of every file that no living process writes to, this one's own included; how many.

        Raises StoreUnavailable when the store does not answer; then the file stays and is replayed again as a whole.
        """
        count = 0
        self._set_aside()
        for path in self._files():
            with _locked(path) as handle:
                if handle is None:
                    continue
                for kind, fields in _entries(handle.read(), sealer):
                    await apply(kind, fields)
                    count += 1
                path.unlink(missing_ok=True)
        if count:
            metrics.JOURNAL.labels("replayed").inc(count)
            LOG.info("%d entries of the journal were counted", count)
        return count

    def close(self) -> None:
        """Let go of the own file; who starts next replays it."""
        self._set_aside()

    def _append(self, lines: Sequence[bytes]) -> int:
        """How many of the lines are on disk now; the rest has no room."""
        with self._lock:
            room = self._bytes_max - self._size()
            count = sum(1 for end in accumulate(map(len, lines)) if end <= room)
            if count:
                if self._file is None:
                    self._file = self._opened()
                self._file.write(b"".join(lines[:count]))
                self._file.flush()
                os.fsync(self._file.fileno())
            return count

    def _opened(self) -> BinaryIO:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._directory / f"{secrets.token_hex(8)}.journal"
        file = open(path, "ab", opener=_private)  # noqa: SIM115  # as long as the process lives
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(folder)  # the file's name has to survive a power cut as well
        finally:
            os.close(folder)
        return file

    def _set_aside(self) -> None:
        """Begin a new file with the next entry: what is written up to now can be replayed."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.journal"))

    def _size(self) -> int:
        total = 0
        for path in self._files():
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # it was replayed this moment
                continue
        return total


class _locked:  # reads as a verb in `with`
    """A file, open for reading, while its lock is held; None while another process holds it, or when it is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: BinaryIO | None = None

    def __enter__(self) -> BinaryIO | None:
        try:
            self._handle = open(self._path, "rb")  # closed by __exit__
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            self.__exit__()
            return None
        # Between opening and locking another process may have replayed and deleted it.
        return self._handle if self._path.exists() else None

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _entries(packed: bytes, sealer: Sealer) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and fields of each line; one that does not open was cut off by a crash and never acknowledged."""
    for line in packed.splitlines():
        try:
            kind, fields = sealer.open("journal", line.decode("ascii", "replace"), "journal")
        except Problem:
            metrics.JOURNAL.labels("damaged").inc()
            LOG.warning("an entry of the journal does not open and is left out")
            continue
        yield str(kind), orjson.loads(str(fields))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _full() -> Problem:
    message = "The store does not answer and the journal is full. Send this again later."
    return Problem("store_unavailable", message, "store", retry_after_s=5)
