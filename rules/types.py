"""Types as declared and inferred. DYN stands for a value whose kind is known only at evaluation; it fits everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Type:
    """A kind of value; lists and maps have parameters, objects a name and a closed set of attributes."""

    kind: str
    parameters: tuple[Type, ...] = ()
    name: str = ""
    attributes: Mapping[str, Type] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        if self.parameters:
            return f"{self.kind}({', '.join(map(str, self.parameters))})"
        return self.name or self.kind


INT, UINT, DOUBLE = Type("int"), Type("uint"), Type("double")
STRING, BYTES, BOOL, NULL = Type("string"), Type("bytes"), Type("bool"), Type("null")
TIMESTAMP, DURATION, TYPE, DYN = Type("timestamp"), Type("duration"), Type("type"), Type("dyn")
NUMBER = Type("number")  # int, uint or double, as a parameter that takes them all; no value has it
NUMERIC_KINDS = frozenset({"int", "uint", "double"})


def list_of(element: Type) -> Type:
    """A list whose elements all have one type."""
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """A map with one type of key and one of value."""
    return Type("map", (key, value))


def object_of(attributes: Mapping[str, Type], name: str) -> Type:
    """A mapping with a closed set of attributes: asking for another is refused at load. Any may be absent later."""
    return Type("object", name=name, attributes=dict(attributes))


def element_of(type_: Type) -> Type:
    """What a loop with one variable sees: elements of a list, keys of a map."""
    if type_.kind == "object":
        return STRING
    return type_.parameters[0] if type_.parameters else DYN


def join(left: Type, right: Type) -> Type:
    """The type of a value that is one or the other: the common one, else DYN, also inside lists and maps."""
    if left == right:
        return left
    if left.kind == right.kind and left.parameters and right.parameters:
        return Type(left.kind, tuple(join(a, b) for a, b in zip(left.parameters, right.parameters, strict=True)))
    return DYN


def accepts(wanted: Type, given: Type) -> bool:
    """Whether a value of the given type may stand where another is wanted."""
    if DYN in (wanted, given):
        return True
    if wanted.kind == "map" and given.kind == "object":
        return True
    if wanted == NUMBER:
        return given.kind in NUMERIC_KINDS
    if wanted.kind != given.kind:
        return False
    if wanted.kind == "object":
        return wanted == given
    return all(accepts(a, b) for a, b in zip(wanted.parameters, given.parameters, strict=False))


def comparable(left: Type, right: Type) -> bool:
    """Whether `==` between the two can ever hold; null may stand for any absent value."""
    if "null" in (left.kind, right.kind) or DYN in (left, right):
        return True
    if left.kind in NUMERIC_KINDS and right.kind in NUMERIC_KINDS:
        return True
    if {left.kind, right.kind} <= {"map", "object"}:
        return all(comparable(a, b) for a, b in zip(left.parameters, right.parameters, strict=False))
    return left.kind == right.kind and all(
        comparable(a, b) for a, b in zip(left.parameters, right.parameters, strict=False)
    )
