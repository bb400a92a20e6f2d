"""Reading history: the directory as tables for training and reports, and decisions by their ids.

A connection sees the files there were when it was opened; the worker may add batches meanwhile, and keeps merged files
for an hour, which bounds how long one connection should be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from decisioning.errors import HistoryFaulty
from decisioning.history.archive import DUCKDB_CONFIG, live_files, parquet
from decisioning.history.datasets import DATASETS, DECISIONS, PLACEMENT_COLUMNS, Dataset, day_of, record_of
from decisioning.store.decision_id import Whereabouts, whereabouts_of

# One row for every placement of every decision, with what the whole decision has in common.
SHARED = (
    "decision_id",
    "at_ms",
    "person_key",
    "channel",
    "holdout",
    "arms",
    "arm_probability",
    "degraded",
    "draw_index",
    "versions",
    "client_class",
)


def open_history(history_dir: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the views `decisions`, `responses` and `placements`; they are empty while history is."""
    connection = duckdb.connect(config=DUCKDB_CONFIG)
    for dataset in DATASETS:
        table = _table(dataset, _files(history_dir, dataset, "*"))
        connection.execute(f"CREATE VIEW {dataset.name} AS SELECT * FROM {table}")
    shared = ", ".join(SHARED)
    cells = ", ".join(f"each.{column.name}" for column in PLACEMENT_COLUMNS)
    connection.execute(
        f"CREATE VIEW placements AS SELECT {shared}, {cells} "
        f"FROM (SELECT {shared}, unnest(placements) AS each FROM decisions)"
    )
    return connection


def find_decisions(history_dir: Path, decision_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The records of decisions as they were logged, by id; unknown ids are left out.

    One query for each day: opening files costs far more than finding a few hundred records in them.
    """
    ids_by_day: dict[str, dict[str, Whereabouts]] = {}
    for decision_id in decision_ids:
        if where := whereabouts_of(decision_id):
            for day in {day_of(where.from_ms), day_of(where.until_ms)}:
                ids_by_day.setdefault(day, {})[decision_id] = where
    records: dict[str, dict[str, Any]] = {}
    with _connected(history_dir) as connection:
        for day, wanted in ids_by_day.items():
            query = (
                f"FROM {_table(DECISIONS, _files(history_dir, DECISIONS, f'day={day}'))} "
                "WHERE at_ms BETWEEN ? AND ? AND decision_id IN (SELECT unnest(?::VARCHAR[]))"
            )
            span = [min(each.from_ms for each in wanted.values()), max(each.until_ms for each in wanted.values())]
            found = connection.execute(query, [*span, list(wanted)])
            records |= {record["decision_id"]: record for record in _records(found)}
    return records


def count_between(history_dir: Path, from_ms: int, until_ms: int) -> int:
    """How many decisions were made from one time until before another."""
    with _connected(history_dir) as connection:
        return sum(
            count
            for _, table in _days_between(history_dir, from_ms, until_ms)
            for _, count in _by_second(connection, table, from_ms, until_ms)
        )


def decisions_between(
    history_dir: Path, from_ms: int, until_ms: int, *, page_rows: int
) -> Iterator[list[dict[str, Any]]]:
    """Records of the decisions from one time until before another, in the order of time.

    Pages hold whole seconds, so that no page asks for what another has, and memory has about page_rows at most. Files
    are looked up again for each page: a long look through history outlives those that are merged meanwhile.
    """
    with _connected(history_dir) as connection:
        for day, table in _days_between(history_dir, from_ms, until_ms):
            for low_ms, high_ms in _spans(_by_second(connection, table, from_ms, until_ms), page_rows):
                files = _table(DECISIONS, _files(history_dir, DECISIONS, day))
                query = f"FROM {files} WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms, decision_id"
                span = [max(low_ms, from_ms), min(high_ms, until_ms)]
                yield list(_records(connection.execute(query, span)))


@contextmanager
def _connected(history_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection; raises HistoryFaulty in place of DuckDB's own words for a file that cannot be read."""
    with duckdb.connect(config=DUCKDB_CONFIG) as connection:
        try:
            yield connection
        except duckdb.Error as error:
            advice = "Restore the file from a backup, or move it away: its decisions are then missing."
            what = str(error).partition("\n")[0]  # the query follows
            raise HistoryFaulty(f"{history_dir}: {what}. {advice}") from error


def _days_between(history_dir: Path, from_ms: int, until_ms: int) -> Iterator[tuple[str, str]]:
    """The folders that hold these times, with SQL for their files."""
    first, last = f"day={day_of(from_ms)}", f"day={day_of(max(from_ms, until_ms - 1))}"
    for folder in sorted((history_dir / DECISIONS.name).glob("day=*")):
        if first <= folder.name <= last:
            yield folder.name, _table(DECISIONS, _files(history_dir, DECISIONS, folder.name))


def _by_second(connection: duckdb.DuckDBPyConnection, table: str, from_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """Seconds since 1970 in which decisions were made, and how many."""
    query = f"SELECT at_ms // 1000, count(*) FROM {table} WHERE at_ms >= ? AND at_ms < ? GROUP BY 1 ORDER BY 1"
    return connection.execute(query, [from_ms, until_ms]).fetchall()


def _spans(seconds: Iterable[tuple[int, int]], page_rows: int) -> Iterator[tuple[int, int]]:
    """From when until when each page goes."""
    rows, start, end = 0, 0, 0
    for second, count in seconds:
        if rows and rows + count > page_rows:
            yield start * 1000, end * 1000
            rows = 0
        start, end, rows = start if rows else second, second + 1, rows + count
    if rows:
        yield start * 1000, end * 1000


def _records(found: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    names = [column[0] for column in found.description]
    for cells in found.fetchall():
        yield record_of(DECISIONS, dict(zip(names, cells, strict=True)))


def _files(history_dir: Path, dataset: Dataset, days: str) -> list[Path]:
    folders = sorted((history_dir / dataset.name).glob(days))
    return [span.path for folder in folders for span in live_files(folder)]


def _table(dataset: Dataset, files: Iterable[Path]) -> str:
    """SQL for these files with all columns of the dataset, those that the files lack as null."""
    nothing = ", ".join(f'NULL::{column.type} AS "{column.name}"' for column in dataset.columns)
    empty = f"(SELECT {nothing} WHERE false)"
    paths = list(files)
    return f"(SELECT * FROM {empty} UNION ALL BY NAME SELECT * FROM {parquet(paths)})" if paths else empty
