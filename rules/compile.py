"""Checked tree to a program: nested Python closures, no code generation.

Each closure takes the frame (the activation, or a copy of it that also holds loop variables) and returns a value of its
node's type or raises EvaluationError. Values are tested where they enter (attributes, elements, host answers), so that
where types are known the operations inside need no tests; `customer.age >= 18` is one closure of two look-ups, one test
and one comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rules.analysis import attribute_of, needs_of, reads_of
from rules.checked import CheckedNode, Denotation, Function, HostMethod, LoopSlots, LoopVariable, Variable
from rules.closures import (
    Question,
    admitting,
    apply,
    apply_charged,
    ask_attribute,
    conditional,
    conjunction,
    disjunction,
    failing,
    host_method,
    is_member,
    make_list,
    make_map,
    membership,
    negation,
    presence,
    read_attribute,
    read_variable,
    selection,
)
from rules.errors import EvaluationError
from rules.loops import Evaluate, Frame, compile_loop
from rules.operators import ORDER
from rules.overloads import by_kinds
from rules.tree import Binary, Conditional, Has, Index, ListOf, Literal, Logic, MapOf, Node, Select, Unary
from rules.types import BOOL, DYN, NUMERIC_KINDS, STRING, Type
from rules.unparse import unparse
from rules.values import ORDERED, Value, contains, equal, item, kind_of, order
from rules.work import ACCOUNT, Account

_CONSTANT_TIME = ORDERED - {"string", "bytes"} | {"null", "type"}  # kinds whose values cost the same to handle
_EXACT_MAX = 2**53  # below it every int is a double
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_PLAIN_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {**ORDER, "==": operator.eq, "!=": operator.ne}


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression; call it with an activation (variable -> value)."""

    text: str  # normal spelling
    type: Type
    reads: frozenset[str]  # attribute paths it may ask for, such as "customer.age"; a variable by its name
    needs: frozenset[tuple[str, str]]  # (variable, attribute): while any of them is absent the answer is unknown
    evaluate: Evaluate
    question: Question | None  # the same for who has the attribute's value at hand; None when it takes more than that
    node: Node

    def __call__(self, activation: Mapping[str, Any]) -> Value:
        """The value of the expression. Raises EvaluationError when it is unknown."""
        return self.evaluate(activation)


def compile(checked: CheckedNode) -> Program:
    """Compile a checked tree."""
    metered = _has_loop(checked)
    built = _Compiler(metered=metered).build(checked)
    run = built.run
    if checked.expected is not None and checked.expected != checked.type:
        run = admitting(run, checked.expected, "the result")
    if metered:
        run = _with_account(run)
    return Program(
        text=unparse(checked.node),
        type=checked.expected or checked.type,
        reads=frozenset(reads_of(checked)),
        needs=needs_of(checked),
        evaluate=run,
        question=built.question,
        node=checked.node,
    )


def _has_loop(checked: CheckedNode) -> bool:
    return isinstance(checked.reference, LoopSlots) or any(map(_has_loop, checked.parts))


def _with_account(run: Evaluate) -> Evaluate:
    # Loop variables live in a copy of the activation, so that one program may be evaluated by many threads at once.
    def evaluate(activation: Frame) -> Value:
        return run({**activation, ACCOUNT: Account()})

    return evaluate


@dataclass(frozen=True, slots=True)
class _Built:
    """A closure, whether it gives the same value in every frame, and the question when it is one about an attribute."""

    run: Evaluate
    constant: bool = False
    question: Question | None = None

    @property
    def value(self) -> Value:
        return self.run({})


def _constant(value: Value) -> _Built:
    return _Built(lambda frame: value, constant=True)


class _Compiler:
    def __init__(self, *, metered: bool) -> None:
        self.metered = metered

    def build(self, checked: CheckedNode) -> _Built:
        match checked.reference:
            case Variable(name):
                return _Built(read_variable(name, checked.type))
            case LoopVariable(slot):
                return _Built(admitting(operator.itemgetter(slot), checked.type, "the element"))
            case Denotation(value):
                return _constant(value)
        if isinstance(checked.node, Literal):
            return _constant(checked.node.value)
        attribute = attribute_of(checked)
        if attribute is not None:
            question = Question(attribute, BOOL, operator.truth) if checked.type == BOOL else None
            return _Built(read_attribute(*attribute, checked.type), question=question)
        parts = [self.build(part) for part in checked.parts]
        question = _question(checked, parts)
        if question is not None:
            return _Built(ask_attribute(question), question=question)
        return self._folded(self._operation(checked, parts), parts, checked)

    def _folded(self, run: Evaluate, parts: list[_Built], checked: CheckedNode) -> _Built:
        """Evaluate once what depends on nothing; what fails must fail at evaluation, where `||` may make up for it."""
        depends = isinstance(checked.reference, HostMethod | LoopSlots) or not all(part.constant for part in parts)
        if depends or not _is_known(checked):
            return _Built(run)
        try:
            return _constant(run({ACCOUNT: Account()}))
        except EvaluationError:
            return _Built(run)

    def _operation(self, checked: CheckedNode, parts: list[_Built]) -> Evaluate:
        runs = tuple(part.run for part in parts)
        conditions = tuple(map(_condition, runs, checked.parts))
        match checked.reference:
            case Function(name, overloads):
                exact = len(overloads) == 1 and DYN not in [part.type for part in checked.parts]
                function = overloads[0].function if exact else by_kinds(name, overloads)
                return self._apply(function, runs, checked.parts)
            case HostMethod() as method:
                constants = [part.value for part in parts] if all(part.constant for part in parts) else None
                return host_method(method, runs, constants)
            case LoopSlots(slots):
                return compile_loop(checked.node, slots, runs, conditions, _node_count(checked))
        match checked.node:
            case Binary("in"):
                return self._search(checked, parts)
            case Binary():
                return self._comparison(checked, parts)
            case Logic("&&"):
                return conjunction(conditions)
            case Logic():
                return disjunction(conditions, tuple(min(needs_of(part), default=None) for part in checked.parts))
            case Unary():
                return negation(conditions[0])
            case Conditional():
                return conditional(conditions[0], runs[1], runs[2])
        return self._access(checked, runs)

    def _access(self, checked: CheckedNode, runs: tuple[Evaluate, ...]) -> Evaluate:
        match checked.node:
            case Select(_, field):
                return admitting(selection(runs[0], field), checked.type, field)
            case Has(_, field):
                return presence(runs[0], field)
            case Index():
                return admitting(self._apply(item, runs, checked.parts), checked.type, "the element")
            case ListOf():
                return make_list(runs)
            case MapOf():
                return make_map(runs)
        return failing(f"{unparse(checked.node)[:60]} is not declared")

    def _comparison(self, checked: CheckedNode, parts: list[_Built]) -> Evaluate:
        assert isinstance(checked.node, Binary)
        symbol, (left, right) = checked.node.operator, checked.parts
        constant = parts[1].value if parts[1].constant else None
        test = _test(symbol, left.type, right.type, constant)
        runs = (parts[0].run, parts[1].run)
        return apply(test, runs) if test is _PLAIN_TESTS[symbol] else self._apply(test, runs, checked.parts)

    def _search(self, checked: CheckedNode, parts: list[_Built]) -> Evaluate:
        element, container = checked.parts
        members = _members(element.type, parts[1])
        if members is not None:
            return membership(parts[0].run, members)
        # Only text equals text, and text stands for itself among the keys of a map: Python's own search is right.
        plain = element.type == STRING and container.type.kind in ("list", "map", "object")
        return self._apply(is_member if plain else contains, (parts[0].run, parts[1].run), checked.parts)

    def _apply(
        self, function: Callable[..., Any], runs: tuple[Evaluate, ...], parts: tuple[CheckedNode, ...]
    ) -> Evaluate:
        if self.metered and not all(part.type.kind in _CONSTANT_TIME for part in parts):
            return apply_charged(function, runs)
        return apply(function, runs)


def _question(checked: CheckedNode, parts: list[_Built]) -> Question | None:
    """The question that a node asks about one attribute, where what it compares with is constant.

    Built of functions that Python runs without a frame of its own: a thousand actions ask hundreds of these.
    """
    attribute = attribute_of(checked.parts[0]) if checked.parts else None
    if attribute is None:
        return None
    type_ = checked.parts[0].type
    match checked.node:
        case Unary("!") if type_ == BOOL:
            return Question(attribute, type_, operator.not_)
        case Binary("in"):
            members = _members(type_, parts[1])
            return None if members is None else Question(attribute, type_, members.__contains__)
        case Binary(symbol) if symbol in _MIRRORED and parts[1].constant:
            constant = parts[1].value
            test = _test(_MIRRORED[symbol], checked.parts[1].type, type_, constant)
            return Question(attribute, type_, partial(test, constant))
    return None


def _is_known(checked: CheckedNode) -> bool:
    """Whether the node resolved; unresolved ones have no parts and would pass for constants."""
    return bool(checked.parts) or isinstance(checked.node, ListOf | MapOf) or isinstance(checked.reference, Function)


def _node_count(checked: CheckedNode) -> int:
    return 1 + sum(map(_node_count, checked.parts))


def _test(symbol: str, left: Type, right: Type, constant: Value = None) -> Callable[[Any, Any], bool]:
    """The cheapest test that is right for the types: Python's own for numbers and scalars of one kind.

    An int beside a double counts as the nearest double. Python compares the exact values instead, which comes to the
    same where one side is a constant below 2^53, as in every rule about money.
    """
    kinds = {left.kind, right.kind}
    plain = (len(kinds) == 1 and kinds <= ORDERED) or kinds == {"int", "uint"}
    if plain or (kinds <= NUMERIC_KINDS and isinstance(constant, int | float) and abs(constant) < _EXACT_MAX):
        return _PLAIN_TESTS[symbol]
    if symbol in ORDER:
        return order(ORDER[symbol])
    return equal if symbol == "==" else _unequal


def _unequal(left: Value, right: Value) -> bool:
    return not equal(left, right)


def _members(element: Type, container: _Built) -> frozenset[Value] | None:
    """The constant list as a set, where a set answers as the list would: text in texts, a known number in numbers."""
    if not container.constant or not isinstance(container.value, list):
        return None
    kinds = {kind_of(member) for member in container.value}
    if kinds == {"string"} and element.kind == "string":
        return frozenset(container.value)
    if kinds and kinds <= {"int", "uint"} and element.kind in ("int", "uint"):
        return frozenset(container.value)
    return None


def _condition(run: Evaluate, checked: CheckedNode) -> Evaluate:
    """The closure as one that answers a bool or fails, which is what `&&`, `||`, `!`, `?` and macros build on."""
    return run if checked.type == BOOL else admitting(run, BOOL, "a condition")
