"""Comparisons: the cheapest tests and searches that are right for the types they stand between."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from rules.operators import ORDER
from rules.types import NUMERIC_KINDS, Type
from rules.values import ORDERED, Value, equal, kind_of, order

MIRRORED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_PLAIN_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {**ORDER, "==": operator.eq, "!=": operator.ne}
_EXACT_MAX = 2**53  # below it every int is a double


def is_plain(left: Type, right: Type, constant: Value = None) -> bool:
    """Whether Python's own comparison is right: for numbers and scalars of one kind.

    An int beside a double counts as the nearest double. Python compares the exact values instead, which comes to the
    same where one side is a constant below 2^53, as in every rule about money.
    """
    kinds = {left.kind, right.kind}
    if (len(kinds) == 1 and kinds <= ORDERED) or kinds == {"int", "uint"}:
        return True
    return kinds <= NUMERIC_KINDS and isinstance(constant, int | float) and abs(constant) < _EXACT_MAX


def test_of(symbol: str, left: Type, right: Type, constant: Value = None) -> Callable[[Any, Any], bool]:
    """The cheapest test that is right for the types."""
    if is_plain(left, right, constant):
        return _PLAIN_TESTS[symbol]
    if symbol in ORDER:
        return order(ORDER[symbol])
    return equal if symbol == "==" else _unequal


def _unequal(left: Value, right: Value) -> bool:
    return not equal(left, right)


def members_of(element: Type, container: Value) -> frozenset[Value] | None:
    """A constant list as a set, where a set answers as the list would: text in texts, a known number in numbers."""
    if not isinstance(container, list):
        return None
    kinds = {kind_of(member) for member in container}
    if kinds == {"string"} and element.kind == "string":
        return frozenset(container)
    if kinds and kinds <= {"int", "uint"} and element.kind in ("int", "uint"):
        return frozenset(container)
    return None
