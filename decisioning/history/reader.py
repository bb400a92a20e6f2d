"""Reading history: the directory as tables for training and reports, and decisions by their ids.

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
    with duckdb.connect(config=DUCKDB_CONFIG) as connection:
        for day, wanted in ids_by_day.items():
            query = (
                f"FROM {_table(DECISIONS, _files(history_dir, DECISIONS, f'day={day}'))} "
                "WHERE at_ms BETWEEN ? AND ? AND decision_id IN (SELECT unnest(?::VARCHAR[]))"
            )
            span = [min(each.from_ms for each in wanted.values()), max(each.until_ms for each in wanted.values())]
            found = connection.execute(query, [*span, list(wanted)])
            names = [column[0] for column in found.description]
            for cells in found.fetchall():
                record = record_of(DECISIONS, dict(zip(names, cells, strict=True)))
                records[record["decision_id"]] = record
    return records


def _files(history_dir: Path, dataset: Dataset, days: str) -> list[Path]:
    folders = sorted((history_dir / dataset.name).glob(days))
    return [span.path for folder in folders for span in live_files(folder)]


def _table(dataset: Dataset, files: Iterable[Path]) -> str:
    """SQL for these files with all columns of the dataset, those that the files lack as null."""
    nothing = ", ".join(f'NULL::{column.type} AS "{column.name}"' for column in dataset.columns)
    empty = f"(SELECT {nothing} WHERE false)"
    paths = list(files)
    return f"(SELECT * FROM {empty} UNION ALL BY NAME SELECT * FROM {parquet(paths)})" if paths else empty
