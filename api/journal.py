"""Journal: what people did while the store was down, kept on this machine until it can be counted.

One append-only file a serving process, flushed to disk before the caller gets an answer, bounded for all processes
together. A line is sealed with the installation's token keys: nobody reads a customer in it, and one that a crash cut
off has no end. A file is replayed by whoever holds its lock, its writer or, after that was killed, any other process;
once-keys of what is replayed make a second replay harmless, so a file goes only when all of it is counted. What cannot
be counted, for whatever reason, stays beside it as `.refused`: it was acknowledged, and somebody has to look at it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import orjson

from api import metrics
from api.errors import Problem
from api.tokens import Sealer
from decisioning.errors import RegistryDamaged, StoreUnavailable

LOG = logging.getLogger("nextbest")
BYTES_MAX = 64 << 20  # in all; about 200,000 clicks
REPLAY_S = 1.0  # between two looks for files that nobody counted yet
KEPT, REFUSED = ".journal", ".refused"

Fields = Mapping[str, Any]
Apply = Callable[[str, Fields], Awaitable[None]]  # counts one entry of a kind; StoreUnavailable: ask again later
Keys = Callable[[], Awaitable[Sealer | None]]  # every token key there is by now; raises StoreUnavailable


class Journal:
    """Of one serving process, in a directory that the processes of a machine share."""

    def __init__(self, directory: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._file: _Growing | None = None  # what this process writes to
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
            raise _not_kept()
        metrics.JOURNAL.labels("taken").inc()

    async def _write(self) -> None:
        """Write what waits, all of it with one flush: a disk flushes a hundred times a second, callers are more."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            count = 0
            try:
                count = await asyncio.to_thread(self._append, [line for line, _ in batch])
            except OSError as error:
                LOG.error("the journal cannot be written: %s", error)
            finally:  # whatever broke, nobody is left waiting
                for position, (_, is_written) in enumerate(batch):
                    if not is_written.done():  # its caller may have gone
                        is_written.set_result(position < count)

    async def keep(self, keys: Keys, apply: Apply) -> None:
        """Replay what lies there whenever the store answers, until cancelled."""
        while True:
            if self._files(KEPT):
                try:
                    sealer = await keys()
                    if sealer is not None:
                        await self.replay(sealer, apply)
                except (StoreUnavailable, RegistryDamaged, OSError) as error:
                    LOG.info("the journal waits: %s", error)
            await asyncio.sleep(REPLAY_S)

    async def replay(self, sealer: Sealer, apply: Apply) -> int:
        """Count every entry of every file that no living process writes to, this one's own included; how many.

        Raises StoreUnavailable when the store does not answer; then the file stays and is replayed again as a whole.
        """
        count = 0
        self.close()
        for path in self._files(KEPT):
            with _locked(path) as handle:
                if handle is None:
                    continue
                lines = handle.read().split(b"\n")
                if lines.pop():  # no end: a crash cut it off, and nobody was told that it is kept
                    metrics.JOURNAL.labels("cut").inc()
                refused = [line for line in lines if not await _is_counted(line, sealer, apply)]
                self._set_aside(refused, path)
                count += len(lines) - len(refused)
        if count:
            metrics.JOURNAL.labels("replayed").inc(count)
            LOG.info("%d entries of the journal were counted", count)
        return count

    def close(self) -> None:
        """Let go of the own file: what is in it can be replayed. The next entry begins another."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _append(self, lines: Sequence[bytes]) -> int:
        """How many of the lines are on disk now; the rest has no room. Raises OSError, and then none of them is."""
        with self._lock:
            room = self._bytes_max - self._size()
            count = sum(1 for end in accumulate(map(len, lines)) if end <= room)
            if count:
                self._file = self._file or _Growing(self._directory)
                try:
                    self._file.add(b"".join(lines[:count]))
                except OSError:
                    self._file = None
                    raise
            return count

    def _set_aside(self, refused: Sequence[bytes], path: Path) -> None:
        """Remove a file that was replayed, but for the lines that could not be."""
        if refused:
            metrics.JOURNAL.labels("refused").inc(len(refused))
            aside = path.with_suffix(REFUSED)
            LOG.error("%d entries of the journal could not be counted; they are in %s", len(refused), aside)
            with open(aside, "wb", opener=_private) as file:  # once more as a whole, when a crash makes it twice
                file.write(b"".join(line + b"\n" for line in refused))
                file.flush()
                os.fsync(file.fileno())
        path.unlink(missing_ok=True)

    def _files(self, *endings: str) -> list[Path]:
        return sorted(path for ending in endings for path in self._directory.glob(f"*{ending}"))

    def _size(self) -> int:
        total = 0
        for path in self._files(KEPT, REFUSED):
            with suppress(FileNotFoundError):  # it was replayed this moment
                total += path.stat().st_size
        return total


class _Growing:
    """A file that this process writes to, locked while it lives. After an OSError it is closed."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = directory / f"{secrets.token_hex(8)}.new"
        self._end = 0  # of what is known to be on disk
        self._number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            # Locked before it has its name: else another process may find it free, and delete it as counted.
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path = self._path.rename(self._path.with_suffix(KEPT))
            _flush_folder(directory)
        except OSError:
            self._forget()
            raise

    def add(self, lines: bytes) -> None:
        """Put whole lines on disk. Raises OSError, and then nothing of them stays: not half of one, which would take
        the next line with it, and none that its caller was told is lost.
        """
        try:
            written = 0
            while written < len(lines):  # a disk that is almost full takes a part
                written += os.write(self._number, lines[written:])
            os.fsync(self._number)
        except OSError:
            self._forget()
            raise
        self._end += len(lines)

    def close(self) -> None:
        """Give it to whoever replays."""
        os.close(self._number)

    def _forget(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._number, self._end)
        if self._end == 0:
            self._path.unlink(missing_ok=True)
        os.close(self._number)


def _flush_folder(directory: Path) -> None:
    """A new file's name has to survive a power cut as well."""
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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


async def _is_counted(line: bytes, sealer: Sealer, apply: Apply) -> bool:
    """Count one line; False when that cannot be. Raises StoreUnavailable."""
    try:
        kind, fields = sealer.open("journal", line.decode("ascii", "replace"), "journal")
        await apply(str(kind), orjson.loads(str(fields)))
    except (StoreUnavailable, RegistryDamaged):
        raise
    except Exception as error:  # the outermost: one that nobody can count must not keep all others waiting
        LOG.error("an entry of the journal cannot be counted: %s", type(error).__name__)
        return False
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _not_kept() -> Problem:
    message = "The store does not answer, and the journal is full or cannot be written. Send this again later."
    return Problem("store_unavailable", message, "store", retry_after_s=5)
