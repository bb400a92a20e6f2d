"""Expressions: CEL in a strategy's texts, checked against its schema and compiled.

Rules repeat over actions, so each text is parsed once, and compiled once unless it counts history by action, group or
issue: those scopes are literals in the text and are rewritten here to the keys they mean for the action at hand
(`"action"` -> `"action:grow/cards/gold"`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.layout import SCOPES
from decisioning.catalog.outcomes import REMEMBERED_OUTCOMES
from decisioning.catalog.schema import Schema
from decisioning.catalog.template import Piece
from decisioning.catalog.yaml_text import Scalar
from rules import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Call,
    Environment,
    EvaluationError,
    Has,
    Ident,
    Index,
    Literal,
    Node,
    Program,
    RuleFault,
    RuleTypeError,
    Select,
    Signature,
    Type,
    check,
    compile,
    conjuncts,
    object_of,
    parse,
    transform,
)
from rules.tree import Position, walk
from rules.values import Value

_HISTORY_METHODS = {
    ("history", "count"): Signature((STRING, STRING, DURATION), INT),
    ("history", "days_since"): Signature((STRING, STRING), DOUBLE),
    ("history", "last"): Signature((STRING, STRING), TIMESTAMP),
}
_MOMENT = ("context", "channel", "now")  # roots that change from render to render
_KEYED_SCOPES = {"issue": 1, "group": 2, "action": 3}  # scope -> how much of issue/group/action is its key


@dataclass(frozen=True, slots=True)
class Owner:
    """The action an expression speaks for: what its history scopes mean, and for which purpose it may read."""

    key: str  # issue/group/action
    purpose: str

    def scope(self, word: str) -> str:
        """A history scope with the key it means for this action; `channel` and `customer` need none."""
        depth = _KEYED_SCOPES.get(word)
        return word if depth is None else f"{word}:{'/'.join(self.key.split('/')[:depth])}"


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one text says before anybody owns it."""

    tree: Node
    reads_at: dict[str, Position]  # attribute path -> where it is first read
    faults: tuple[RuleFault, ...]  # in the arguments of history
    is_scoped: bool  # means something else for another action


class Expressions:
    """Compiles the expressions of one strategy; a faulty one is noted and gives None."""

    def __init__(self, schema: Schema, faults: Faults) -> None:
        self._schema = schema
        self._faults = faults
        self._environment = _environment(schema)
        self._readings: dict[str, _Reading | RuleFault] = {}
        self._programs: dict[tuple[str, str, Type | None, bool], tuple[Program, ...] | RuleTypeError] = {}
        self._contextual: set[str] = set()

    @property
    def contextual(self) -> frozenset[str]:
        """Texts of the programs that read the moment (context, channel) and not only the customer's own facts."""
        return frozenset(self._contextual)

    def predicates(self, node: Scalar, owner: Owner) -> tuple[Program, ...]:
        """The conditions of one rule, split at its top-level `&&`; none when it is faulty."""
        return self._compiled(node, Piece(node.value, 0), owner, BOOL) or ()

    def program(self, node: Scalar, piece: Piece, owner: Owner, expected: Type | None) -> Program | None:
        """One expression as a whole; `piece` is the part of the node's text it stands in."""
        programs = self._compiled(node, piece, owner, expected, split=False)
        return programs[0] if programs else None

    def constant(self, node: Scalar, piece: Piece) -> Value | None:
        """The value of an expression that reads nothing."""
        try:
            value = compile(check(parse(piece.text), self._environment))({})
        except RuleFault as fault:
            self._note(node, piece, fault)
            return None
        except EvaluationError:
            value = None
        if value is None:
            message = f"{piece.text!r} is not a constant"
            self._faults.add(node.at(piece.offset), message, "Write a text in quotes, or a number")
        return value

    def _compiled(
        self, node: Scalar, piece: Piece, owner: Owner, expected: Type | None, *, split: bool = True
    ) -> tuple[Program, ...] | None:
        reading = self._reading(piece.text)
        if isinstance(reading, RuleFault):
            self._note(node, piece, reading)
            return None
        for fault in reading.faults:
            self._note(node, piece, fault)
        self._check_purposes(node, piece, reading, owner)
        key = (piece.text, owner.key if reading.is_scoped else "", expected, split)
        programs = self._programs.get(key)
        if programs is None:
            programs = self._programs[key] = self._compile(reading, owner, expected, split=split)
        if isinstance(programs, RuleTypeError):
            for fault in programs.faults:
                self._note(node, piece, fault)
            return None
        return programs

    def _reading(self, text: str) -> _Reading | RuleFault:
        reading = self._readings.get(text)
        if reading is None:
            try:
                reading = _read(parse(text))
            except RuleFault as fault:
                reading = fault
            self._readings[text] = reading
        return reading

    def _compile(
        self, reading: _Reading, owner: Owner, expected: Type | None, *, split: bool
    ) -> tuple[Program, ...] | RuleTypeError:
        tree = transform(reading.tree, lambda node: _in_scope_of(owner, node)) if reading.is_scoped else reading.tree
        try:
            check(tree, self._environment, expected)  # the whole first: all its faults, at once
            parts = conjuncts(tree) if split else (tree,)
            programs = tuple(compile(check(part, self._environment, expected)) for part in parts)
        except RuleTypeError as fault:
            return fault
        for program in programs:
            if not program.reads.isdisjoint(("customer", "context")):
                # Only attributes that are named can be decoded for a decision, and be held to their purposes.
                return RuleTypeError("customer and context are no values of their own. Name an attribute of theirs")
        self._contextual |= {
            program.text for part, program in zip(parts, programs, strict=True) if _is_contextual(part, program)
        }
        return programs

    def _check_purposes(self, node: Scalar, piece: Piece, reading: _Reading, owner: Owner) -> None:
        if owner.purpose not in self._schema.purposes:
            return
        for path, read_at in reading.reads_at.items():
            attribute = self._schema.attributes.get(path)
            if attribute and attribute.allowed_for is not None and owner.purpose not in attribute.allowed_for:
                message = f"{path} is not allowed for the purpose {owner.purpose}"
                way_out = f"schema.yaml allows it for {', '.join(sorted(attribute.allowed_for))}; use another attribute"
                self._faults.add(node.at(_offset(piece, *read_at)), message, way_out)

    def _note(self, node: Scalar, piece: Piece, fault: RuleFault) -> None:
        message, _, way_out = fault.message.partition(". ")
        place = node.at(_offset(piece, fault.line, fault.column))
        self._faults.add(place, message, way_out or "docs/rules.md says what a rule may say")


def _environment(schema: Schema) -> Environment:
    """What expressions may name: the attributes of the schema, the moment, and the customer's history."""
    roots = {}
    for root in ("customer", "context"):
        prefix = f"{root}."
        names = {
            path.removeprefix(prefix): schema.type_of(path) for path in schema.attributes if path.startswith(prefix)
        }
        roots[root] = object_of(names, name=root)
    history = object_of({}, name="history")  # answers its methods and nothing else
    return Environment({**roots, "now": TIMESTAMP, "channel": STRING, "history": history}, _HISTORY_METHODS)


def _offset(piece: Piece, line: int, column: int) -> int:
    """The offset in the whole text of a position in one of its expressions."""
    lines = piece.text.split("\n")[: line - 1]
    return piece.offset + sum(len(each) + 1 for each in lines) + column - 1


def _read(tree: Node) -> _Reading:
    reads_at: dict[str, Position] = {}
    faults: list[RuleFault] = []
    is_scoped = False
    for node, _ in walk(tree):
        match node:
            case Select(Ident(root), name) | Has(Ident(root), name) | Index(Ident(root), Literal(str() as name)):
                path = f"{root}.{name}"
                reads_at[path] = min(node.at, reads_at.get(path, node.at))
            case Call(_, Ident("history"), arguments):
                faults.extend(_argument_faults(arguments))
                is_scoped |= any(
                    isinstance(each, Literal) and each.value in tuple(_KEYED_SCOPES) for each in arguments[1:2]
                )
    return _Reading(tree, reads_at, tuple(faults), is_scoped)


def _argument_faults(arguments: tuple[Node, ...]) -> Iterator[RuleFault]:
    """Outcome and scope have to be known words, written as such: anything else would count nothing, quietly."""
    for argument, kind, words in zip(
        arguments, ("response outcome", "scope"), (REMEMBERED_OUTCOMES, SCOPES), strict=False
    ):
        if not isinstance(argument, Literal) or not isinstance(argument.value, str):
            yield RuleFault(f"the {kind} has to be a text in quotes. Known: {', '.join(words)}", *argument.at)
        elif argument.value not in words:
            yield RuleFault(f"unknown {kind} {argument.value!r}. {known(argument.value, words)}", *argument.at)


def _in_scope_of(owner: Owner, node: Node) -> Node:
    match node:
        case Call(_, Ident("history"), (_, Literal(str() as word) as scope, *_)):
            arguments = (node.arguments[0], replace(scope, value=owner.scope(word)), *node.arguments[2:])
            return replace(node, arguments=arguments)
    return node


def _is_contextual(tree: Node, program: Program) -> bool:
    if any(path.partition(".")[0] in _MOMENT for path in program.reads):
        return True
    return any(
        isinstance(node, Call) and node.target == Ident("history") and Literal("channel") in node.arguments[1:2]
        for node, _ in walk(tree)
    )
