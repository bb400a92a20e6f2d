"""Tree and declarations to a checked tree: every name resolved, every type inferred, every fault reported.

A fault makes its node DYN and checking goes on, so that an author sees all faults at once. The compiler reads types
only to leave out tests it can prove needless; where a type is DYN it tests at evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import count
from typing import Any

from rules.checked import CheckedNode, Denotation, Function, HostMethod, LoopSlots, LoopVariable, Variable
from rules.environment import Environment, Signature
from rules.errors import EvaluationError, RuleTypeError
from rules.functions import FUNCTIONS, METHODS
from rules.operators import ARITHMETIC, ORDER
from rules.overloads import Overload
from rules.text_functions import pattern_of
from rules.timestamps import Duration, Timestamp
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
from rules.types import (
    BOOL,
    DYN,
    INT,
    NUMERIC_KINDS,
    STRING,
    TYPE,
    Type,
    accepts,
    comparable,
    element_of,
    join,
    list_of,
    map_of,
)
from rules.values import KINDS, ORDERED, TYPE_NAMES, TypeValue, Value

NEARBY_COUNT = 3  # names offered for one that is unknown
KNOWN_COUNT = 10  # names listed when none is near


Scope = Mapping[str, tuple[str, Type]]  # loop variable -> slot and type


def check(node: Node, environment: Environment, expected: Type | None = None) -> CheckedNode:
    """Check a tree against its declarations and the type its value must have. Raises RuleTypeError with all faults."""
    checked, faults = resolve(node, environment)
    if expected is not None and not accepts(expected, checked.type):
        faults.append(RuleTypeError(f"the expression is {checked.type}, but must be {expected}", *node.at))
    if faults:
        faults.sort(key=lambda fault: (fault.line, fault.column))
        raise RuleTypeError(faults[0].message, faults[0].line, faults[0].column, faults=faults)
    return replace(checked, expected=expected)


def resolve(node: Node, environment: Environment) -> tuple[CheckedNode, list[RuleTypeError]]:
    """The checked tree and its faults; one with faults can still be compiled, as CEL's evaluation without checking."""
    checker = _Checker(environment)
    return checker.visit(node, {}), checker.faults


class _Checker:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.faults: list[RuleTypeError] = []
        self._slots = count()

    def visit(self, node: Node, scope: Scope) -> CheckedNode:
        return _VISITS[type(node)](self, node, scope)

    def visit_all(self, nodes: Sequence[Node], scope: Scope) -> tuple[CheckedNode, ...]:
        return tuple([self.visit(node, scope) for node in nodes])

    def fault(self, node: Node, message: str) -> None:
        self.faults.append(RuleTypeError(message, *node.at))

    # Names

    def ident(self, node: Ident, scope: Scope) -> CheckedNode:
        if not node.absolute and node.name in scope:
            slot, type_ = scope[node.name]
            return CheckedNode(node, type_, reference=LoopVariable(slot))
        known = self.qualified(node, scope)
        if known is not None:
            return known
        names = [*scope, *self.environment.variables]
        self.fault(node, f"unknown name {node.name!r}. {nearby(node.name, names)}")
        return CheckedNode(node, DYN)

    def qualified(self, node: Ident | Select, scope: Scope) -> CheckedNode | None:
        """The variable or type that a dotted name spells as a whole, unless a loop variable hides it."""
        path = _dotted(node)
        if path is None:
            return None
        name, absolute = path
        if not absolute and name.partition(".")[0] in scope:
            return None
        variable = self.environment.find(name, absolute=absolute)
        if variable is not None:
            return CheckedNode(node, self.environment.variables[variable], reference=Variable(variable))
        if name in _TYPES:
            return CheckedNode(node, TYPE, reference=Denotation(TypeValue(name)))
        return None

    def select(self, node: Select, scope: Scope) -> CheckedNode:
        known = self.qualified(node, scope)
        if known is not None:
            return known
        operand = self.visit(node.operand, scope)
        return CheckedNode(node, self.field_type(node, operand.type), (operand,))

    def has(self, node: Has, scope: Scope) -> CheckedNode:
        operand = self.visit(node.operand, scope)
        self.field_type(node, operand.type)
        return CheckedNode(node, BOOL, (operand,))

    def field_type(self, node: Select | Has, operand: Type) -> Type:
        if operand.kind == "object":
            if node.field in operand.attributes:
                return operand.attributes[node.field]
            self.fault(node, f"unknown attribute {node.field!r}. {nearby(node.field, operand.attributes)}")
        elif operand.kind == "map":
            return operand.parameters[1]
        elif operand != DYN:
            self.fault(node, f"{operand} has no attribute {node.field!r}")
        return DYN

    # Operators

    def literal(self, node: Literal, scope: Scope) -> CheckedNode:
        return CheckedNode(node, Type(KINDS[type(node.value)]))

    def unary(self, node: Unary, scope: Scope) -> CheckedNode:
        operand = self.visit(node.operand, scope)
        if node.operator == "!":
            self.want_bool(operand)
            return CheckedNode(node, BOOL, (operand,))
        return self.apply(node, "negate", ARITHMETIC["negate"], (operand,))

    def binary(self, node: Binary, scope: Scope) -> CheckedNode:
        left, right = self.visit(node.left, scope), self.visit(node.right, scope)
        if node.operator in ARITHMETIC:
            return self.apply(node, node.operator, ARITHMETIC[node.operator], (left, right))
        if node.operator == "in":
            self.want_container(node, left.type, right.type)
        elif node.operator in ORDER:
            self.want_order(node, left.type, right.type)
        elif not comparable(left.type, right.type):
            self.fault(node, f"{left.type} is never equal to {right.type}")
        return CheckedNode(node, BOOL, (left, right))

    def want_order(self, node: Node, left: Type, right: Type) -> None:
        known = [type_ for type_ in (left, right) if type_ != DYN]
        numbers = all(type_.kind in NUMERIC_KINDS for type_ in known)
        alike = len({type_.kind for type_ in known}) <= 1
        if not (numbers or alike) or any(type_.kind not in ORDERED for type_ in known):
            self.fault(node, f"{left} and {right} have no order")

    def want_container(self, node: Node, element: Type, container: Type) -> None:
        if container.kind not in ("list", "map", "object", "dyn"):
            self.fault(node, f"'in' searches a list or a map, not {container}")
        elif not comparable(element, element_of(container)):
            self.fault(node, f"{element} is never in {container}")

    def logic(self, node: Logic, scope: Scope) -> CheckedNode:
        operands = self.visit_all(node.operands, scope)
        for operand in operands:
            self.want_bool(operand)
        return CheckedNode(node, BOOL, operands)

    def want_bool(self, checked: CheckedNode) -> None:
        if not accepts(BOOL, checked.type):
            self.fault(checked.node, f"{checked.type} is not a condition; bool is wanted")

    def conditional(self, node: Conditional, scope: Scope) -> CheckedNode:
        test, yes, no = self.visit_all((node.test, node.yes, node.no), scope)
        self.want_bool(test)
        if not (accepts(yes.type, no.type) or accepts(no.type, yes.type)):
            self.fault(node.no, f"both answers of ? : must have one type, not {yes.type} and {no.type}")
        return CheckedNode(node, join(yes.type, no.type), (test, yes, no))

    # Containers

    def list_of(self, node: ListOf, scope: Scope) -> CheckedNode:
        elements = self.visit_all(node.elements, scope)
        return CheckedNode(node, list_of(_common(elements)), elements)

    def map_of(self, node: MapOf, scope: Scope) -> CheckedNode:
        keys = self.visit_all([key for key, _ in node.entries], scope)
        values = self.visit_all([value for _, value in node.entries], scope)
        for key in keys:
            if key.type.kind not in ("int", "uint", "bool", "string", "dyn"):
                self.fault(key.node, f"{key.type} cannot be a key of a map")
        parts = tuple(part for entry in zip(keys, values, strict=True) for part in entry)
        return CheckedNode(node, map_of(_common(keys), _common(values)), parts)

    def index(self, node: Index, scope: Scope) -> CheckedNode:
        operand, index = self.visit(node.operand, scope), self.visit(node.index, scope)
        return CheckedNode(node, self.element_type(node, operand.type, index.type), (operand, index))

    def element_type(self, node: Index, operand: Type, index: Type) -> Type:
        if operand.kind == "object":
            if isinstance(node.index, Literal) and isinstance(node.index.value, str):
                return self.field_type(Select(node.operand, node.index.value, at=node.index.at), operand)
            wanted, element = STRING, DYN
        elif operand.kind == "list":
            wanted, element = INT, operand.parameters[0]
        elif operand.kind == "map":
            wanted, element = operand.parameters
        else:
            wanted, element = DYN, DYN
            if operand != DYN:
                self.fault(node, f"{operand} has no elements to index")
        if not (accepts(wanted, index) or (operand.kind == "map" and comparable(wanted, index))):
            self.fault(node, f"{operand} is indexed by {wanted}, not {index}")
        return element

    def loop(self, node: Loop, scope: Scope) -> CheckedNode:
        range_ = self.visit(node.range, scope)
        if range_.type.kind not in ("list", "map", "object", "dyn"):
            self.fault(node, f"{node.macro}() walks over a list or a map, not {range_.type}")
        types = _walked(range_.type) if len(node.variables) == 2 else (element_of(range_.type),)
        slots = tuple(f"@{next(self._slots)}" for _ in node.variables)
        inner = {**scope, **dict(zip(node.variables, zip(slots, types, strict=True), strict=True))}
        arguments = self.visit_all(node.arguments, inner)
        conditions, body = arguments[:-1], arguments[-1]
        for condition in arguments if node.macro in _ASKING else conditions:
            self.want_bool(condition)
        if node.macro == "transformMapEntry" and body.type.kind not in ("map", "dyn"):
            self.fault(body.node, f"transformMapEntry() makes a map of each element, not {body.type}")
        return CheckedNode(node, _loop_type(node.macro, range_.type, body.type), (range_, *arguments), LoopSlots(slots))

    # Calls

    def call(self, node: Call, scope: Scope) -> CheckedNode:
        arguments = self.visit_all(node.arguments, scope)
        if node.target is None:
            return self.named(node, node.function, FUNCTIONS, arguments)
        path = _dotted(node.target)
        if path is not None and path[0].partition(".")[0] not in scope:
            variable = self.environment.find(path[0], absolute=path[1])
            signature = self.environment.methods.get((variable or "", node.function))
            if signature is not None:
                method = HostMethod(variable or "", node.function, signature.result, signature.together)
                return self.host_method(node, method, signature, arguments)
            if variable is None and f"{path[0]}.{node.function}" in FUNCTIONS:
                return self.named(node, f"{path[0]}.{node.function}", FUNCTIONS, arguments)
        target = self.visit(node.target, scope)
        return self.named(node, node.function, METHODS, (target, *arguments))

    def named(
        self, node: Call, name: str, known: Mapping[str, tuple[Overload, ...]], arguments: tuple[CheckedNode, ...]
    ) -> CheckedNode:
        if name not in known:
            methods = [method for _, method in self.environment.methods]
            names = [*known, *methods] if node.target is not None else list(known)
            self.fault(node, f"unknown function {name!r}. {nearby(name, names)}")
            return CheckedNode(node, DYN, arguments)
        self.want_readable(name, arguments)
        return self.apply(node, name, known[name], arguments)

    def apply(
        self, node: Node, name: str, overloads: tuple[Overload, ...], arguments: tuple[CheckedNode, ...]
    ) -> CheckedNode:
        given = tuple(argument.type for argument in arguments)
        fitting = tuple(overload for overload in overloads if overload.takes(given))
        if not fitting:
            self.fault(node, _misfit(name, given))
            return CheckedNode(node, DYN, arguments, Function(name, ()))
        if DYN not in given:
            fitting = fitting[:1]
        result = fitting[0].result if all(overload.result == fitting[0].result for overload in fitting) else DYN
        if name == "+" and result.kind == "list" and len(fitting) == 1:
            result = join(*given)
        return CheckedNode(node, result, arguments, Function(name, fitting))

    def host_method(
        self, node: Call, method: HostMethod, signature: Signature, arguments: tuple[CheckedNode, ...]
    ) -> CheckedNode:
        given = tuple(argument.type for argument in arguments)
        wanted = signature.parameters
        if len(given) != len(wanted) or not all(map(accepts, wanted, given)):
            self.fault(node, f"{method.variable}.{method.name} takes {_listed(wanted)}, not {_listed(given)}")
        return CheckedNode(node, signature.result, arguments, method)

    def want_readable(self, name: str, arguments: tuple[CheckedNode, ...]) -> None:
        """Refuse literal dates, durations and patterns that would fail at every evaluation."""
        read = _READERS.get(name)
        last = arguments[-1].node if arguments else None
        if read is None or not isinstance(last, Literal) or not isinstance(last.value, str):
            return
        try:
            read(last.value)
        except EvaluationError as error:
            self.fault(last, str(error))


def nearby(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """The known names that start or look like this one, else some of them, as the end of a message."""
    begun = [other for other in known if other.startswith(name)]
    close = begun[:NEARBY_COUNT] or get_close_matches(name, known, n=NEARBY_COUNT, cutoff=0.5)
    if close:
        return f"Known nearby: {', '.join(close)}"
    return f"Known: {', '.join(sorted(known)[:KNOWN_COUNT]) or 'none'}"


def _dotted(node: Node) -> tuple[str, bool] | None:
    """A chain of plain names as text, and whether it is absolute."""
    fields: list[str] = []
    while isinstance(node, Select):
        fields.append(node.field)
        node = node.operand
    if not isinstance(node, Ident):
        return None
    return ".".join([node.name, *reversed(fields)]), node.absolute


def _common(elements: Sequence[CheckedNode]) -> Type:
    if not elements:
        return DYN
    common = elements[0].type
    for element in elements[1:]:
        common = join(common, element.type)
    return common


def _walked(range_: Type) -> tuple[Type, Type]:
    """Types of the two variables of a loop."""
    if range_.kind == "list":
        return INT, range_.parameters[0]
    if range_.kind == "map":
        return range_.parameters[0], range_.parameters[1]
    return (STRING if range_.kind == "object" else DYN), DYN


def _loop_type(macro: str, range_: Type, body: Type) -> Type:
    if macro in ("all", "exists", "exists_one"):
        return BOOL
    if macro == "filter":
        return list_of(element_of(range_))
    if macro == "transformMap":
        return map_of(_walked(range_)[0], body)
    return DYN if macro == "transformMapEntry" else list_of(body)


def _misfit(name: str, given: Sequence[Type]) -> str:
    kinds = {type_.kind for type_ in given}
    if name in ARITHMETIC and len(given) == 2:
        way_out = (
            ". Convert one side with double(), int() or uint()" if len(kinds) > 1 and kinds <= NUMERIC_KINDS else ""
        )
        return f"{given[0]} {name} {given[1]} is not defined{way_out}"
    return f"{'-' if name == 'negate' else name} does not take {_listed(given)}"


def _listed(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"


_ASKING = frozenset({"all", "exists", "exists_one", "filter"})  # macros whose last argument is a condition too
_TYPES = frozenset(TYPE_NAMES.values())
_READERS: Mapping[str, Callable[[str], Value]] = {
    "timestamp": Timestamp.parse,
    "duration": Duration.parse,
    "matches": pattern_of,
}
_VISITS: Mapping[type[Node], Callable[[_Checker, Any, Scope], CheckedNode]] = {
    Literal: _Checker.literal,
    Ident: _Checker.ident,
    Select: _Checker.select,
    Has: _Checker.has,
    Index: _Checker.index,
    Call: _Checker.call,
    ListOf: _Checker.list_of,
    MapOf: _Checker.map_of,
    Unary: _Checker.unary,
    Binary: _Checker.binary,
    Logic: _Checker.logic,
    Conditional: _Checker.conditional,
    Loop: _Checker.loop,
}
