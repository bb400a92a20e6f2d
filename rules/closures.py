"""The closures that programs are made of: reading a value where it enters, and combining closures.

A value is tested against its declared type where it enters, once, so nothing behind it needs to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rules.analysis import Attribute
from rules.checked import HostMethod
from rules.errors import EvaluationError
from rules.loops import Evaluate, Frame, put
from rules.types import DYN, Type
from rules.values import KINDS, Value, kind_of
from rules.work import ACCOUNT

CLASSES: Mapping[str, type] = {kind: class_ for class_, kind in KINDS.items() if class_ is not tuple} | {"object": dict}


def read_variable(name: str, type_: Type) -> Evaluate:
    class_ = CLASSES.get(type_.kind)

    def read(frame: Frame) -> Value:
        try:
            value = frame[name]
        except KeyError:
            raise EvaluationError(f"{name} is missing") from None
        return value if type(value) is class_ else admit(value, type_, name)

    return read


def read_attribute(variable: str, field: str, type_: Type) -> Evaluate:
    class_ = CLASSES.get(type_.kind)
    path = f"{variable}.{field}"

    def read(frame: Frame) -> Value:
        try:
            value = frame[variable][field]
        except (KeyError, TypeError):
            raise EvaluationError(f"{path} is missing") from None
        return value if type(value) is class_ else admit(value, type_, path)

    return read


def ask_attribute(attribute: Attribute, type_: Type, holds: Callable[[Value], bool]) -> Evaluate:
    class_ = CLASSES.get(type_.kind)
    variable, field = attribute
    path = f"{variable}.{field}"
    missing = f"{path} is missing"

    # The commonest predicate of all, `customer.age >= 18`, spelled out to save a call of a closure.
    def ask(frame: Frame) -> bool:
        try:
            value = frame[variable][field]
        except (KeyError, TypeError):
            raise EvaluationError(missing) from None
        return holds(value if type(value) is class_ else admit(value, type_, path))

    return ask


def admitting(run: Evaluate, type_: Type, what: str) -> Evaluate:
    if type_ == DYN:
        return run
    class_ = CLASSES.get(type_.kind)

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


def apply(function: Callable[..., Any], runs: tuple[Evaluate, ...]) -> Evaluate:
    match runs:
        case (one,):
            return lambda frame: function(one(frame))
        case (left, right):
            return lambda frame: function(left(frame), right(frame))
    return lambda frame: function(*[run(frame) for run in runs])


def apply_charged(function: Callable[..., Any], runs: tuple[Evaluate, ...]) -> Evaluate:
    def apply(frame: Frame) -> Value:
        arguments = [run(frame) for run in runs]
        frame[ACCOUNT].charge_values(arguments)
        return function(*arguments)

    return apply


def is_member(element: str, container: Any) -> bool:
    return element in container


def membership(run: Evaluate, members: frozenset[Value]) -> Evaluate:
    return lambda frame: run(frame) in members


def conjunction(conditions: tuple[Evaluate, ...]) -> Evaluate:
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


def disjunction(conditions: tuple[Evaluate, ...], needs: tuple[Attribute | None, ...]) -> Evaluate:
    """needs: for each condition an attribute without which it is unknown, or None."""
    operands = [(condition, *(need or (None, None))) for condition, need in zip(conditions, needs, strict=True)]

    # Looking for the attribute first spares raising and catching its absence, which takes five times as long as the
    # condition; alternatives are written where attributes are missing. is_absent() is spelled out to save its call.
    def any_holds(frame: Frame) -> bool:
        failure = absent = None
        for condition, variable, field in operands:
            if variable is not None:
                holder = frame.get(variable)
                if type(holder) is dict and field not in holder:
                    absent = variable, field
                    continue
            try:
                if condition(frame):
                    return True
            except EvaluationError as error:
                failure = error
        if absent is not None:
            raise EvaluationError(f"{'.'.join(absent)} is missing")
        if failure is not None:
            raise failure
        return False

    return any_holds


def is_absent(frame: Frame, attribute: Attribute) -> bool:
    """Whether an attribute is surely missing; a host's own mapping is not asked, since it may work out what it has."""
    variable, field = attribute
    holder = frame.get(variable)
    return type(holder) is dict and field not in holder


def negation(condition: Evaluate) -> Evaluate:
    return lambda frame: not condition(frame)


def conditional(test: Evaluate, yes: Evaluate, no: Evaluate) -> Evaluate:
    return lambda frame: yes(frame) if test(frame) else no(frame)


def selection(run: Evaluate, field: str) -> Evaluate:
    def select(frame: Frame) -> Value:
        operand = run(frame)
        if type(operand) is not dict and kind_of(operand) != "map":
            raise EvaluationError(f"{kind_of(operand)} has no attribute {field}")
        try:
            return operand[field]
        except KeyError:
            raise EvaluationError(f"{field} is missing") from None

    return select


def presence(run: Evaluate, field: str) -> Evaluate:
    def is_present(frame: Frame) -> bool:
        operand = run(frame)
        if type(operand) is not dict and kind_of(operand) != "map":
            raise EvaluationError(f"{kind_of(operand)} has no attribute {field}")
        return field in operand

    return is_present


def make_list(runs: tuple[Evaluate, ...]) -> Evaluate:
    return lambda frame: [run(frame) for run in runs]


def make_map(runs: tuple[Evaluate, ...]) -> Evaluate:
    pairs = tuple(zip(runs[::2], runs[1::2], strict=True))

    def make(frame: Frame) -> Value:
        made: dict[Value, Value] = {}
        for key, value in pairs:
            put(made, key(frame), value(frame))
        return made

    return make


def host_method(method: HostMethod, runs: Sequence[Evaluate], constants: Sequence[Value] | None) -> Evaluate:
    variable, name, type_ = method.variable, method.name, method.result
    what = f"{variable}.{name}()"

    def ask(frame: Frame) -> Value:
        try:
            host = frame[variable]
        except KeyError:
            raise EvaluationError(f"{variable} is missing") from None
        arguments = [run(frame) for run in runs] if constants is None else constants
        answer = getattr(host, name)(*arguments)
        if answer is None:
            raise EvaluationError(f"{what} has no answer")
        return admit(answer, type_, what)

    return ask


def failing(message: str) -> Evaluate:
    def fail(frame: Frame) -> Value:
        raise EvaluationError(message)

    return fail
