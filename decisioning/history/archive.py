"""The history directory: how a batch of records becomes files, once, whatever dies in between.

    manifest.json                             how far each partition has been moved, and the files of the last batch
    decisions/day=2026-11-03/7-7.parquet      batch 7; 3-7.parquet holds batches 3 to 7 merged and replaces them
    responses/day=2026-11-03/7-7.parquet
    rejected/7-7.jsonl                        records of batch 7 that could not be read
    pending/                                  files being written

A batch is written below pending/, then the manifest that names its files and positions replaces the old one: from that
moment the batch counts. Then its files are renamed into place. Whoever opens the directory finishes the renames of the
manifest and drops the rest of pending/: those records are still in the store and will be read again. Every step is
flushed to disk before the next one.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import re
import secrets
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from decisioning.errors import HistoryFaulty
from decisioning.history.datasets import BODY_BYTES_MAX, DATASETS, Dataset, Row

SMALL_BYTES = 32 << 20  # files below this are worth merging
MERGE_COUNT = 32  # of so many neighbours; a day that is over merges any two
_PARQUET = "(FORMAT parquet, COMPRESSION zstd)"
GRACE_S = 3600  # merged files stay this long for readers that have listed them
DUCKDB_CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": "1GB"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The committed state of the directory."""

    owner: str  # names the directory when its worker takes the job, so that a restarted worker need not wait for itself
    batch: int = 0
    positions: Mapping[str, str] = field(default_factory=dict)  # partition -> last moved position
    files: Sequence[str] = ()  # of this batch, relative to the directory


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that could not be read, kept as it came."""

    partition: int
    position: str
    record_id: str
    reason: str
    body: str


class Span(NamedTuple):
    """A file of a day folder and the batches it holds, first and last included."""

    first: int
    last: int
    path: Path


@contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Hold the directory; False while another process does. The kernel lets go when the holder dies."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(directory / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


class Archive:
    """The writing side; needs the lock. Not for several threads at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pending = directory / "pending"
        self.manifest = self._read_manifest() or self._first_manifest()
        self._publish(self.manifest.files)
        self._empty_pending()

    def prepare(self, rows: Sequence[Row], rejects: Sequence[Reject], positions: Mapping[str, str]) -> Manifest:
        """Write a batch below pending/ and return the manifest that would make it count."""
        self._empty_pending()
        batch = self.manifest.batch + 1
        files = [name for part in _by_day(rows) if (name := self._write_rows(part, batch))]
        if rejects:
            files.append(self._write_rejects(rejects, batch))
        return replace(self.manifest, batch=batch, positions={**self.manifest.positions, **positions}, files=files)

    def commit(self, manifest: Manifest) -> None:
        """Make a prepared batch count and show its files."""
        self._write_manifest(manifest)
        self._publish(manifest.files)

    def merge(self, today: str) -> None:
        """Merge small files, one run per day folder, and delete those merged long ago."""
        for dataset in DATASETS:
            for day in sorted((self.directory / dataset.name).glob("day=*")):
                run = _small_run(live_files(day), MERGE_COUNT if day.name == f"day={today}" else 2)
                if run:
                    self._merge_files(dataset, day, run)
                _delete_merged(day)

    def _read_manifest(self) -> Manifest | None:
        path = self.directory / "manifest.json"
        try:
            return Manifest(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            advice = "Delete it: what is still in the store is moved again, and what is here already is recognised."
            raise HistoryFaulty(f"{path}: unreadable. {advice}") from error

    def _first_manifest(self) -> Manifest:
        """Of a new directory, or of one that lost its manifest. That costs time only: what is still in the store is
        read again and known records are dropped. Batch numbers must not come again, because they name files.
        """
        spans = [span for path in self.directory.glob("*/**/*-*") if (span := _span_of(path))]
        self._empty_pending()
        self._write_manifest(Manifest(secrets.token_hex(8), batch=max((span.last for span in spans), default=0)))
        return self.manifest

    def _write_manifest(self, manifest: Manifest) -> None:
        path = self._pending / "manifest.json"
        path.write_text(json.dumps(asdict(manifest), indent=1))
        _flush(path)
        _move(path, self.directory / "manifest.json")
        self.manifest = manifest

    def _publish(self, files: Sequence[str]) -> None:
        for name in files:
            if (self._pending / name).exists():  # else an earlier attempt got this far
                _move(self._pending / name, self.directory / name)

    def _empty_pending(self) -> None:
        shutil.rmtree(self._pending, ignore_errors=True)
        self._pending.mkdir(mode=0o700, parents=True)

    def _write_rows(self, rows: Sequence[Row], batch: int) -> str | None:
        """One day of one dataset as Parquet; None when all of it is there already."""
        dataset, day = rows[0].dataset, f"{rows[0].dataset.name}/day={rows[0].day}"
        name = f"{day}/{batch}-{batch}.parquet"
        target, text = self._pending / name, self._pending / "rows.jsonl"
        target.parent.mkdir(parents=True)
        text.write_bytes(b"".join(row.line for row in rows))
        known = [span.path for span in live_files(self.directory / day)]
        query = f"SELECT * FROM {_json_lines(text, dataset)} {_unless_known(dataset, known, rows)}"
        return name if _copy(f"{query} ORDER BY {dataset.time_column}", target) else None

    def _write_rejects(self, rejects: Sequence[Reject], batch: int) -> str:
        name = f"rejected/{batch}-{batch}.jsonl"
        target = self._pending / name
        target.parent.mkdir(parents=True)
        target.write_text("".join(json.dumps(asdict(reject)) + "\n" for reject in rejects), encoding="utf-8")
        _flush(target)
        return name

    def _merge_files(self, dataset: Dataset, day: Path, run: Sequence[Span]) -> None:
        target = self._pending / "merged.parquet"
        _copy(f"SELECT * FROM {parquet(span.path for span in run)} ORDER BY {dataset.time_column}", target)
        _move(target, day / f"{run[0].first}-{run[-1].last}.parquet")


def live_files(day: Path) -> list[Span]:
    """The files of a day folder that hold its rows, in order of batches: all but those that a merged one replaces."""
    spans = [span for path in day.glob("*.parquet") if (span := _span_of(path))]
    live: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.first, -span.last)):
        if not live or span.last > live[-1].last:  # else inside the wider one before it
            live.append(span)
    return live


def parquet(paths: Iterable[Path]) -> str:
    """SQL that reads these files as one table; columns that older files lack are null."""
    names = ", ".join(_quoted(glob.escape(str(path))) for path in paths)
    return f"read_parquet([{names}], union_by_name=true, hive_partitioning=false)"


def _json_lines(path: Path, dataset: Dataset) -> str:
    columns = ", ".join(f"{column.name}: {_quoted(column.type)}" for column in dataset.columns)
    size_max = BODY_BYTES_MAX * 2  # a quote in JSON that is itself a JSON text takes twice the room
    return (
        f"read_json({_quoted(glob.escape(str(path)))}, format='newline_delimited', columns={{{columns}}}, "
        f"maximum_object_size={size_max})"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _span_of(path: Path) -> Span | None:
    match = re.fullmatch(r"(\d+)-(\d+)\.(parquet|jsonl)", path.name)
    return Span(int(match[1]), int(match[2]), path) if match else None


def _by_day(rows: Sequence[Row]) -> list[list[Row]]:
    days: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        days[row.dataset.name, row.day].setdefault(row.record_id, row)
    return [list(day.values()) for day in days.values()]


def _unless_known(dataset: Dataset, known: Sequence[Path], rows: Sequence[Row]) -> str:
    """SQL that drops rows of earlier files. A repeat has the same time, so statistics skip nearly all of them."""
    if not known:
        return ""
    times = [row.at_ms for row in rows]
    earlier = f"SELECT {dataset.id_column} FROM {parquet(known)}"
    window = f"{dataset.time_column} BETWEEN {min(times)} AND {max(times)}"
    return f"ANTI JOIN ({earlier} WHERE {window}) USING ({dataset.id_column})"


def _copy(query: str, target: Path) -> int:
    """Write the rows of a query as Parquet, flushed; returns how many."""
    with duckdb.connect(config=DUCKDB_CONFIG) as connection:
        row: Any = connection.execute(f"COPY ({query}) TO {_quoted(str(target))} {_PARQUET}").fetchone()
    _flush(target)
    return int(row[0])


def _small_run(spans: Sequence[Span], count: int) -> list[Span]:
    """The first `count` or more neighbouring small files, else nothing."""
    run: list[Span] = []
    for span in spans:
        if span.path.stat().st_size < SMALL_BYTES:
            run.append(span)
        elif len(run) >= count:
            return run
        else:
            run = []
    return run if len(run) >= count else []


def _delete_merged(day: Path) -> None:
    live = live_files(day)
    for path in day.glob("*.parquet"):
        span = _span_of(path)
        if span is None or span in live:
            continue
        wider = next(each for each in live if each.first <= span.first and span.last <= each.last)
        if datetime.now(UTC).timestamp() - wider.path.stat().st_mtime > GRACE_S:
            path.unlink()


def _move(source: Path, target: Path) -> None:
    """Rename, durably: the target's folder is flushed, and its parents' where it is new."""
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    for folder in [target.parent, *(folder.parent for folder in missing)]:
        _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
