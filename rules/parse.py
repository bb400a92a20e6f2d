"""Text to tree.

Lark builds the nodes bottom-up while it parses, without recursion, so a hostile text meets a bound of limits.py before
anything descends into it. Macros become Loop and Has nodes here, as in CEL, where they are a matter of syntax.
"""

from __future__ import annotations

from functools import cache
from math import isinf
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from rules.errors import RuleSyntaxError
from rules.limits import MAX_DEPTH, MAX_NODES, MAX_NUMBER_LENGTH, MAX_TEXT_LENGTH
from rules.literals import read_int, read_text
from rules.macros import MACROS, SPELLINGS, shape_of
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
    Position,
    Select,
    Unary,
    walk,
)
from rules.values import INT_MAX, UINT_MAX, UInt

RESERVED = frozenset(
    [
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    ]
)
# What people of other languages write first, and what to write instead.
WAYS_OUT = {"=": "==", "&": "&&", "|": "||", "and": "&&", "or": "||", "not": "!"}


def parse(text: str) -> Node:
    """The tree of an expression. Raises RuleSyntaxError with the place of the fault."""
    if len(text) > MAX_TEXT_LENGTH:
        raise RuleSyntaxError(f"the text has {len(text)} characters, at most {MAX_TEXT_LENGTH} are allowed")
    if not text.strip():
        raise RuleSyntaxError("the expression is empty")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise RuleSyntaxError("the text holds half a surrogate pair, which no encoding has")
    try:
        node = _parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    assert isinstance(node, Node)
    _measure(node)
    return node


@cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("grammar.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="basic", transformer=_Builder(), maybe_placeholders=False)


def _measure(root: Node) -> None:
    """Refuse trees that are too big or too deep, and numbers that only a minus sign would have made legal."""
    for count, (node, depth) in enumerate(walk(root), 1):
        if depth > MAX_DEPTH:
            raise RuleSyntaxError(f"the expression nests deeper than {MAX_DEPTH} levels", *node.at)
        if count > MAX_NODES:
            raise RuleSyntaxError(f"the expression has more than {MAX_NODES} parts", *node.at)
        if isinstance(node, Literal) and type(node.value) is int and node.value > INT_MAX:
            raise RuleSyntaxError("the number does not fit into 64 bits", *node.at)


def _unexpected(error: UnexpectedInput, text: str) -> RuleSyntaxError:
    if isinstance(error, UnexpectedCharacters):
        found = text[error.pos_in_stream or 0]
        message = "the text is not closed" if found in "'\"`" else f"unexpected {found!r}"
        return RuleSyntaxError(message + _way_out(found), error.line, error.column)
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        return RuleSyntaxError(f"unexpected {str(error.token)!r}" + _way_out(str(error.token)), *_at(error.token))
    lines = text.split("\n")
    return RuleSyntaxError("the expression ends too early", len(lines), len(lines[-1]) + 1)


def _way_out(found: str) -> str:
    return f". Write {WAYS_OUT[found]}" if found in WAYS_OUT else ""


def _at(token: Token) -> Position:
    return Position(token.line or 1, token.column or 1)


def _name(token: Token) -> str:
    if token in RESERVED:
        raise RuleSyntaxError(f"{str(token)!r} is a reserved word", *_at(token))
    return str(token)


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """One method per named branch of the grammar."""

    def conditional(self, test: Node, yes: Node, no: Node) -> Node:
        return Conditional(test, yes, no, at=test.at)

    def either(self, *operands: Node) -> Node:
        return Logic("||", operands, at=operands[0].at)

    def both(self, *operands: Node) -> Node:
        return Logic("&&", operands, at=operands[0].at)

    def binary(self, left: Node, operator: Token, right: Node) -> Node:
        return Binary(str(operator), left, right, at=_at(operator))

    def unary(self, operator: Token, operand: Node) -> Node:
        # The minus belongs to the number: the smallest int has no positive twin.
        if (
            operator == "-"
            and isinstance(operand, Literal)
            and type(operand.value) in (int, float)
            and operand.value >= 0
        ):
            return Literal(-operand.value, at=_at(operator))
        return Unary(str(operator), operand, at=_at(operator))

    def select(self, operand: Node, field: Token) -> Node:
        return Select(operand, field.strip("`"), at=_at(field))

    def index(self, operand: Node, bracket: Token, index: Node) -> Node:
        return Index(operand, index, at=_at(bracket))

    def ident(self, name: Token) -> Node:
        return Ident(_name(name), at=_at(name))

    def absolute_ident(self, dot: Token, name: Token) -> Node:
        return Ident(_name(name), absolute=True, at=_at(dot))

    def function(self, name: Token, arguments: tuple[Node, ...]) -> Node:
        if name != "has":
            return Call(_name(name), None, arguments, at=_at(name))
        if len(arguments) == 1 and isinstance(arguments[0], Select):
            return Has(arguments[0].operand, arguments[0].field, at=arguments[0].at)
        raise RuleSyntaxError("has() asks about one attribute, such as has(customer.age)", *_at(name))

    def method(self, target: Node, name: Token, arguments: tuple[Node, ...]) -> Node:
        macro = SPELLINGS.get(name, str(name))
        shape = shape_of(macro, len(arguments)) if macro in MACROS else None
        if shape is None:
            return Call(str(name), target, arguments, at=_at(name))
        variables = tuple(_variable(node, macro) for node in arguments[: shape.variable_count])
        if len(set(variables)) != len(variables):
            raise RuleSyntaxError(f"the variables of {macro}() need different names", *_at(name))
        return Loop(macro, target, variables, arguments[shape.variable_count :], at=_at(name))

    def arguments(self, *arguments: Node) -> tuple[Node, ...]:
        return arguments

    def list(self, bracket: Token, *elements: Node) -> Node:
        return ListOf(elements, at=_at(bracket))

    def map(self, brace: Token, *entries: tuple[Node, Node]) -> Node:
        return MapOf(entries, at=_at(brace))

    def entry(self, key: Node, value: Node) -> tuple[Node, Node]:
        return key, value

    def int(self, token: Token) -> Node:
        return Literal(_whole(token, str(token), INT_MAX + 1), at=_at(token))

    def uint(self, token: Token) -> Node:
        return Literal(UInt(_whole(token, token[:-1], UINT_MAX)), at=_at(token))

    def double(self, token: Token) -> Node:
        value = float(token)
        if isinf(value):
            raise RuleSyntaxError("the number is too large", *_at(token))
        return Literal(value, at=_at(token))

    def text(self, token: Token) -> Node:
        try:
            value = read_text(token)
        except ValueError as error:
            raise RuleSyntaxError(str(error), *_at(token)) from None
        return Literal(value, at=_at(token))

    def true(self, token: Token) -> Node:
        return Literal(True, at=_at(token))

    def false(self, token: Token) -> Node:
        return Literal(False, at=_at(token))

    def null(self, token: Token) -> Node:
        return Literal(None, at=_at(token))


def _variable(node: Node, macro: str) -> str:
    if isinstance(node, Ident) and not node.absolute:
        return node.name
    raise RuleSyntaxError(f"{macro}() starts with a name for the element, such as {macro}(order, ...)", *node.at)


def _whole(token: Token, digits: str, largest: int) -> int:
    number = read_int(digits) if len(digits) <= MAX_NUMBER_LENGTH else largest + 1
    if number > largest:
        raise RuleSyntaxError("the number does not fit into 64 bits", *_at(token))
    return number
