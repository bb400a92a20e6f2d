"""Tables: columns of a CSV, JSON-lines or Parquet file, a batch of rows at a time.

DuckDB reads CSV and Parquet. CSV values stay text, because only the schema knows whether `007` is a number; an empty
cell is None. JSON lines are read line by line with their own types, since a reader that infers types from a sample
changes them in the rest. Messages name file and line but never repeat a row: it may hold personal data.
"""

from __future__ import annotations

import csv
import glob
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import duckdb

from decisioning.errors import TableFaulty

Columns = dict[str, list[Any]]  # column name -> its values, all lists of one length

_FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}
_DELIMITERS = ",;\t|"
_CSV_OPTIONS = """auto_detect=false, header=true, quote='"', escape='"', comment='', skip=0"""
_CSV_REASON = re.compile(
    "^(Expected Number of Columns.*|Value with unterminated quote|Invalid unicode|Maximum line size.*)", re.MULTILINE
)


def read_table(path: Path, columns: Sequence[str] | None = None, *, batch_rows: int = 10_000) -> Iterator[Columns]:
    """Batches of `columns` (None: all of the file), in file order; raises TableFaulty for whatever is wrong with it."""
    known = column_names(path)
    wanted = known if columns is None else list(dict.fromkeys(columns))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise TableFaulty(f"{path}: no column {_quoted(unknown)}. Columns: {', '.join(known)}.")
    if _format_of(path) == "json":
        return _json_batches(path, wanted, batch_rows)
    return _sql_batches(path, [known.index(name) for name in wanted], wanted, batch_rows)


def column_names(path: Path) -> list[str]:
    """The file's columns, in its order; for JSON lines every key that any line has."""
    format = _format_of(path)
    if format == "csv":
        return _csv_header(path)[0]
    if format == "json":
        status = path.stat()
        return list(_json_keys(path, status.st_mtime_ns, status.st_size))
    return [str(column[0]) for column in _query(path, "SELECT * FROM {table} LIMIT 0").description]


def row_count(path: Path) -> int:
    """How many rows `read_table` will yield: what progress is measured against."""
    if _format_of(path) == "json":
        with _text_of(path) as lines:
            return sum(1 for line in lines if line.strip())
    row = _query(path, "SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def _format_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    plain = suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes
    format = _FORMATS.get(plain[-1]) if plain else None
    if format is None or (format == "parquet" and plain != suffixes):
        known = ", ".join(f"{suffix}[.gz]" for suffix in _FORMATS if suffix != ".parquet")
        raise TableFaulty(f"{path}: unknown format. The name must end in {known} or .parquet.")
    if not path.is_file():
        raise TableFaulty(f"{path}: no such file.")
    return format


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


@contextmanager
def _text_of(path: Path) -> Iterator[TextIO]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as lines:
            yield lines
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        advice = "Text must be UTF-8, and *.gz a complete gzip file."
        raise TableFaulty(f"{path}: unreadable ({type(error).__name__}). {advice}") from error


def _csv_header(path: Path) -> tuple[list[str], str]:
    """Column names and the separator between them, which is the one that the first line has most of."""
    with _text_of(path) as lines:
        delimiter = max(_DELIMITERS, key=(first := lines.readline()).count)
        names = next(csv.reader(chain([first], lines), delimiter=delimiter), [])
    if not names:
        raise TableFaulty(f"{path}:1: no line of column names.")
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise TableFaulty(f"{path}:1: column {_quoted(repeated)} twice.")
    return names, delimiter


def _query(path: Path, sql: str) -> duckdb.DuckDBPyConnection:
    """Run `sql` over the file, which it calls {table}. Nothing is auto-detected: one bad row leads a guess astray."""
    parameters: dict[str, Any] = {"path": glob.escape(str(path))}
    table = "read_parquet($path)"
    if _format_of(path) == "csv":
        names, delimiter = _csv_header(path)
        parameters |= {"delimiter": delimiter, "columns": dict.fromkeys(names, "VARCHAR")}
        table = f"read_csv($path, columns=$columns, delim=$delimiter, {_CSV_OPTIONS})"
    try:
        return duckdb.connect(config={"threads": 1}).execute(sql.format(table=table), parameters)
    except duckdb.Error as error:
        raise _faulty(path, error) from error


def _sql_batches(path: Path, positions: Sequence[int], names: Sequence[str], batch_rows: int) -> Iterator[Columns]:
    cursor = _query(path, f"SELECT {', '.join(f'#{position + 1}' for position in positions)} FROM {{table}}")
    while True:
        try:
            rows = cursor.fetchmany(batch_rows)
        except duckdb.Error as error:
            raise _faulty(path, error) from error
        if not rows:
            return
        yield {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _faulty(path: Path, error: duckdb.Error) -> TableFaulty:
    """DuckDB's message without the row it quotes and without its advice on DuckDB options."""
    text = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", text)
    reason = _CSV_REASON.search(text)
    where = f"{path}:{line[1]}" if line else f"{path}"
    return TableFaulty(f"{where}: {reason[1] if reason else 'cannot be read as ' + _format_of(path)}.")


def _json_batches(path: Path, names: Sequence[str], batch_rows: int) -> Iterator[Columns]:
    rows = _json_rows(path)
    while batch := list(islice(rows, batch_rows)):
        yield {name: [row.get(name) for row in batch] for name in names}


@lru_cache(maxsize=64)
def _json_keys(path: Path, mtime_ns: int, size_bytes: int) -> tuple[str, ...]:
    """Keys of all lines. Kept for a file as it is now, since whoever reads it asks several times."""
    return tuple(dict.fromkeys(key for row in _json_rows(path) for key in row))


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with _text_of(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _json_row(path, number, line)


def _json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise TableFaulty(f"{path}:{number}: not JSON; one object per line is expected.") from error
    if not isinstance(row, dict):
        raise TableFaulty(f"{path}:{number}: not a JSON object.")
    return row
