"""Cells: what a cell of a table means as an attribute, a label, a number or a time.

CSV cells are text, JSON and Parquet cells have types of their own; here they meet. A cell is converted once per
distinct value of its column, because tables repeat themselves and a schema check costs a microsecond.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from decisioning.catalog.schema import Attribute
from decisioning.errors import InvalidAttribute

_DAY = re.compile(r"\s*\d{4}-?\d{2}-?\d{2}\s*$")
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Bad:
    """A cell that is not what its column should hold."""

    reason: str


def converted(cells: Sequence[Any], convert: Callable[[Any], Any], missing: Collection[str] = ()) -> list[Any]:
    """The cells' values; None for an empty cell or one labelled missing, Bad where `convert` raised ValueError."""

    def value_of(cell: Any) -> Any:
        # NaN stands for nothing in many tables, and so do blanks.
        empty = cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())
        return None if empty or label_of(cell) in missing else _tried(convert, cell)

    # Lists have no hash; and 1, 1.0 and True are one key, so a column that mixes types is looked at cell by cell.
    types = set(map(type, cells)) - {type(None)}
    if len(types) != 1 or list in types or dict in types:
        return [value_of(cell) for cell in cells]
    known = {cell: value_of(cell) for cell in set(cells)}
    return list(map(known.__getitem__, cells))


def attribute_reader(attribute: Attribute) -> Callable[[Any], Any]:
    """Converts a cell to the attribute's value as profiles keep it (JSON); the schema has the last word."""
    read = _RAW[attribute.type]

    def convert(cell: Any) -> Any:
        raw = read(cell)
        try:
            attribute.typed(raw)
        except InvalidAttribute as error:
            raise ValueError(str(error)) from error
        return raw

    return convert


def label_of(cell: Any) -> str:
    """A cell as its author would write it in a list of labels: 1 for 1.0, true for True."""
    if isinstance(cell, bool):
        return str(cell).lower()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def number_of(cell: Any) -> float:
    """A finite number, also from text."""
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or (isinstance(cell, str) and "_" in cell):  # Python reads 1_000 as a number
        raise ValueError("number expected")
    return value


def probability_of(cell: Any) -> float:
    """The probability of something that happened: above 0 and at most 1."""
    value = number_of(cell)
    if not 0.0 < value <= 1.0:
        raise ValueError(
            "a logging probability is above 0 and at most 1: what was drawn was possible. Correct it, or take "
            "logging_probability out of the mapping to do without uplifts and policy values"
        )
    return value


def order_of(cell: Any) -> float:
    """A moment as milliseconds when the cell is a timestamp, else the number that orders the rows."""
    try:
        return number_of(cell)
    except ValueError:
        return moment_ms(cell)


def moment_ms(cell: Any) -> float:
    """A date or a time as milliseconds since 1970; without a zone it is UTC. A number is milliseconds already."""
    moment = _moment(_parsed(cell) if isinstance(cell, str) else cell)
    try:
        return number_of(cell) if moment is None else moment.timestamp() * 1000
    except ValueError as error:
        raise ValueError("date or time expected") from error


def is_day(cell: Any) -> bool:
    """True for a date without a time of day."""
    if isinstance(cell, str):
        return _DAY.match(cell) is not None
    return isinstance(cell, date) and not isinstance(cell, datetime)


def flag_of(cell: Any) -> bool:
    """True or false, also as the words and digits that tables use."""
    word = label_of(cell).strip().lower()
    if word not in WORDS:
        raise ValueError(f"expected one of {', '.join(WORDS)}")
    return WORDS[word]


def bad_cells(values: Sequence[Any]) -> list[tuple[int, Bad]]:
    """Positions of the cells that could not be converted, with the reasons."""
    if Bad not in set(map(type, values)):  # nearly always, and five times as fast as looking at each
        return []
    return [(index, value) for index, value in enumerate(values) if type(value) is Bad]


def _tried(convert: Callable[[Any], Any], cell: Any) -> Any:
    try:
        return convert(cell)
    except ValueError as error:
        return Bad(str(error))


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _moment(cell: Any) -> datetime | None:
    """A date or time of Parquet; without a zone it is UTC, as Parquet writers mean it."""
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime.combine(cell, time())
    if not isinstance(cell, datetime):
        return None
    return cell if cell.tzinfo else cell.replace(tzinfo=UTC)


def _raw_int(cell: Any) -> Any:
    if isinstance(cell, str):
        cell = number_of(cell) if not cell.strip().lstrip("+-").isdecimal() else int(cell)
    return int(cell) if isinstance(cell, (float, Decimal)) and cell == int(number_of(cell)) else cell


def _raw_double(cell: Any) -> Any:
    return number_of(cell) if isinstance(cell, (str, Decimal)) else cell


def _raw_flag(cell: Any) -> Any:
    return cell if isinstance(cell, bool) else flag_of(cell)


def _raw_timestamp(cell: Any) -> Any:
    moment = _moment(cell)
    return cell if moment is None else moment.isoformat()


def _raw_texts(cell: Any) -> Any:
    return json.loads(cell) if isinstance(cell, str) else cell


def _as_is(cell: Any) -> Any:
    return cell


# One reader a type, from a cell to the JSON value that the schema checks.
_RAW: dict[str, Callable[[Any], Any]] = {
    "int": _raw_int,
    "double": _raw_double,
    "string": _as_is,
    "bool": _raw_flag,
    "timestamp": _raw_timestamp,
    "list<string>": _raw_texts,
}
