"""Generated expressions: trees of every shape the grammar can make, and values to evaluate them with."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rules import (
    Binary,
    Call,
    Conditional,
    Duration,
    Has,
    Ident,
    Index,
    ListOf,
    Literal,
    Logic,
    Loop,
    MapOf,
    Node,
    Select,
    Timestamp,
    UInt,
    Unary,
)
from rules.functions import FUNCTIONS, METHODS
from rules.macros import MACROS, Shape

NAMES = st.sampled_from(["customer", "x", "y", "history", "_a1"])
FIELDS = st.sampled_from(["age", "tier", "items", "for", "in", "a-b", "content/type", "x y"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["1h", "2025-01-01T00:00:00Z", "(a+)+$"]
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LITERALS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.integers(0, 2**64 - 1).map(UInt), TEXTS, st.binary(max_size=4)
).map(Literal)
PLAIN_CALLS = sorted(name for name in FUNCTIONS if "." not in name)
QUALIFIED_CALLS = sorted(tuple(name.split(".")) for name in FUNCTIONS if "." in name)
LOOPS = [(macro, shape) for macro, shapes in sorted(MACROS.items()) for shape in shapes]


def _negated(operand: Node) -> Node:
    # A minus before a bare number belongs to the number.
    is_number = isinstance(operand, Literal) and type(operand.value) in (int, float)
    return operand if is_number else Unary("-", operand)


def _loop(shape: tuple[str, Shape], range_: Node, arguments: list[Node]) -> Node:
    macro, counts = shape
    return Loop(macro, range_, ("x", "y")[: counts.variable_count], tuple(arguments[: counts.argument_count]))


def _composed(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    arguments = st.lists(parts, max_size=3).map(tuple)
    operators = st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "in"])
    return st.one_of(
        st.builds(Select, parts, FIELDS),
        st.builds(Has, parts, FIELDS),
        st.builds(Index, parts, parts),
        st.builds(Call, st.sampled_from(PLAIN_CALLS), st.none(), arguments),
        st.builds(Call, st.sampled_from([*METHODS, "unknown"]), parts, arguments),
        st.builds(
            lambda name, given: Call(name[1], Ident(name[0]), given), st.sampled_from(QUALIFIED_CALLS), arguments
        ),
        st.builds(ListOf, arguments),
        st.builds(MapOf, st.lists(st.tuples(parts, parts), max_size=2).map(tuple)),
        parts.map(lambda operand: Unary("!", operand)),
        parts.map(_negated),
        st.builds(Binary, operators, parts, parts),
        st.builds(Logic, st.sampled_from(["&&", "||"]), several),
        st.builds(Conditional, parts, parts, parts),
        st.builds(_loop, st.sampled_from(LOOPS), parts, st.lists(parts, min_size=2, max_size=2)),
    )


TREES: st.SearchStrategy[Node] = st.recursive(
    LITERALS | st.builds(Ident, NAMES, st.booleans()), _composed, max_leaves=12
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.text(max_size=5),
        st.integers(0, 10**12).map(Timestamp.from_ms),
        st.integers(-(10**9), 10**9).map(Duration),
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["age", "tier", "items"]), values),
    max_leaves=8,
)
ACTIVATIONS = st.dictionaries(st.sampled_from(["customer", "x", "y"]), VALUES)
