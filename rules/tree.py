"""The tree of an expression: immutable nodes, each knowing where it stands in the text.

Two trees are equal when they say the same, wherever they stand. Macros (`has`, `all`, `map`, ...) are nodes of their
own, because they bind names or look at an attribute without reading it; every other call is a Call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rules.values import Value


class Position(NamedTuple):
    """A place in the text, counted from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Node:
    """Any expression."""

    at: Position = field(default=Position(), compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Node):
    """A constant: int, UInt, float, str, bytes, bool or None."""

    value: Value

    # Python holds 1, 1.0 and True to be equal, and 0.0 and -0.0; as rules they differ.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[type, str]:
        return type(self.value), repr(self.value)


@dataclass(frozen=True, slots=True)
class Ident(Node):
    """A name: a variable, a loop variable or a type. An absolute one (`.name`) ignores loops and container."""

    name: str
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Select(Node):
    """`operand.field`, placed at the field."""

    operand: Node
    field: str


@dataclass(frozen=True, slots=True)
class Has(Node):
    """`has(operand.field)`, placed at the field."""

    operand: Node
    field: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`operand[index]`."""

    operand: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`function(...)` or `target.function(...)`, placed at the function's name."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """`[a, b]`."""

    elements: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf(Node):
    """`{key: value}`."""

    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`!operand` or `-operand`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """Arithmetic, comparison or `in`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`a && b && ...` or `a || b || ...`, flat, so that a long list of conditions is not a deep tree."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """`test ? yes : no`."""

    test: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True)
class Loop(Node):
    """`range.macro(variables, arguments)`; see MACROS in macros.py for the shapes."""

    macro: str
    range: Node
    variables: tuple[str, ...]
    arguments: tuple[Node, ...]


def children(node: Node) -> tuple[Node, ...]:
    """The parts of a node, left to right; the keys and values of a map alternate."""
    match node:
        case Select(operand, _) | Has(operand, _) | Unary(_, operand):
            return (operand,)
        case Index(left, right) | Binary(_, left, right):
            return (left, right)
        case Call(_, target, arguments):
            return arguments if target is None else (target, *arguments)
        case ListOf(parts) | Logic(_, parts):
            return parts
        case MapOf(entries):
            return tuple(part for entry in entries for part in entry)
        case Conditional(test, yes, no):
            return (test, yes, no)
        case Loop(_, range_, _, arguments):
            return (range_, *arguments)
    return ()


def with_children(node: Node, parts: tuple[Node, ...]) -> Node:
    """The same node around other parts, given in the order of children()."""
    match node:
        case Select() | Has() | Unary():
            return replace(node, operand=parts[0])
        case Index():
            return replace(node, operand=parts[0], index=parts[1])
        case Binary():
            return replace(node, left=parts[0], right=parts[1])
        case Call(_, None, _):
            return replace(node, arguments=parts)
        case Call():
            return replace(node, target=parts[0], arguments=parts[1:])
        case ListOf():
            return replace(node, elements=parts)
        case Logic():
            return replace(node, operands=parts)
        case MapOf():
            return replace(node, entries=tuple(zip(parts[::2], parts[1::2], strict=True)))
        case Conditional():
            return replace(node, test=parts[0], yes=parts[1], no=parts[2])
        case Loop():
            return replace(node, range=parts[0], arguments=parts[1:])
    return node


def walk(node: Node) -> Iterator[tuple[Node, int]]:
    """Every node with its depth, the root at 1, without recursion: hostile trees are measured before a descent."""
    waiting = [(node, 1)]
    while waiting:
        current, depth = waiting.pop()
        yield current, depth
        waiting.extend((part, depth + 1) for part in children(current))


def conjuncts(node: Node) -> tuple[Node, ...]:
    """The conditions that must all hold: the operands of a top-level `&&`, else the node alone."""
    if isinstance(node, Logic) and node.operator == "&&":
        return tuple(part for operand in node.operands for part in conjuncts(operand))
    return (node,)


def transform(node: Node, function: Callable[[Node], Node]) -> Node:
    """Rebuild a tree bottom-up: `function` receives each node, its parts already rebuilt, and returns it or another."""
    parts = children(node)
    rebuilt = tuple(transform(part, function) for part in parts)
    unchanged = all(new is old for new, old in zip(rebuilt, parts, strict=True))
    return function(node if unchanged else with_children(node, rebuilt))
