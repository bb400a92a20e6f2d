"""Values of the language as Python values, and what CEL says about their kinds, equality and order.

int, float, str, bytes, bool, None, list and dict stand for themselves; UInt, TypeValue, Timestamp and Duration are
ours. Python holds True and 1 to be the same dictionary key while CEL does not, so a bool is kept as a BoolKey inside a
map; no other key needs it. Values are never changed in place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rules.errors import EvaluationError
from rules.limits import MAX_VALUE_DEPTH
from rules.timestamps import Duration, Timestamp

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1


class UInt(int):
    """An unsigned 64-bit number; equal to the int of the same value, as in CEL, and told apart by its class."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: what `type(x)` returns."""

    name: str


@dataclass(frozen=True, slots=True)
class BoolKey:
    """A bool in the role of a map key."""

    value: bool


Value = Any  # a value of the language; its kind is known only at evaluation

KINDS: Mapping[type, str] = {
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    bool: "bool",
    type(None): "null",
    list: "list",
    tuple: "list",
    dict: "map",
    Timestamp: "timestamp",
    Duration: "duration",
    TypeValue: "type",
}
TYPE_NAMES: Mapping[str, str] = {
    **{kind: kind for kind in ("int", "uint", "double", "string", "bytes", "bool", "list", "map", "type")},
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}
NUMBERS = frozenset({"int", "uint", "double"})
ORDERED = NUMBERS | {"string", "bytes", "bool", "timestamp", "duration"}


def kind_of(value: Value) -> str:
    """The CEL kind of a value. Raises EvaluationError for an object of the host's that is no value of the language."""
    kind = KINDS.get(type(value))
    return kind if kind is not None else _kind_of_subclass(value)


def _kind_of_subclass(value: Value) -> str:
    if isinstance(value, Mapping):
        return "map"
    for base in type(value).__mro__:
        if base in KINDS:
            return KINDS[base]
    raise EvaluationError(f"{type(value).__name__} is not a value of the language")


def type_of(value: Value) -> TypeValue:
    """The type of a value, as a value."""
    return TypeValue(TYPE_NAMES[kind_of(value)])


def equal(left: Value, right: Value, depth: int = 0) -> bool:
    """CEL equality: numbers by value, unlike kinds are unequal, NaN is unequal to itself also inside lists."""
    kind, other = kind_of(left), kind_of(right)
    if kind != other:
        return kind in NUMBERS and other in NUMBERS and numbers_compare(operator.eq, left, right)
    if kind not in ("list", "map"):
        return bool(left == right)
    if depth >= MAX_VALUE_DEPTH:
        raise EvaluationError(f"values nest deeper than {MAX_VALUE_DEPTH} levels")
    if len(left) != len(right):
        return False
    if kind == "list":
        return all(equal(a, b, depth + 1) for a, b in zip(left, right, strict=True))
    return all(key in right and equal(value, right[key], depth + 1) for key, value in left.items())


def numbers_compare(test: Callable[[Any, Any], bool], left: float, right: float) -> bool:
    """Compare numbers of any two kinds. Beside a double an int counts as the nearest double, as in CEL's engines."""
    if isinstance(left, float) or isinstance(right, float):
        return test(float(left), float(right))
    return test(left, right)


def order(test: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    """`<` and its kin over values of unknown kind: numbers by value, otherwise equal kinds that have an order."""

    def compare(left: Value, right: Value) -> bool:
        kind, other = kind_of(left), kind_of(right)
        if kind in NUMBERS and other in NUMBERS:
            return numbers_compare(test, left, right)
        if kind == other and kind in ORDERED:
            return test(left, right)
        raise EvaluationError(f"{kind} and {other} have no order")

    return compare


def contains(element: Value, container: Value) -> bool:
    """`element in container`: an element of a list or a key of a map."""
    kind = kind_of(container)
    if kind == "list":
        return any(equal(element, other) for other in container)
    if kind == "map":
        return is_key(element) and as_key(element) in container
    raise EvaluationError(f"'in' searches a list or a map, not {kind}")


def is_key(value: Value) -> bool:
    """Whether a map could have this key: text, bool or number; 1, 1u and 1.0 are the same key."""
    return kind_of(value) in ("string", "int", "uint", "double", "bool")


def as_key(value: Value) -> Value:
    """A value as it stands in a map's keys."""
    return BoolKey(value) if type(value) is bool else value


def from_key(key: Value) -> Value:
    """A map's key as the value it stands for."""
    return key.value if type(key) is BoolKey else key


def item(container: Value, index: Value) -> Value:
    """`container[index]`. Raises EvaluationError for an absent key, a position outside the list or an unfit index."""
    kind = kind_of(container)
    if kind == "map":
        if is_key(index) and as_key(index) in container:
            return container[as_key(index)]
        raise EvaluationError("no such key")
    if kind == "list":
        return container[_list_position(container, index)]
    raise EvaluationError(f"{kind} has no elements to index")


def _list_position(elements: Sequence[Value], index: Value) -> int:
    if kind_of(index) not in NUMBERS or index != index or index in (float("inf"), float("-inf")) or int(index) != index:
        raise EvaluationError("a list is indexed by a whole number")
    if not 0 <= index < len(elements):
        raise EvaluationError(f"index {int(index)} outside a list of {len(elements)}")
    return int(index)


def items(container: Value) -> Sequence[tuple[Value, Value]]:
    """What a loop walks over with two variables: position and element of a list, key and value of a map."""
    kind = kind_of(container)
    if kind == "list":
        return list(enumerate(container))
    if kind == "map":
        return [(from_key(key), value) for key, value in container.items()]
    raise EvaluationError(f"a loop walks over a list or a map, not {kind}")


def elements(container: Value) -> Sequence[Value]:
    """What a loop walks over with one variable: the elements of a list, the keys of a map."""
    kind = kind_of(container)
    if kind == "list":
        return container  # type: ignore[no-any-return]  # kind_of has said that it is a list
    if kind == "map":
        return [from_key(key) for key in container]
    raise EvaluationError(f"a loop walks over a list or a map, not {kind}")
