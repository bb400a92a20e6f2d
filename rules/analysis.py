"""What a checked tree reads, told without evaluating it."""

from __future__ import annotations

from functools import reduce

from rules.checked import CheckedNode, HostMethod, LoopSlots, Variable
from rules.tree import Conditional, Has, Index, Literal, Logic, Node, Select

Attribute = tuple[str, str]  # a variable and the name of an attribute of it


def attribute_of(checked: CheckedNode) -> Attribute | None:
    """The attribute of a variable that a node reads, such as `customer.age`, or None."""
    field = _field_of(checked.node)
    if field is None or not checked.parts or isinstance(checked.node, Has):
        return None
    reference = checked.parts[0].reference
    return (reference.name, field) if isinstance(reference, Variable) else None


def reads_of(checked: CheckedNode) -> set[str]:
    """Every attribute path a tree may ask for; a variable used as a whole, or through a host method, by its name."""
    path = _path_of(checked)
    if path is not None:
        return {path}
    own = {checked.reference.variable} if isinstance(checked.reference, HostMethod) else set()
    return own.union(*map(reads_of, checked.parts))


def needs_of(checked: CheckedNode) -> frozenset[Attribute]:
    """The attributes whose absence makes the answer unknown whatever the others are."""
    attribute = attribute_of(checked)
    if attribute is not None:
        return frozenset({attribute})
    needs = [needs_of(part) for part in checked.parts]
    match checked.node:
        case Logic():  # one known operand may decide
            return reduce(frozenset.intersection, needs)
        case Conditional():
            return needs[0] | (needs[1] & needs[2])
    if isinstance(checked.reference, LoopSlots):  # the range may be empty
        return needs[0]
    return frozenset().union(*needs)


def _path_of(checked: CheckedNode) -> str | None:
    """The dotted path of an attribute: below objects as deep as declared, below a variable of another type one step."""
    if isinstance(checked.reference, Variable):
        return checked.reference.name
    field = _field_of(checked.node)
    if field is None or not checked.parts:
        return None
    operand = checked.parts[0]
    base = _path_of(operand)
    is_attribute = operand.type.kind == "object" or isinstance(operand.reference, Variable)
    return f"{base}.{field}" if base is not None and is_attribute else None


def _field_of(node: Node) -> str | None:
    match node:
        case Select(_, field) | Has(_, field) | Index(_, Literal(str() as field)):
            return field
    return None
