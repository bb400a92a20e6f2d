"""Expressions: CEL in a strategy's texts, checked against its schema and compiled.

Rules repeat over actions, so each text is parsed once, and compiled once unless it counts history by action, group or
issue: those scopes are literals in the text and are rewritten here to the keys they mean for the action at hand
(`"action"` -> `"action:grow/cards/gold"`); what belongs to no action names a key itself. Derived attributes are
declared one by one, each after those it reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from decisioning.catalog.derived import DerivedAttribute
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.layout import KEY_DEPTH, SCOPES
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
    Together,
    Type,
    check,
    compile,
    conjuncts,
    object_of,
    parse,
    transform,
    unparse,
)
from rules.tree import Position, walk
from rules.values import Value

_HISTORY_METHODS = {
    ("history", "count"): Signature((STRING, STRING, DURATION), INT, Together("counts", argument=1, unlisted=0)),
    ("history", "days_since"): Signature((STRING, STRING), DOUBLE),
    ("history", "last"): Signature((STRING, STRING), TIMESTAMP),
}
_UNSCOPED = (
    "what is the same for every action has no action, group or issue of its own. Name one, as in group:grow/cards"
)
_OVERSCOPED = "a rule asks about its own action, group or issue. Leave the key away, or ask in a derived attribute"
_NO_VALUES = "customer, context and derived are no values of their own. Name an attribute of theirs"
_MOMENT = ("context", "channel", "now")  # roots that change from render to render
_WHOLE = ("customer", "context", "derived")  # roots that are read by attribute only


@dataclass(frozen=True, slots=True)
class Owner:
    """The action an expression speaks for: what its history scopes mean, and for which purpose it may read."""

    key: str  # issue/group/action
    purpose: str

    def scope(self, word: str) -> str:
        """A history scope with the key it means for this action; `channel` and `customer` need none."""
        depth = KEY_DEPTH.get(word)
        return word if depth is None else f"{word}:{'/'.join(self.key.split('/')[:depth])}"


NOBODY = Owner("", "")  # owns what is the same for every action: derived attributes and tables


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one text says before anybody owns it."""

    tree: Node
    reads_at: dict[str, Position]  # attribute path -> where it is first read
    faults: tuple[RuleFault, ...]  # in the arguments of history
    scoped_at: Position | None  # where it begins to mean something else for another action
    keyed_at: Position | None  # where it first asks about an action, group or issue by its key


class Expressions:
    """Compiles the expressions of one strategy; a faulty one is noted and gives None."""

    def __init__(self, schema: Schema, faults: Faults, keys: Collection[str] | None = None) -> None:
        """keys: of all issues, groups and actions, for scopes that name one; None: not known, any is taken."""
        self.schema = schema
        self._faults = faults
        self._keys = keys
        self._derived: dict[str, DerivedAttribute] = {}
        self._environment = _environment(schema, self._derived)
        self._readings: dict[str, _Reading | RuleFault] = {}
        self._programs: dict[tuple[str, str, Type | None, bool], tuple[Program, ...] | RuleTypeError] = {}
        self._constants: dict[str, Value | RuleFault | None] = {}
        self._by_text: dict[tuple[str, Type], Program] = {}  # by normal spelling, however it was written
        self._contextual: set[str] = set()

    @property
    def contextual(self) -> frozenset[str]:
        """Texts of the programs that read the moment (context, channel) and not only the customer's own facts."""
        return frozenset(self._contextual)

    def declare(self, attribute: DerivedAttribute) -> None:
        """Let the expressions that follow read a derived attribute."""
        self._derived[attribute.name] = attribute
        self._environment = _environment(self.schema, self._derived)

    def reads_moment(self, program: Program) -> bool:
        """True when the program reads the moment and not only the customer's own facts."""
        return program.text in self._contextual

    def allowed_for(self, paths: Iterable[str]) -> frozenset[str] | None:
        """The purposes for which all of these attributes may be read; None: all purposes."""
        limits = [limit for path in paths if (limit := self._allowed_for(path)) is not None]
        return frozenset.intersection(*limits) if limits else None

    def attributes_behind(self, paths: Iterable[str]) -> frozenset[str]:
        """The same paths with everything that their derived attributes read."""
        found = set(paths)
        return frozenset(found.union(*(self._derived[path].reads for path in found if path in self._derived)))

    def derived_in(self, piece: Piece) -> Mapping[str, int]:
        """The derived attributes an expression names, and where in the node's text; none when it cannot be read."""
        reading = self._reading(piece.text)
        if isinstance(reading, RuleFault):
            return {}
        return {path: _offset(piece, *at) for path, at in reading.reads_at.items() if path.startswith("derived.")}

    def predicates(self, node: Scalar, owner: Owner, piece: Piece | None = None) -> tuple[Program, ...]:
        """The conditions of one rule, split at its top-level `&&`; none when it is faulty. `piece`: see program()."""
        return self._compiled(node, piece or Piece(node.value, 0), owner, BOOL) or ()

    def tree(self, text: str) -> Node | None:
        """What a text says to its author: places are its own, scopes of history are words; None when it is no text."""
        reading = self._reading(text)
        return None if isinstance(reading, RuleFault) else reading.tree

    def program(self, node: Scalar, piece: Piece, owner: Owner, expected: Type | None) -> Program | None:
        """One expression as a whole; `piece` is the part of the node's text it stands in."""
        programs = self._compiled(node, piece, owner, expected, split=False)
        return programs[0] if programs else None

    def constant(self, node: Scalar, piece: Piece) -> Value | None:
        """The value of an expression that reads nothing."""
        value = self._constant(piece.text)
        if isinstance(value, RuleFault):
            self._note(node, piece, value)
            return None
        if value is None:
            message = f"{piece.text!r} is not a constant"
            self._faults.add(node.at(piece.offset), message, "Write a text in quotes, or a number")
        return value

    def _constant(self, text: str) -> Value | RuleFault | None:
        """Thousands of texts have the same few defaults."""
        if text not in self._constants:
            try:
                self._constants[text] = compile(check(parse(text), self._environment))({})
            except RuleFault as fault:
                self._constants[text] = fault
            except EvaluationError:
                self._constants[text] = None
        return self._constants[text]

    def _compiled(
        self, node: Scalar, piece: Piece, owner: Owner, expected: Type | None, *, split: bool = True
    ) -> tuple[Program, ...] | None:
        reading = self._reading(piece.text)
        if isinstance(reading, RuleFault):
            self._note(node, piece, reading)
            return None
        for fault in reading.faults:
            self._note(node, piece, fault)
        if reading.scoped_at is not None and owner is NOBODY:
            self._note(node, piece, RuleFault(_UNSCOPED, *reading.scoped_at))
            return None
        if reading.keyed_at is not None and owner is not NOBODY:
            self._note(node, piece, RuleFault(_OVERSCOPED, *reading.keyed_at))
            return None
        self.check_purpose(node, piece, owner.purpose)
        key = (piece.text, owner.key if reading.scoped_at else "", expected, split)
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
                reading = _read(parse(text), self._keys)
            except RuleFault as fault:
                reading = fault
            self._readings[text] = reading
        return reading

    def _compile(
        self, reading: _Reading, owner: Owner, expected: Type | None, *, split: bool
    ) -> tuple[Program, ...] | RuleTypeError:
        tree = transform(reading.tree, lambda node: _in_scope_of(owner, node)) if reading.scoped_at else reading.tree
        try:
            whole = check(tree, self._environment, expected)  # first, for all its faults at once
            parts = conjuncts(tree) if split else (tree,)
            checked = [whole if part is tree else check(part, self._environment, expected) for part in parts]
            programs = tuple(self._shared(compile(each)) for each in checked)
        except RuleTypeError as fault:
            return fault
        for program in programs:
            if not program.reads.isdisjoint(_WHOLE):
                # Only attributes that are named can be decoded for a decision, and be held to their purposes.
                return RuleTypeError(_NO_VALUES)
        self._contextual |= {
            program.text
            for part, program in zip(parts, programs, strict=True)
            if _is_contextual(part, program, self._derived)
        }
        return programs

    def _shared(self, program: Program) -> Program:
        """The first program of the same normal spelling: whoever evaluates it, and says so, means the same object."""
        return self._by_text.setdefault((program.text, program.type), program)

    def check_purpose(self, node: Scalar, piece: Piece, purpose: str) -> None:
        """Note what an expression reads, itself or through derived attributes, that this purpose may not see."""
        reading = self._reading(piece.text)
        if purpose not in self.schema.purposes or isinstance(reading, RuleFault):
            return
        for path, read_at in reading.reads_at.items():
            allowed = self._allowed_for(path)
            if allowed is not None and purpose not in allowed:
                message = f"{path} is not allowed for the purpose {purpose}"
                place = node.at(_offset(piece, *read_at))
                self._faults.add(place, message, self._use_another(path, purpose, allowed))

    def _use_another(self, path: str, purpose: str, allowed: frozenset[str]) -> str:
        derived = self._derived.get(path)
        if derived is None:
            return f"schema.yaml allows it for {', '.join(sorted(allowed))}; use another attribute"
        schema = self.schema.attributes
        refused = [
            each
            for each in sorted(derived.reads & schema.keys())
            if (limit := schema[each].allowed_for) is not None and purpose not in limit
        ]
        return f"It reads {', '.join(refused)}, which schema.yaml allows for other purposes; use another attribute"

    def _allowed_for(self, path: str) -> frozenset[str] | None:
        attribute = self.schema.attributes.get(path) or self._derived.get(path)
        return attribute.allowed_for if attribute else None

    def _note(self, node: Scalar, piece: Piece, fault: RuleFault) -> None:
        message, _, way_out = fault.message.partition(". ")
        place = node.at(_offset(piece, fault.line, fault.column))
        self._faults.add(place, message, way_out or "docs/rules.md says what a rule may say")


def _environment(schema: Schema, derived: Mapping[str, DerivedAttribute]) -> Environment:
    """What expressions may name: the attributes of the schema, the derived ones, the moment, and the history."""
    roots = {}
    for root in ("customer", "context"):
        prefix = f"{root}."
        names = {
            path.removeprefix(prefix): schema.type_of(path) for path in schema.attributes if path.startswith(prefix)
        }
        roots[root] = object_of(names, name=root)
    roots["derived"] = object_of({each.short_name: each.type for each in derived.values()}, name="derived")
    history = object_of({}, name="history")  # answers its methods and nothing else
    return Environment({**roots, "now": TIMESTAMP, "channel": STRING, "history": history}, _HISTORY_METHODS)


def _offset(piece: Piece, line: int, column: int) -> int:
    """The offset in the whole text of a position in one of its expressions."""
    lines = piece.text.split("\n")[: line - 1]
    return max(piece.offset + sum(len(each) + 1 for each in lines) + column - 1, 0)  # a table puts text in front


def _read(tree: Node, keys: Collection[str] | None) -> _Reading:
    reads_at: dict[str, Position] = {}
    faults: list[RuleFault] = []
    scoped: list[Position] = []
    keyed: list[Position] = []
    for node, _ in walk(tree):
        match node:
            case Select(Ident(root), name) | Has(Ident(root), name) | Index(Ident(root), Literal(str() as name)):
                path = f"{root}.{name}"
                reads_at[path] = min(node.at, reads_at.get(path, node.at))
            case Call(_, Ident("history"), arguments):
                faults.extend(_argument_faults(arguments, keys))
                for scope in arguments[1:2]:
                    if isinstance(scope, Literal) and isinstance(scope.value, str):
                        word, colon, _ = scope.value.partition(":")
                        if word in KEY_DEPTH:
                            (keyed if colon else scoped).append(scope.at)
    return _Reading(tree, reads_at, tuple(faults), min(scoped, default=None), min(keyed, default=None))


def _argument_faults(arguments: tuple[Node, ...], keys: Collection[str] | None) -> Iterator[RuleFault]:
    """Outcome and scope have to be known words, written as such: anything else would count nothing, quietly."""
    for argument, kind, words in zip(
        arguments, ("response outcome", "scope"), (REMEMBERED_OUTCOMES, SCOPES), strict=False
    ):
        if not isinstance(argument, Literal) or not isinstance(argument.value, str):
            yield RuleFault(f"the {kind} has to be a text in quotes. Known: {', '.join(words)}", *argument.at)
            continue
        word, colon, key = argument.value.partition(":")
        if words is SCOPES and colon and word in KEY_DEPTH:
            alike = [each for each in keys or () if each.count("/") + 1 == KEY_DEPTH[word]]
            if keys is not None and key not in alike:
                yield RuleFault(f"unknown {word} {key!r}. {known(key, alike)}", *argument.at)
        elif argument.value not in words:
            yield RuleFault(f"unknown {kind} {argument.value!r}. {known(argument.value, words)}", *argument.at)


def _in_scope_of(owner: Owner, node: Node) -> Node:
    match node:
        case Call(_, Ident("history"), (_, Literal(str() as word) as scope, *_)):
            arguments = (node.arguments[0], replace(scope, value=owner.scope(word)), *node.arguments[2:])
            return replace(node, arguments=arguments)
    return node


def as_written(program: Program) -> str:
    """The program's text with history's scopes as words again: what its author wrote, the same for every action."""

    def unscoped(node: Node) -> Node:
        match node:
            case Call(_, Ident("history"), (_, Literal(str() as scope) as literal, *_)):
                word = replace(literal, value=scope.partition(":")[0])
                return replace(node, arguments=(node.arguments[0], word, *node.arguments[2:]))
        return node

    return unparse(transform(program.node, unscoped))


def _is_contextual(tree: Node, program: Program, derived: Mapping[str, DerivedAttribute]) -> bool:
    if any(path.partition(".")[0] in _MOMENT for path in program.reads):
        return True
    if any(derived[path].reads_moment for path in program.reads & derived.keys()):
        return True
    return any(
        isinstance(node, Call) and node.target == Ident("history") and Literal("channel") in node.arguments[1:2]
        for node, _ in walk(tree)
    )
