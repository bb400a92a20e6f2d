"""Checked tree to a program: nested Python closures, no code generation.

Each closure takes the frame (the activation, or a copy of it that also holds loop variables) and returns a value of its
node's type or raises EvaluationError. Values are tested where they enter (attributes, elements, host answers), so that
where types are known the operations inside need no tests; `customer.age >= 18` is one closure of two look-ups, one test
and one comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rules.analysis import attribute_of, needs_of, reads_of
from rules.checked import CheckedNode, Denotation, Function, HostMethod, LoopSlots, LoopVariable, Variable
from rules.closures import (
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
from rules.comparisons import MIRRORED, is_plain, members_of, test_of
from rules.errors import EvaluationError
from rules.loops import Evaluate, Frame, compile_loop
from rules.overloads import by_kinds
from rules.questions import Built, Question, listed_in, question_of
from rules.tree import Binary, Conditional, Has, Index, ListOf, Literal, Logic, MapOf, Node, Select, Unary
from rules.types import BOOL, DYN, STRING, Type
from rules.unparse import unparse
from rules.values import ORDERED, Value, contains, item
from rules.work import ACCOUNT, Account

_CONSTANT_TIME = ORDERED - {"string", "bytes"} | {"null", "type"}  # kinds whose values cost the same to handle


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression; call it with an activation (variable -> value)."""

    text: str  # normal spelling
    type: Type
    reads: frozenset[str]  # attribute paths it may ask for, such as "customer.age"; a variable by its name
    needs: frozenset[tuple[str, str]]  # (variable, attribute): while any of them is absent the answer is unknown
    evaluate: Evaluate
    question: Question | None  # the same as a test of a topic that other programs ask about too, when it is one
    # The operands of a `||` that asks about a key, each as what must hold together; there are as many such as keys.
    alternatives: tuple[tuple[Program, ...], ...]
    node: Node

    def __call__(self, activation: Mapping[str, Any]) -> Value:
        """The value of the expression. Raises EvaluationError when it is unknown."""
        return self.evaluate(activation)


def compile(checked: CheckedNode) -> Program:
    """Compile a checked tree."""
    whole = _undivided(checked)
    is_divided = whole.question is None and not _has_loop(checked)
    return replace(whole, alternatives=_alternatives(checked)) if is_divided else whole


def _undivided(checked: CheckedNode) -> Program:
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
        question=None if metered else built.question,
        alternatives=(),
        node=checked.node,
    )


def _alternatives(checked: CheckedNode) -> tuple[tuple[Program, ...], ...]:
    """Divided once: an `||` further in, behind an `&&`, is evaluated, else each level would be compiled again."""
    if not _joins("||", checked):
        return ()
    operands = tuple(tuple(map(_undivided, _joined("&&", each))) for each in _joined("||", checked))
    asked = [program.question for operand in operands for program in operand]
    return operands if any(question is not None and question.key is not None for question in asked) else ()


def _joined(symbol: str, checked: CheckedNode) -> tuple[CheckedNode, ...]:
    """The operands, however they are bracketed."""
    if not _joins(symbol, checked):
        return (checked,)
    return tuple(each for part in checked.parts for each in _joined(symbol, part))


def _joins(symbol: str, checked: CheckedNode) -> bool:
    node = checked.node
    return isinstance(node, Logic) and node.operator == symbol and all(part.type == BOOL for part in checked.parts)


def _has_loop(checked: CheckedNode) -> bool:
    return isinstance(checked.reference, LoopSlots) or any(map(_has_loop, checked.parts))


def _with_account(run: Evaluate) -> Evaluate:
    # Loop variables live in a copy of the activation, so that one program may be evaluated by many threads at once.
    def evaluate(activation: Frame) -> Value:
        return run({**activation, ACCOUNT: Account()})

    return evaluate


def _constant(value: Value) -> Built:
    return Built(lambda frame: value, constant=True)


class _Compiler:
    def __init__(self, *, metered: bool) -> None:
        self.metered = metered

    def build(self, checked: CheckedNode) -> Built:
        match checked.reference:
            case Variable(name):
                return Built(read_variable(name, checked.type))
            case LoopVariable(slot):
                return Built(admitting(operator.itemgetter(slot), checked.type, "the element"))
            case Denotation(value):
                return _constant(value)
        if isinstance(checked.node, Literal):
            return _constant(checked.node.value)
        attribute = attribute_of(checked)
        if attribute is not None:
            built = Built(read_attribute(*attribute, checked.type))
            return replace(built, question=question_of(checked, (), built))
        parts = [self.build(part) for part in checked.parts]
        built = self._folded(_ask(checked, parts) or self._operation(checked, parts), parts, checked)
        if built.constant:
            return built
        built = replace(built, listed=listed_in(checked, parts))
        return replace(built, question=question_of(checked, parts, built))

    def _folded(self, run: Evaluate, parts: list[Built], checked: CheckedNode) -> Built:
        """Evaluate once what depends on nothing; what fails must fail at evaluation, where `||` may make up for it."""
        depends = isinstance(checked.reference, HostMethod | LoopSlots) or not all(part.constant for part in parts)
        if depends or not _is_known(checked):
            return Built(run)
        try:
            return _constant(run({ACCOUNT: Account()}))
        except EvaluationError:
            return Built(run)

    def _operation(self, checked: CheckedNode, parts: list[Built]) -> Evaluate:
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

    def _comparison(self, checked: CheckedNode, parts: list[Built]) -> Evaluate:
        assert isinstance(checked.node, Binary)
        symbol, (left, right) = checked.node.operator, checked.parts
        constant = parts[1].value if parts[1].constant else None
        test = test_of(symbol, left.type, right.type, constant)
        runs = (parts[0].run, parts[1].run)
        if is_plain(left.type, right.type, constant):
            return apply(test, runs)
        return self._apply(test, runs, checked.parts)

    def _search(self, checked: CheckedNode, parts: list[Built]) -> Evaluate:
        element, container = checked.parts
        members = members_of(element.type, parts[1].value) if parts[1].constant else None
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


def _ask(checked: CheckedNode, parts: list[Built]) -> Evaluate | None:
    """The closure of a node that asks one attribute something constant.

    Built of functions that Python runs without a frame of its own: a thousand actions ask hundreds of these.
    """
    attribute = attribute_of(checked.parts[0]) if checked.parts else None
    if attribute is None:
        return None
    type_ = checked.parts[0].type
    match checked.node:
        case Unary("!") if type_ == BOOL:
            return ask_attribute(attribute, type_, operator.not_)
        case Binary("in"):
            members = members_of(type_, parts[1].value) if parts[1].constant else None
            return None if members is None else ask_attribute(attribute, type_, members.__contains__)
        case Binary(symbol) if symbol in MIRRORED and parts[1].constant:
            constant = parts[1].value
            test = test_of(MIRRORED[symbol], checked.parts[1].type, type_, constant)
            return ask_attribute(attribute, type_, partial(test, constant))
    return None


def _is_known(checked: CheckedNode) -> bool:
    """Whether the node resolved; unresolved ones have no parts and would pass for constants."""
    return bool(checked.parts) or isinstance(checked.node, ListOf | MapOf) or isinstance(checked.reference, Function)


def _node_count(checked: CheckedNode) -> int:
    return 1 + sum(map(_node_count, checked.parts))


def _condition(run: Evaluate, checked: CheckedNode) -> Evaluate:
    """The closure as one that answers a bool or fails, which is what `&&`, `||`, `!`, `?` and macros build on."""
    return run if checked.type == BOOL else admitting(run, BOOL, "a condition")
