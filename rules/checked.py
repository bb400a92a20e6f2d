"""The checked tree: what checking knows about each node, and the compiler builds on."""

from __future__ import annotations

from dataclasses import dataclass

from rules.environment import Together
from rules.overloads import Overload
from rules.tree import Node
from rules.types import Type
from rules.values import TypeValue


@dataclass(frozen=True, slots=True)
class Variable:
    """A declared variable, read from the activation."""

    name: str


@dataclass(frozen=True, slots=True)
class LoopVariable:
    """A name bound by a loop, kept under a slot that no text can spell."""

    slot: str


@dataclass(frozen=True, slots=True)
class Denotation:
    """A type used as a value."""

    value: TypeValue


@dataclass(frozen=True, slots=True)
class Function:
    """The overloads that the arguments may fit: one when all their types are known, none when they fit nowhere."""

    name: str
    overloads: tuple[Overload, ...]


@dataclass(frozen=True, slots=True)
class HostMethod:
    """A method that the host answers on a variable."""

    variable: str
    name: str
    result: Type
    together: Together | None = None


@dataclass(frozen=True, slots=True)
class LoopSlots:
    """The slots a loop binds, in the order of its variables."""

    slots: tuple[str, ...]


Reference = Variable | LoopVariable | Denotation | Function | HostMethod | LoopSlots


@dataclass(frozen=True, slots=True)
class CheckedNode:
    """A node with its type, what it refers to, and its checked parts in evaluation order.

    A name or call without a reference is unknown and fails at evaluation; only evaluation without checking meets it.
    """

    node: Node
    type: Type
    parts: tuple[CheckedNode, ...] = ()
    reference: Reference | None = None
    expected: Type | None = None  # of the root: what the value must be, tested at evaluation where it was not provable
