"""`"%s owes %.2f".format([name, sum])`: text with values filled in, the same in every locale."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite

from rules.conversions import double_text, octets_text, text_octets
from rules.errors import EvaluationError
from rules.limits import MAX_PRECISION, MAX_VALUE_DEPTH, MAX_VALUE_LENGTH
from rules.values import NUMBERS, Value, from_key, kind_of

_CLAUSE = re.compile(r"%(?:(%)|(?:\.([0-9]{1,6}))?([a-zA-Z]))?")
_DEFAULT_PRECISION = 6


def format_text(template: str, values: Sequence[Value]) -> str:
    """Fill the clauses %s %d %f %e %b %o %x %X of a template with values in order. Raises EvaluationError."""
    waiting = iter(values)
    parts: list[str] = []
    end = length = 0
    for clause in _CLAUSE.finditer(template):
        filled = "%" if clause[1] else _fill(clause, waiting)
        parts += [template[end : clause.start()], filled]
        end = clause.end()
        length += len(filled)
        if length > MAX_VALUE_LENGTH:
            raise EvaluationError(f"a value would be longer than {MAX_VALUE_LENGTH}")
    return "".join([*parts, template[end:]])


def _fill(clause: re.Match[str], waiting: Iterator[Value]) -> str:
    precision, letter = clause[2], clause[3]
    if letter in _WITH_PRECISION:
        digits = _DEFAULT_PRECISION if precision is None else int(precision)
        if digits > MAX_PRECISION:
            raise EvaluationError(f"a precision is at most {MAX_PRECISION}")
        return _decimal(_next(waiting), f".{digits}{letter}")
    if letter not in _PLAIN or precision is not None:
        raise EvaluationError(f"unknown formatting clause {clause[0]!r}")
    return _PLAIN[letter](_next(waiting))


def _next(waiting: Iterator[Value]) -> Value:
    for value in waiting:
        return value
    raise EvaluationError("format() has more clauses than values")


def _decimal(value: Value, specification: str) -> str:
    if kind_of(value) not in NUMBERS:
        raise EvaluationError(f"{kind_of(value)} is not a number to format")
    number = float(value)
    return format(number, specification) if isfinite(number) else double_text(number)


def _whole(value: Value, specification: str) -> str:
    if kind_of(value) not in ("int", "uint"):
        raise EvaluationError(f"{kind_of(value)} is not a whole number to format")
    return format(int(value), specification)


def _digits(value: Value) -> str:
    if kind_of(value) == "double" and not isfinite(value):
        return double_text(value)
    return _whole(value, "d")


def _binary(value: Value) -> str:
    return _whole(int(value) if kind_of(value) == "bool" else value, "b")


def _hexadecimal(value: Value) -> str:
    kind = kind_of(value)
    if kind == "string":
        return text_octets(value).hex()
    return value.hex() if kind == "bytes" else _whole(value, "x")


def text_of(value: Value, depth: int = 0) -> str:
    """A value as `%s` shows it; the entries of a map are ordered by their keys' text."""
    kind = kind_of(value)
    if depth >= MAX_VALUE_DEPTH:
        raise EvaluationError(f"values nest deeper than {MAX_VALUE_DEPTH} levels")
    if kind == "list":
        return f"[{', '.join(text_of(element, depth + 1) for element in value)}]"
    if kind == "map":
        entries = sorted((text_of(from_key(key), depth + 1), text_of(entry, depth + 1)) for key, entry in value.items())
        return "{" + ", ".join(f"{key}: {entry}" for key, entry in entries) + "}"
    return _SHOWN.get(kind, str)(value)


_SHOWN: Mapping[str, Callable[[Value], str]] = {
    "null": lambda value: "null",
    "bool": lambda value: "true" if value else "false",
    "uint": lambda value: str(int(value)),
    "double": double_text,
    "bytes": octets_text,
    "type": lambda value: value.name,
}
_WITH_PRECISION = frozenset("fe")
_PLAIN: Mapping[str, Callable[[Value], str]] = {
    "s": text_of,
    "d": _digits,
    "b": _binary,
    "o": lambda value: _whole(value, "o"),
    "x": _hexadecimal,
    "X": lambda value: _hexadecimal(value).upper(),
}
