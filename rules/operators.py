"""Arithmetic: overloads of each operator. 64-bit overflow is an error, division cuts towards zero."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from math import copysign, inf, isnan, nan
from typing import Any

from rules.errors import EvaluationError
from rules.limits import MAX_VALUE_LENGTH
from rules.overloads import Overload
from rules.timestamps import Duration, Timestamp
from rules.types import BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, UINT, list_of
from rules.values import INT_MAX, INT_MIN, UINT_MAX, UInt, Value


def as_int(number: int) -> int:
    """A result as int64. Raises EvaluationError on overflow."""
    if INT_MIN <= number <= INT_MAX:
        return number
    raise EvaluationError("int overflow")


def as_uint(number: int) -> UInt:
    """A result as uint64. Raises EvaluationError on overflow and below zero."""
    if 0 <= number <= UINT_MAX:
        return UInt(number)
    raise EvaluationError("uint overflow")


def _over_ints(function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    return lambda left, right: as_int(function(left, right))


def _over_uints(function: Callable[[int, int], int]) -> Callable[[int, int], UInt]:
    return lambda left, right: as_uint(function(left, right))


def _divide(left: int, right: int) -> int:
    if right == 0:
        raise EvaluationError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise EvaluationError("modulus by zero")
    if right == -1 and left == INT_MIN:  # the quotient beside this remainder does not fit
        raise EvaluationError("int overflow")
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


def _divide_doubles(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or isnan(left):
        return nan
    return copysign(inf, left) * copysign(1.0, right)


def _concatenate(left: Any, right: Any) -> Any:
    if len(left) + len(right) > MAX_VALUE_LENGTH:
        raise EvaluationError(f"a value would be longer than {MAX_VALUE_LENGTH}")
    return left + right


def _concatenate_lists(left: Any, right: Any) -> Any:
    return _concatenate(list(left), list(right))


def _numeric(over_ints: Callable[[Any, Any], int], over_doubles: Callable[[Any, Any], float]) -> list[Overload]:
    return [
        Overload((INT, INT), INT, _over_ints(over_ints)),
        Overload((UINT, UINT), UINT, _over_uints(over_ints)),
        Overload((DOUBLE, DOUBLE), DOUBLE, over_doubles),
    ]


def _negate(number: int) -> int:
    return as_int(-number)


ANY_LIST = list_of(DYN)
ARITHMETIC: Mapping[str, tuple[Overload, ...]] = {
    "+": (
        *_numeric(operator.add, operator.add),
        Overload((STRING, STRING), STRING, _concatenate),
        Overload((BYTES, BYTES), BYTES, _concatenate),
        Overload((ANY_LIST, ANY_LIST), ANY_LIST, _concatenate_lists),
        Overload((TIMESTAMP, DURATION), TIMESTAMP, lambda moment, span: Timestamp(moment.nanos + span.nanos)),
        Overload((DURATION, TIMESTAMP), TIMESTAMP, lambda span, moment: Timestamp(moment.nanos + span.nanos)),
        Overload((DURATION, DURATION), DURATION, lambda left, right: Duration(left.nanos + right.nanos)),
    ),
    "-": (
        *_numeric(operator.sub, operator.sub),
        Overload((TIMESTAMP, DURATION), TIMESTAMP, lambda moment, span: Timestamp(moment.nanos - span.nanos)),
        Overload((TIMESTAMP, TIMESTAMP), DURATION, lambda later, earlier: Duration(later.nanos - earlier.nanos)),
        Overload((DURATION, DURATION), DURATION, lambda left, right: Duration(left.nanos - right.nanos)),
    ),
    "*": tuple(_numeric(operator.mul, operator.mul)),
    "/": tuple(_numeric(_divide, _divide_doubles)),
    "%": (Overload((INT, INT), INT, _over_ints(_remainder)), Overload((UINT, UINT), UINT, _over_uints(_remainder))),
    "negate": (Overload((INT,), INT, _negate), Overload((DOUBLE,), DOUBLE, operator.neg)),
}
ORDER: Mapping[str, Callable[[Value, Value], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
