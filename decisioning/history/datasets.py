"""Datasets: log records as rows, with the columns of each kind and the check every record passes on its way there.

What a service writes that no column is made for goes to `more`, so that a newer service loses nothing under an older
worker. The columns are explained in docs/history.md; a test compares the two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from decisioning.errors import NextbestError, StoreDamaged
from decisioning.store.packing import canonical, json_of, parsed

MS_MAX = 253_402_300_800_000  # the year 10000: later times have no day
BODY_BYTES_MAX = 8 << 20  # a decision over 1,000 placements is about 1 MB
_INT64_MAX = 2**63


class RecordUnreadable(NextbestError):
    """A log record is not what its columns say; it is set aside with this reason and moving goes on."""


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a record as a column: its DuckDB type, and how a JSON value becomes what is written."""

    name: str
    type: str
    read: Callable[[Any], Any]  # raises ValueError for a value of another type
    required: bool = False  # others may be null or absent


@dataclass(frozen=True, slots=True)
class Dataset:
    """One folder of history: records of one kind, a row each."""

    name: str
    kind: str
    id_column: str
    time_column: str  # decides the day; by the store's clock, so that a day is closed once it is over
    columns: tuple[Column, ...]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text expected")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false expected")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT64_MAX <= value < _INT64_MAX:
        raise ValueError("whole number expected")
    return value


def _time(value: Any) -> int:
    if not 0 <= _whole(value) < MS_MAX:
        raise ValueError("milliseconds since 1970 expected")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("number expected")
    return float(value)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("list of texts expected")
    return [_text(item) for item in value]


def _json(value: Any) -> str:
    return canonical(value).decode()


PLACEMENT_COLUMNS = (
    Column("placement", "VARCHAR", _text, required=True),
    Column("outcome", "VARCHAR", _text, required=True),
    Column("action", "VARCHAR", _text),
    Column("treatment", "VARCHAR", _text),
    Column("rank", "BIGINT", _whole),
    Column("reasons", "VARCHAR[]", _texts),
    Column("propensity", "DOUBLE", _number),
    Column("uplift", "DOUBLE", _number),
    Column("priority", "DOUBLE", _number),
    Column("expected_value", "DOUBLE", _number),
    Column("selection_probability", "DOUBLE", _number),
    Column("lease_of", "VARCHAR", _text),
    Column("more", "VARCHAR", _text),
)


def _placements(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("list of objects expected")
    return [_cells(item, PLACEMENT_COLUMNS) for item in value]


DECISIONS = Dataset(
    name="decisions",
    kind="decision",
    id_column="decision_id",
    time_column="at_ms",
    columns=(
        Column("decision_id", "VARCHAR", _text, required=True),
        Column("at_ms", "BIGINT", _time, required=True),
        Column("person_key", "VARCHAR", _text, required=True),
        Column("channel", "VARCHAR", _text, required=True),
        Column("placement_names", "VARCHAR[]", _texts),
        Column("context", "VARCHAR", _json),
        Column("profile_found", "BOOLEAN", _flag),
        Column("holdout", "BOOLEAN", _flag),
        Column("arms", "VARCHAR", _json),
        Column("arm_probability", "DOUBLE", _number),
        Column("degraded", "BOOLEAN", _flag),
        Column("draw_index", "BIGINT", _whole),
        Column("versions", "VARCHAR", _json),
        Column("api_key", "VARCHAR", _text),
        Column("sending", "BOOLEAN", _flag),
        Column("offers_allowed", "BOOLEAN", _flag),
        Column("client_class", "VARCHAR", _text),
        Column("consents", "VARCHAR", _json),
        Column("snapshot", "VARCHAR", _json),
        Column("sealed", "VARCHAR", _text),
        Column(
            "placements",
            "STRUCT(" + ", ".join(f'"{column.name}" {column.type}' for column in PLACEMENT_COLUMNS) + ")[]",
            _placements,
            required=True,
        ),
        Column("more", "VARCHAR", _text),
    ),
)

RESPONSES = Dataset(
    name="responses",
    kind="response",
    id_column="response_id",
    time_column="received_ms",
    columns=(
        Column("response_id", "VARCHAR", _text, required=True),
        Column("decision_id", "VARCHAR", _text),
        Column("placement", "VARCHAR", _text),
        Column("at_ms", "BIGINT", _whole, required=True),
        Column("received_ms", "BIGINT", _time, required=True),
        Column("person_key", "VARCHAR", _text, required=True),
        Column("action", "VARCHAR", _text),
        Column("channel", "VARCHAR", _text),
        Column("outcome", "VARCHAR", _text, required=True),
        Column("value", "DOUBLE", _number),
        Column("more", "VARCHAR", _text),
    ),
)

CONSENTS = Dataset(
    name="consents",
    kind="consent",
    id_column="consent_id",
    time_column="received_ms",
    columns=(
        Column("consent_id", "VARCHAR", _text, required=True),
        Column("person_key", "VARCHAR", _text, required=True),
        Column("channel", "VARCHAR", _text, required=True),
        Column("purpose", "VARCHAR", _text, required=True),
        Column("version", "BIGINT", _whole, required=True),
        Column("granted", "BOOLEAN", _flag, required=True),
        Column("basis", "VARCHAR", _text),
        Column("source", "VARCHAR", _text),
        Column("at_ms", "BIGINT", _whole, required=True),
        Column("received_ms", "BIGINT", _time, required=True),
        Column("more", "VARCHAR", _text),
    ),
)

VIEWS = Dataset(
    name="views",
    kind="view",
    id_column="view_id",
    time_column="at_ms",
    columns=(
        Column("view_id", "VARCHAR", _text, required=True),
        Column("at_ms", "BIGINT", _time, required=True),
        Column("person_key", "VARCHAR", _text, required=True),
        Column("user", "VARCHAR", _text, required=True),
        Column("role", "VARCHAR", _text, required=True),
        Column("more", "VARCHAR", _text),
    ),
)

DATASETS = (DECISIONS, RESPONSES, CONSENTS, VIEWS)
_BY_KIND = {dataset.kind: dataset for dataset in DATASETS}


@dataclass(frozen=True, slots=True)
class Row:
    """A record on its way to a file."""

    dataset: Dataset
    record_id: str
    at_ms: int  # of the dataset's time column
    line: bytes  # its cells by column name, as one line of JSON

    @property
    def day(self) -> str:
        """The UTC day whose folder holds the row."""
        return day_of(self.at_ms)


def day_of(at_ms: int) -> str:
    """The UTC day of a time, as YYYY-MM-DD."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d")


def row_of(record_id: str, body: bytes) -> Row:
    """Read one log record; raises RecordUnreadable with the reason, which never repeats a value."""
    record = _object_of(body)
    kind = record.pop("kind", None)
    dataset = _BY_KIND.get(kind) if isinstance(kind, str) else None
    if dataset is None:
        raise RecordUnreadable(f"kind: none of {', '.join(_BY_KIND)}")
    try:
        cells = _cells(record, dataset.columns)
        line = json_of(cells) + b"\n"
    except (ValueError, OverflowError, RecursionError) as error:
        raise RecordUnreadable(str(error)) from error
    if cells[dataset.id_column] != record_id:
        raise RecordUnreadable(f"{dataset.id_column}: is not the id the record was logged under")
    return Row(dataset, record_id, cells[dataset.time_column], line)


def record_of(dataset: Dataset, cells: Mapping[str, Any]) -> dict[str, Any]:
    """The record a row was made of: the way back from `row_of`, for replay and explanation."""
    return {"kind": dataset.kind, **_fields(cells, dataset.columns)}


def _object_of(body: bytes) -> dict[str, Any]:
    if len(body) > BODY_BYTES_MAX:
        raise RecordUnreadable(f"longer than {BODY_BYTES_MAX} bytes")
    try:
        record = parsed(body)
    except (StoreDamaged, RecursionError) as error:
        raise RecordUnreadable(f"not JSON: {error.__cause__ or error}") from error
    if not isinstance(record, dict):
        raise RecordUnreadable("not a JSON object")
    return record


def _cells(fields: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    cells = {column.name: _cell(fields.get(column.name), column) for column in columns}
    more = {name: value for name, value in fields.items() if name not in cells}
    if more:
        cells["more"] = _json(more)
    return cells


def _cell(value: Any, column: Column) -> Any:
    if value is None and not column.required:
        return None
    try:
        return column.read(value)
    except ValueError as error:
        raise ValueError(f"{column.name}: {error}") from error


def _fields(cells: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    fields = {column.name: _field(cells[column.name], column) for column in columns if column.name != "more"}
    more: dict[str, Any] = json.loads(cells["more"] or "{}")
    return fields | more


def _field(cell: Any, column: Column) -> Any:
    if cell is None:
        return None
    if column.read is _json:
        return json.loads(cell)
    if column.read is _placements:
        return [_fields(item, PLACEMENT_COLUMNS) for item in cell]
    return cell
