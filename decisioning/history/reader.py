"""Reading history: the directory as tables for training and reports, and one decision for explaining it.

A connection sees the files there were when it was opened; the worker may add batches meanwhile, and keeps merged files
for an hour, which bounds how long one connection should be used.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from decisioning.history.archive import DUCKDB_CONFIG, live_files, parquet
from decisioning.history.datasets import DATASETS, DECISIONS, PLACEMENT_COLUMNS, Dataset, day_of, record_of
from decisioning.store.decision_id import whereabouts_of

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


def find_decision(history_dir: Path, decision_id: str) -> dict[str, Any] | None:
    """The record of a decision as it was logged, less its owner; None for an unknown id. Reads one day's files."""
    where = whereabouts_of(decision_id)
    if where is None:
        return None
    days = sorted({day_of(where.from_ms), day_of(where.until_ms)})
    files = [path for day in days for path in _files(history_dir, DECISIONS, f"day={day}")]
    query = f"FROM {_table(DECISIONS, files)} WHERE at_ms BETWEEN ? AND ? AND decision_id = ?"
    with duckdb.connect(config=DUCKDB_CONFIG) as connection:
        found = connection.execute(query, [where.from_ms, where.until_ms, decision_id])
        names = [column[0] for column in found.description]
        cells = found.fetchone()
    return record_of(DECISIONS, dict(zip(names, cells, strict=True))) if cells else None


def _files(history_dir: Path, dataset: Dataset, days: str) -> list[Path]:
    folders = sorted((history_dir / dataset.name).glob(days))
    return [span.path for folder in folders for span in live_files(folder)]


def _table(dataset: Dataset, files: Iterable[Path]) -> str:
    """SQL for these files with all columns of the dataset, those that the files lack as null."""
    nothing = ", ".join(f'NULL::{column.type} AS "{column.name}"' for column in dataset.columns)
    empty = f"(SELECT {nothing} WHERE false)"
    paths = list(files)
    return f"(SELECT * FROM {empty} UNION ALL BY NAME SELECT * FROM {parquet(paths)})" if paths else empty
