"""The `math.` functions: extremes, rounding, signs and bits."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from rules.errors import EvaluationError
from rules.operators import as_int
from rules.overloads import Overload
from rules.types import BOOL, DOUBLE, DYN, INT, NUMBER, UINT, list_of
from rules.values import INT_MAX, NUMBERS, UINT_MAX, UInt, Value, kind_of

_WORD = 64  # bits of an int or a uint


def _extreme(beats: Callable[[Value, Value], bool]) -> tuple[Overload, ...]:
    """Overloads of greatest or least: over one list or any number of numbers, of which the first extreme one wins."""

    def among(values: Sequence[Value]) -> Value:
        if not values or any(kind_of(value) not in NUMBERS for value in values):
            raise EvaluationError("the extreme is sought among one or more numbers")
        return reduce(lambda best, value: value if beats(value, best) else best, values)

    def of_arguments(*values: Value) -> Value:
        return among(values)

    alike = tuple(Overload((kind,), kind, of_arguments, variadic=True) for kind in (INT, UINT, DOUBLE))
    return (Overload((list_of(NUMBER),), DYN, among), *alike, Overload((NUMBER,), DYN, of_arguments, variadic=True))


def _round(value: float) -> float:
    """Nearest whole number, halves away from zero."""
    if not math.isfinite(value):
        return value
    whole = math.trunc(value)
    away = abs(value - whole) >= 0.5  # exact: a double and its whole part lie close enough
    return math.copysign(float(abs(whole) + away), value)


def _whole(function: Callable[[float], float]) -> Callable[[float], float]:
    def rounded(value: float) -> float:
        return math.copysign(float(function(value)), value) if math.isfinite(value) else value

    return rounded


def _sign(value: float) -> float:
    return value if math.isnan(value) else float((value > 0) - (value < 0))


def _sqrt(value: float) -> float:
    number = float(value)
    return math.sqrt(number) if number >= 0 else math.nan


def _signed(bits: int) -> int:
    """64 bits read as an int."""
    return bits - 2**_WORD if bits > INT_MAX else bits


def _shift_left(value: int, count: int) -> int:
    if count < 0:
        raise EvaluationError("a shift is not negative")
    return (value << count) & UINT_MAX if count < _WORD else 0


def _shift_right(value: int, count: int) -> int:
    """Zeros come in from the left, for ints too."""
    if count < 0:
        raise EvaluationError("a shift is not negative")
    return (value & UINT_MAX) >> min(count, _WORD)


def _bits(function: Callable[[int, int], int]) -> tuple[Overload, ...]:
    return (
        Overload((INT, INT), INT, function),
        Overload((UINT, UINT), UINT, lambda left, right: UInt(function(int(left), int(right)))),
    )


def _shifts(function: Callable[[int, int], int]) -> tuple[Overload, ...]:
    return (
        Overload((INT, INT), INT, lambda value, count: _signed(function(value, count))),
        Overload((UINT, INT), UINT, lambda value, count: UInt(function(int(value), count))),
    )


MATH_FUNCTIONS: Mapping[str, tuple[Overload, ...]] = {
    "math.greatest": _extreme(operator.gt),
    "math.least": _extreme(operator.lt),
    "math.ceil": (Overload((DOUBLE,), DOUBLE, _whole(math.ceil)),),
    "math.floor": (Overload((DOUBLE,), DOUBLE, _whole(math.floor)),),
    "math.trunc": (Overload((DOUBLE,), DOUBLE, _whole(math.trunc)),),
    "math.round": (Overload((DOUBLE,), DOUBLE, _round),),
    "math.abs": (
        Overload((INT,), INT, lambda value: as_int(abs(value))),
        Overload((UINT,), UINT, lambda value: value),
        Overload((DOUBLE,), DOUBLE, abs),
    ),
    "math.sign": (
        Overload((INT,), INT, lambda value: (value > 0) - (value < 0)),
        Overload((UINT,), UINT, lambda value: UInt(value > 0)),
        Overload((DOUBLE,), DOUBLE, _sign),
    ),
    "math.sqrt": tuple(Overload((kind,), DOUBLE, _sqrt) for kind in (DOUBLE, INT, UINT)),
    "math.isNaN": (Overload((DOUBLE,), BOOL, math.isnan),),
    "math.isInf": (Overload((DOUBLE,), BOOL, math.isinf),),
    "math.isFinite": (Overload((DOUBLE,), BOOL, math.isfinite),),
    "math.bitAnd": _bits(operator.and_),
    "math.bitOr": _bits(operator.or_),
    "math.bitXor": _bits(operator.xor),
    "math.bitNot": (
        Overload((INT,), INT, operator.invert),
        Overload((UINT,), UINT, lambda value: UInt(int(value) ^ UINT_MAX)),
    ),
    "math.bitShiftLeft": _shifts(_shift_left),
    "math.bitShiftRight": _shifts(_shift_right),
}
