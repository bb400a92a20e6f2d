"""Conversions between kinds, by the name of the target type, and `type`, `dyn` and `size`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf, isfinite, isnan

from rules.errors import EvaluationError
from rules.limits import MAX_NUMBER_LENGTH
from rules.operators import ANY_LIST, as_int, as_uint
from rules.overloads import Overload
from rules.timestamps import NANOS, Duration, Timestamp
from rules.types import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, TYPE, UINT, map_of
from rules.values import INT_MAX, UINT_MAX, UInt, Value, type_of

ANY_MAP = map_of(DYN, DYN)
_BOOLS = {
    **dict.fromkeys(("1", "t", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)


def double_text(value: float) -> str:
    """A double in the shortest digits that read back as the same value; a whole one without `.0`."""
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value).removesuffix(".0")


def octets_text(octets: bytes) -> str:
    """The text that octets spell in UTF-8. Raises EvaluationError."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise EvaluationError("the bytes are not UTF-8") from None


def text_octets(text: str) -> bytes:
    """The UTF-8 octets of a text. Raises EvaluationError for half of a surrogate pair, which no encoding has."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EvaluationError("the text holds half a surrogate pair") from None


def _text_bool(text: str) -> bool:
    if text not in _BOOLS:
        raise EvaluationError(f"{text[:40]!r} is neither true nor false")
    return _BOOLS[text]


def _text_whole(text: str) -> int:
    if len(text) > MAX_NUMBER_LENGTH or not _WHOLE.fullmatch(text):
        raise EvaluationError(f"{text[:40]!r} is not a whole number")
    return int(text)


def _text_double(text: str) -> float:
    if len(text) > MAX_NUMBER_LENGTH or not _DECIMAL.fullmatch(text):
        raise EvaluationError(f"{text[:40]!r} is not a number")
    return float(text)


def _double_int(value: float) -> int:
    # Both ends are excluded: 2^63 - 1 has no double, so a double at an end may already have been rounded out of range.
    if not -float(INT_MAX) < value < float(INT_MAX):
        raise EvaluationError("the double is outside int")
    return int(value)


def _double_uint(value: float) -> UInt:
    if not isfinite(value) or not 0 <= value < float(UINT_MAX):
        raise EvaluationError("the double is outside uint")
    return UInt(int(value))


def _same(value: Value) -> Value:
    return value


CONVERSIONS: Mapping[str, tuple[Overload, ...]] = {
    "bool": (Overload((BOOL,), BOOL, _same), Overload((STRING,), BOOL, _text_bool)),
    "int": (
        Overload((INT,), INT, _same),
        Overload((UINT,), INT, lambda value: as_int(int(value))),
        Overload((DOUBLE,), INT, _double_int),
        Overload((STRING,), INT, lambda text: as_int(_text_whole(text))),
        Overload((TIMESTAMP,), INT, lambda moment: moment.nanos // NANOS),
    ),
    "uint": (
        Overload((UINT,), UINT, _same),
        Overload((INT,), UINT, as_uint),
        Overload((DOUBLE,), UINT, _double_uint),
        Overload((STRING,), UINT, lambda text: as_uint(_text_whole(text))),
    ),
    "double": (
        Overload((DOUBLE,), DOUBLE, _same),
        Overload((INT,), DOUBLE, float),
        Overload((UINT,), DOUBLE, float),
        Overload((STRING,), DOUBLE, _text_double),
    ),
    "string": (
        Overload((STRING,), STRING, _same),
        Overload((INT,), STRING, str),
        Overload((UINT,), STRING, lambda value: str(int(value))),
        Overload((DOUBLE,), STRING, double_text),
        Overload((BOOL,), STRING, lambda value: "true" if value else "false"),
        Overload((BYTES,), STRING, octets_text),
        Overload((TIMESTAMP,), STRING, str),
        Overload((DURATION,), STRING, str),
    ),
    "bytes": (Overload((BYTES,), BYTES, _same), Overload((STRING,), BYTES, text_octets)),
    "timestamp": (
        Overload((TIMESTAMP,), TIMESTAMP, _same),
        Overload((STRING,), TIMESTAMP, Timestamp.parse),
        Overload((INT,), TIMESTAMP, lambda seconds: Timestamp(seconds * NANOS)),
    ),
    "duration": (Overload((DURATION,), DURATION, _same), Overload((STRING,), DURATION, Duration.parse)),
    "dyn": (Overload((DYN,), DYN, _same),),
    "type": (Overload((DYN,), TYPE, type_of),),
}
SIZE = tuple(Overload((kind,), INT, len) for kind in (STRING, BYTES, ANY_LIST, ANY_MAP))
