"""Tree to text: one normal spelling, which reads back as the same tree."""

from __future__ import annotations

import re

from rules.literals import spell
from rules.tree import (
    Binary,
    Call,
    Conditional,
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
    Unary,
)
from rules.values import Value

_CONDITIONAL, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)
_OPERATORS = {"||": _OR, "&&": _AND, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}
_PLAIN_FIELD = re.compile(r"(?!(?:true|false|null|in)$)[_a-zA-Z][_a-zA-Z0-9]*")


def unparse(node: Node) -> str:
    """The expression in its normal spelling: single spaces, double quotes, only the parentheses it needs."""
    match node:
        case Literal(value):
            return spell(value)
        case Ident(name, absolute):
            return f".{name}" if absolute else name
        case Select(operand, field):
            return f"{_within(operand, _MEMBER)}.{_field(field)}"
        case Has(operand, field):
            return f"has({_within(operand, _MEMBER)}.{_field(field)})"
        case Index(operand, index):
            return f"{_within(operand, _MEMBER)}[{unparse(index)}]"
        case Call(function, target, arguments):
            return f"{'' if target is None else _within(target, _MEMBER) + '.'}{function}({_listed(arguments)})"
        case Loop(macro, range_, variables, arguments):
            return f"{_within(range_, _MEMBER)}.{macro}({', '.join(variables)}, {_listed(arguments)})"
        case ListOf(elements):
            return f"[{_listed(elements)}]"
        case MapOf(entries):
            return "{" + ", ".join(f"{unparse(key)}: {unparse(value)}" for key, value in entries) + "}"
    return _unparse_operation(node)


def _unparse_operation(node: Node) -> str:
    level = _level(node)
    match node:
        case Unary(operator, operand):
            # A bare number would swallow the minus and become a negative literal.
            bare_number = operator == "-" and isinstance(operand, Literal) and _is_positive_number(operand.value)
            return f"{operator}({unparse(operand)})" if bare_number else operator + _within(operand, _UNARY)
        case Binary(operator, left, right):
            return f"{_within(left, level)} {operator} {_within(right, level + 1)}"
        case Logic(operator, operands):
            return f" {operator} ".join(_within(operand, level + 1) for operand in operands)
        case Conditional(test, yes, no):
            return f"{_within(test, _OR)} ? {_within(yes, _OR)} : {_within(no, _CONDITIONAL)}"
    raise TypeError(f"{type(node).__name__} is not a node of an expression")


def _is_positive_number(value: Value) -> bool:
    return type(value) in (int, float) and not str(value).startswith("-")


def _level(node: Node) -> int:
    match node:
        case Conditional():
            return _CONDITIONAL
        case Binary(operator) | Logic(operator):
            return _OPERATORS.get(operator, _RELATION)
        case Unary():
            return _UNARY
        case Literal(value) if type(value) in (int, float) and not _is_positive_number(value):
            return _UNARY
    return _MEMBER


def _within(node: Node, level: int) -> str:
    text = unparse(node)
    return text if _level(node) >= level else f"({text})"


def _field(name: str) -> str:
    return name if _PLAIN_FIELD.fullmatch(name) else f"`{name}`"


def _listed(nodes: tuple[Node, ...]) -> str:
    return ", ".join(map(unparse, nodes))
