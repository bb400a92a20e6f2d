"""Checked tree to a program: nested Python closures, no code generation.

Each closure takes the frame (the activation, or a copy of it that also holds loop variables) and returns a value of its node's type or
raises EvaluationError. Values are tested where they enter (attributes, elements, host answers), so that where types are known the
operations inside need no tests; `customer.age >= 18` is one closure of two look-ups, one test and one comparison.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rules.check import CheckedNode, Denotation, Function, HostMethod, LoopSlots, LoopVariable, Variable
from rules.errors import EvaluationError
from rules.loops import Evaluate, Frame, compile_loop, put
from rules.operators import ORDER
from rules.overloads import by_kinds
from rules.tree import Binary, Conditional, Has, Index, ListOf, Literal, Logic, MapOf, Node, Select, Unary
from rules.types import BOOL, DYN, NUMERIC_KINDS, Type
from rules.unparse import unparse
from rules.values import KINDS, ORDERED, Value, contains, equal, item, kind_of, order
from rules.work import ACCOUNT, Account

_SCALARS = ORDERED | {"null", "type"}  # kinds handled in constant time, text aside
_EXACT_MAX = 2**53  # below it every int is a double
_PLAIN_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {**ORDER, "==": operator.eq, "!=": operator.ne}
_CLASSES: Mapping[str, type] = {kind: class_ for class_, kind in KINDS.items() if class_ is not tuple} | {"object": dict}


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression; call it with an activation (variable -> value)."""

    text: str  # normal spelling
    type: Type
    reads: frozenset[str]  # attribute paths it may ask for, such as "customer.age"; a variable used as a whole by its name
    evaluate: Evaluate
    node: Node

    def __call__(self, activation: Mapping[str, Any]) -> Value:
        """The value of the expression. Raises EvaluationError when it is unknown."""
        return self.evaluate(activation)


def compile(checked: CheckedNode) -> Program:
    """Compile a checked tree."""
    metered = _has_loop(checked)
    run = _Compiler(metered=metered).build(checked).run
    if checked.expected is not None and checked.expected != checked.type:
        run = _admitting(run, checked.expected, "the result")
    if metered:
        run = _with_account(run)
    return Program(unparse(checked.node), checked.expected or checked.type, frozenset(_reads(checked)), run, checked.node)


def _has_loop(checked: CheckedNode) -> bool:
    return isinstance(checked.reference, LoopSlots) or any(map(_has_loop, checked.parts))


def _with_account(run: Evaluate) -> Evaluate:
    # Loop variables live in a copy of the activation, so that one program may be evaluated by many threads at once.
    def evaluate(activation: Frame) -> Value:
        return run({**activation, ACCOUNT: Account()})

    return evaluate


def path_of(checked: CheckedNode) -> str | None:
    """The attribute path a node reads, or None: a variable, an attribute of an object, or the first one below a variable of unknown type."""
    if isinstance(checked.reference, Variable):
        return checked.reference.name
    field = _field_of(checked.node)
    if field is None or not checked.parts:
        return None
    operand = checked.parts[0]
    base = path_of(operand)
    is_attribute = operand.type.kind == "object" or isinstance(operand.reference, Variable)
    return f"{base}.{field}" if base is not None and is_attribute else None


def _field_of(node: Node) -> str | None:
    if isinstance(node, Select | Has):
        return node.field
    if isinstance(node, Index) and isinstance(node.index, Literal) and isinstance(node.index.value, str):
        return node.index.value
    return None


def _reads(checked: CheckedNode) -> set[str]:
    path = path_of(checked)
    if path is not None:
        return {path}
    own = {checked.reference.variable} if isinstance(checked.reference, HostMethod) else set()
    return own.union(*map(_reads, checked.parts))


@dataclass(frozen=True, slots=True)
class _Built:
    """A closure, and whether it gives the same value in every frame."""

    run: Evaluate
    constant: bool = False

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
                return _Built(_admitting(_variable(name), checked.type, name))
            case LoopVariable(slot):
                return _Built(operator.itemgetter(slot))
            case Denotation(value):
                return _constant(value)
        if isinstance(checked.node, Literal):
            return _constant(checked.node.value)
        path = path_of(checked)
        if isinstance(checked.node, Select | Index) and path is not None and isinstance(checked.parts[0].reference, Variable):
            return _Built(_attribute(checked.parts[0].reference.name, str(_field_of(checked.node)), checked.type))
        parts = [self.build(part) for part in checked.parts]
        return self._folded(self._operation(checked, parts), parts, checked)

    def _folded(self, run: Evaluate, parts: list[_Built], checked: CheckedNode) -> _Built:
        """Evaluate once what depends on nothing; what fails must fail at evaluation, where `||` may make up for it."""
        if isinstance(checked.reference, HostMethod | LoopSlots) or not all(part.constant for part in parts) or not _is_known(checked):
            return _Built(run)
        try:
            return _constant(run({ACCOUNT: Account()}))
        except EvaluationError:
            return _Built(run)

    def _operation(self, checked: CheckedNode, parts: list[_Built]) -> Evaluate:
        runs = tuple(part.run for part in parts)
        match checked.reference:
            case Function(name, overloads):
                exact = len(overloads) == 1 and DYN not in [part.type for part in checked.parts]
                function = overloads[0].function if exact else by_kinds(name, overloads)
                return self._apply(function, runs, checked.parts)
            case HostMethod() as method:
                return _host_method(method, runs, constant=all(part.constant for part in parts))
            case LoopSlots(slots):
                conditions = tuple(_condition(run, part) for run, part in zip(runs, checked.parts, strict=True))
                return compile_loop(checked.node, slots, runs, conditions, _node_count(checked))
        return self._structure(checked, parts, runs)

    def _structure(self, checked: CheckedNode, parts: list[_Built], runs: tuple[Evaluate, ...]) -> Evaluate:
        conditions = tuple(_condition(run, part) for run, part in zip(runs, checked.parts, strict=True))
        match checked.node:
            case Binary():
                return self._comparison(checked, parts)
            case Logic("&&"):
                return _conjunction(conditions)
            case Logic():
                return _disjunction(conditions)
            case Unary():
                return _negation(conditions[0])
            case Conditional():
                return _conditional(conditions[0], runs[1], runs[2])
            case Select(_, field):
                return _admitting(_selection(runs[0], field), checked.type, field)
            case Has(_, field):
                return _presence(runs[0], field)
            case Index():
                return _admitting(self._apply(item, runs, checked.parts), checked.type, "the element")
            case ListOf():
                return _list(runs)
            case MapOf():
                return _map(runs)
        return _failing(f"{unparse(checked.node)[:60]} is not declared")

    def _comparison(self, checked: CheckedNode, parts: list[_Built]) -> Evaluate:
        node = checked.node
        assert isinstance(node, Binary)
        left, right = checked.parts
        if node.operator == "in":
            members = _members(left.type, parts[1])
            if members is not None:
                return _membership(parts[0].run, members)
            return self._apply(contains, (parts[0].run, parts[1].run), checked.parts)
        test = _test(node.operator, left.type, right.type, parts[1].value if parts[1].constant else None)
        attribute = path_of(left)
        if parts[1].constant and attribute is not None and left.parts and isinstance(left.parts[0].reference, Variable):
            field = str(_field_of(left.node))
            return _compare_attribute(left.parts[0].reference.name, field, left.type, test, parts[1].value)
        return self._apply(test, (parts[0].run, parts[1].run), checked.parts)

    def _apply(self, function: Callable[..., Any], runs: tuple[Evaluate, ...], parts: tuple[CheckedNode, ...]) -> Evaluate:
        if self.metered and any(part.type.kind not in _SCALARS - {"string", "bytes"} for part in parts):
            return _apply_charged(function, runs)
        return _apply(function, runs)


def _is_known(checked: CheckedNode) -> bool:
    """Whether the node resolved; unresolved ones have no parts and would pass for constants."""
    return bool(checked.parts) or isinstance(checked.node, ListOf | MapOf) or isinstance(checked.reference, Function)


def _node_count(checked: CheckedNode) -> int:
    return 1 + sum(map(_node_count, checked.parts))


# Values that enter


def _variable(name: str) -> Evaluate:
    def read(frame: Frame) -> Value:
        try:
            return frame[name]
        except KeyError:
            raise EvaluationError(f"{name} is missing") from None

    return read


def _attribute(variable: str, field: str, type_: Type) -> Evaluate:
    class_ = _CLASSES.get(type_.kind)
    path = f"{variable}.{field}"

    def read(frame: Frame) -> Value:
        try:
            value = frame[variable][field]
        except (KeyError, TypeError):
            raise EvaluationError(f"{path} is missing") from None
        return value if type(value) is class_ else admit(value, type_, path)

    return read


def _compare_attribute(
    variable: str, field: str, type_: Type, test: Callable[[Any, Any], bool], constant: Value
) -> Evaluate:
    class_ = _CLASSES.get(type_.kind)
    path = f"{variable}.{field}"

    # The commonest predicate of all, `customer.age >= 18`, spelled out to save a call of a closure.
    def compare(frame: Frame) -> bool:
        try:
            value = frame[variable][field]
        except (KeyError, TypeError):
            raise EvaluationError(f"{path} is missing") from None
        return test(value if type(value) is class_ else admit(value, type_, path), constant)

    return compare


def _admitting(run: Evaluate, type_: Type, what: str) -> Evaluate:
    if type_ == DYN:
        return run
    class_ = _CLASSES.get(type_.kind)

    def read(frame: Frame) -> Value:
        value = run(frame)
        return value if type(value) is class_ else admit(value, type_, what)

    return read


def admit(value: Value, type_: Type, what: str) -> Value:
    """A value that enters where a type is declared; a whole number passes for a double. Raises EvaluationError."""
    if type_.kind == "dyn":
        return value
    kind = kind_of(value)
    if kind == type_.kind or (kind == "map" and type_.kind == "object"):
        return value
    if type_.kind == "double" and kind == "int":
        return float(value)
    raise EvaluationError(f"{what} is {kind}, declared {type_}")


# Operations


def _apply(function: Callable[..., Any], runs: tuple[Evaluate, ...]) -> Evaluate:
    match runs:
        case (one,):
            return lambda frame: function(one(frame))
        case (left, right):
            return lambda frame: function(left(frame), right(frame))
    return lambda frame: function(*[run(frame) for run in runs])


def _apply_charged(function: Callable[..., Any], runs: tuple[Evaluate, ...]) -> Evaluate:
    def apply(frame: Frame) -> Value:
        arguments = [run(frame) for run in runs]
        frame[ACCOUNT].charge_values(arguments)
        return function(*arguments)

    return apply


def _test(symbol: str, left: Type, right: Type, constant: Value = None) -> Callable[[Any, Any], bool]:
    """The cheapest test that is right for the types: Python's own for numbers and scalars of one kind.

    An int beside a double counts as the nearest double. Python compares the exact values instead, which comes to the same where one side
    is a constant below 2^53, as in every rule about money.
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


def _membership(run: Evaluate, members: frozenset[Value]) -> Evaluate:
    return lambda frame: run(frame) in members


def _condition(run: Evaluate, checked: CheckedNode) -> Evaluate:
    """The closure as one that answers a bool or fails, which is what `&&`, `||`, `!`, `?` and macros build on."""
    return run if checked.type == BOOL else _admitting(run, BOOL, "a condition")


def _conjunction(conditions: tuple[Evaluate, ...]) -> Evaluate:
    def all_hold(frame: Frame) -> bool:
        failure = None
        for condition in conditions:
            try:
                if not condition(frame):
                    return False
            except EvaluationError as error:
                failure = error
        if failure is not None:
            raise failure
        return True

    return all_hold


def _disjunction(conditions: tuple[Evaluate, ...]) -> Evaluate:
    def any_holds(frame: Frame) -> bool:
        failure = None
        for condition in conditions:
            try:
                if condition(frame):
                    return True
            except EvaluationError as error:
                failure = error
        if failure is not None:
            raise failure
        return False

    return any_holds


def _negation(condition: Evaluate) -> Evaluate:
    return lambda frame: not condition(frame)


def _conditional(test: Evaluate, yes: Evaluate, no: Evaluate) -> Evaluate:
    return lambda frame: yes(frame) if test(frame) else no(frame)


def _selection(run: Evaluate, field: str) -> Evaluate:
    def select(frame: Frame) -> Value:
        operand = run(frame)
        if kind_of(operand) != "map":
            raise EvaluationError(f"{kind_of(operand)} has no attribute {field}")
        try:
            return operand[field]
        except KeyError:
            raise EvaluationError(f"{field} is missing") from None

    return select


def _presence(run: Evaluate, field: str) -> Evaluate:
    def is_present(frame: Frame) -> bool:
        operand = run(frame)
        if kind_of(operand) != "map":
            raise EvaluationError(f"{kind_of(operand)} has no attribute {field}")
        return field in operand

    return is_present


def _list(runs: tuple[Evaluate, ...]) -> Evaluate:
    return lambda frame: [run(frame) for run in runs]


def _map(runs: tuple[Evaluate, ...]) -> Evaluate:
    pairs = tuple(zip(runs[::2], runs[1::2], strict=True))

    def make(frame: Frame) -> Value:
        made: dict[Value, Value] = {}
        for key, value in pairs:
            put(made, key(frame), value(frame))
        return made

    return make


def _host_method(method: HostMethod, runs: tuple[Evaluate, ...], *, constant: bool) -> Evaluate:
    variable, name, what = method.variable, method.name, f"{method.variable}.{method.name}()"
    host = _variable(variable)
    arguments = tuple(run({}) for run in runs) if constant else ()

    def ask(frame: Frame) -> Value:
        given = arguments if constant else [run(frame) for run in runs]
        answer = getattr(host(frame), name)(*given)
        if answer is None:
            raise EvaluationError(f"{what} has no answer")
        return admit(answer, method.result, what)

    return ask


def _failing(message: str) -> Evaluate:
    def fail(frame: Frame) -> Value:
        raise EvaluationError(message)

    return fail
