"""Satisfiability: which conditions no customer of a schema can ever meet.

A condition about one subject (an attribute, an answer of history, a size, the channel, the time) is compiled once more
with the subject as its only variable, and tried on one value of every kind that its constants tell apart. So the
verdict is the evaluator's own. Whatever reads several subjects, or computes with one, may be anything: nothing is said
of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from decisioning.catalog.schema import RULE_TYPES, Attribute, Schema
from rules import (
    BOOL,
    DOUBLE,
    INT,
    STRING,
    TIMESTAMP,
    Binary,
    Call,
    Environment,
    EvaluationError,
    Has,
    Ident,
    Index,
    ListOf,
    Literal,
    Loop,
    Node,
    Program,
    RuleFault,
    Select,
    Timestamp,
    Type,
    check,
    compile,
    object_of,
    unparse,
)
from rules.tree import children, walk, with_children

_IT = Select(Ident("it"), "value")  # what a subject is called in the compiled question
MISSING = object()  # stands for the value of a subject that has none
_EXACT_MAX = 2**53  # below it an int and a double compare as the numbers they are
_INT64 = 2**63
_NOTHING_DECLARED = Environment({}, {})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that a condition asks about, and what it can be."""

    text: str  # as in a rule
    type: Type
    low: Any = None
    high: Any = None
    words: frozenset[str] | None = None  # all it can be
    may_be_missing: bool = True

    @property
    def is_finite(self) -> bool:
        """True when all its values can be tried, so that a condition may compute with it."""
        return self.words is not None or self.type == BOOL


@dataclass(frozen=True, slots=True)
class Question:
    """A condition about one subject."""

    subject: Subject
    marks: tuple[Any, ...]  # the constants it compares with
    program: Program

    @property
    def verdicts(self) -> frozenset[bool | None]:
        """Every verdict that some value of the subject gives."""
        return frozenset(map(self.answer, values_of(self.subject, self.marks)))

    def answer(self, value: Any) -> bool | None:
        """The condition's verdict when the subject has this value; None is unknown."""
        try:
            return self.program({"it": {} if value is MISSING else {"value": value}}) is True
        except EvaluationError:
            return None


class Satisfiability:
    """Answers for one schema and its channels."""

    def __init__(self, schema: Schema, channels: Iterable[str]) -> None:
        self._moment = {
            "channel": Subject("channel", STRING, words=frozenset(channels), may_be_missing=False),
            "now": Subject("now", TIMESTAMP, may_be_missing=False),
        }
        self._attributes = {path: _subject_of(each) for path, each in schema.attributes.items()}
        self._questions: dict[str, Question | None] = {}
        self._programs: dict[tuple[str, Type], Program] = {}  # many subjects are asked the same

    def question(self, node: Node) -> Question | None:
        """The condition as a question about its one subject; None when nothing can be said of it."""
        text = unparse(node)
        if text not in self._questions:
            self._questions[text] = self._read(node)
        return self._questions[text]

    def _read(self, node: Node) -> Question | None:
        # A loop may give its variable the name of a subject; what it does with a list is not followed anyway.
        if any(isinstance(part, Loop) for part, _ in walk(node)):
            return None
        found: dict[str, Subject] = {}
        tree = self._about_it(node, found)
        if len(found) != 1:
            return None
        (subject,) = found.values()
        marks: list[Any] = []
        if not subject.is_finite and not _is_plain(tree, subject, marks):
            return None
        try:
            return Question(subject, tuple(marks), self._program(tree, subject.type))
        except RuleFault:  # it asks about something else as well, or is no condition
            return None

    def _program(self, tree: Node, kind: Type) -> Program:
        key = unparse(tree), kind
        if key not in self._programs:
            declared = Environment({"it": object_of({"value": kind}, name="it")}, {})
            self._programs[key] = compile(check(tree, declared, BOOL))
        return self._programs[key]

    def _about_it(self, node: Node, found: dict[str, Subject]) -> Node:
        """The condition with its subjects replaced; those are noted."""
        subject = self._subject_at(node)
        if subject is not None:
            found[subject.text] = subject
            return Has(_IT.operand, _IT.field) if isinstance(node, Has) else _IT
        parts = children(node)
        return with_children(node, tuple(self._about_it(part, found) for part in parts)) if parts else node

    def _subject_at(self, node: Node) -> Subject | None:
        match node:
            case Select(Ident(root), name) | Has(Ident(root), name) | Index(Ident(root), Literal(str() as name)):
                return self._attributes.get(f"{root}.{name}")
            case Ident(name):
                return self._moment.get(name)
            case Call("size", None, (part,)) | Call("size", Node() as part, ()):
                whole = self._subject_at(part)
                if whole is not None and not whole.is_finite and not isinstance(part, Has):
                    return Subject(f"size({whole.text})", INT, low=0)
            case Call(method, Ident("history")) if method in _ANSWERS:
                return replace(_ANSWERS[method], text=unparse(node))
        return None


_ANSWERS = {
    "count": Subject("", INT, low=0),
    "days_since": Subject("", DOUBLE),
    "last": Subject("", TIMESTAMP),
}


def _subject_of(attribute: Attribute) -> Subject:
    """What an attribute's quality rules let it be; the words of a list say nothing about the list."""
    kind = RULE_TYPES[attribute.type]
    return Subject(attribute.name, kind, attribute.min, attribute.max, attribute.enum if kind == STRING else None)


def meeting_all(questions: Sequence[Question], subject: Subject) -> list[Any]:
    """Values of the subject, one of each kind, for which all these conditions about it hold; none: they never do."""
    values = values_of(subject, [mark for question in questions for mark in question.marks])
    return [value for value in values if all(question.answer(value) for question in questions)]


def _is_plain(node: Node, subject: Subject, marks: list[Any]) -> bool:
    """Whether the subject is only ever compared with constants; those are noted. Then the constants divide all its
    values into stretches, and within one no condition changes its verdict.
    """
    match node:
        case Has():
            return True
        case Binary("in", left, ListOf(elements)) if left == _IT:
            return all(_note(element, subject, marks) for element in elements)
        case Binary(operator, left, right) if operator in _COMPARISONS and _IT in (left, right):
            # Between two texts lie endlessly many others, whose order is not worth following.
            has_order = subject.type != STRING or operator in ("==", "!=")
            return has_order and _note(right if left == _IT else left, subject, marks)
    return node != _IT and all(_is_plain(part, subject, marks) for part in children(node))


def _note(node: Node, subject: Subject, marks: list[Any]) -> bool:
    """Note the constant that a subject is compared with; False when it is none, or not comparable without rounding."""
    try:
        value = node.value if isinstance(node, Literal) else compile(check(node, _NOTHING_DECLARED, None))({})
    except (RuleFault, EvaluationError):
        return False
    marks.append(value)
    if subject.type in (INT, DOUBLE):
        is_exact = type(value) is int and subject.type == INT
        return isinstance(value, int | float) and (is_exact or abs(value) < _EXACT_MAX)
    return (subject.type == STRING and isinstance(value, str)) or (
        subject.type == TIMESTAMP and isinstance(value, Timestamp)
    )


def values_of(subject: Subject, marks: Sequence[Any]) -> Iterator[Any]:
    """One value of every kind that the marks (constants) tell apart; MISSING among them where it can be."""
    if subject.may_be_missing:
        yield MISSING
    if subject.words is not None:
        yield from sorted(subject.words)
    elif subject.type == BOOL:
        yield from (True, False)
    elif subject.type == STRING:
        yield from {*marks, "".join(marks) + "?"}  # the last one is longer than, so unlike, each of them
    elif subject.type == INT:
        yield from _whole_numbers(subject.low, subject.high, marks)
    elif subject.type == DOUBLE:
        yield from _numbers(subject.low, subject.high, marks)
    elif subject.type == TIMESTAMP:
        yield from _moments(subject.low, subject.high, marks)
    else:
        yield []  # a list, of which no more is asked than whether it is there


def _whole_numbers(low: float | None, high: float | None, marks: Sequence[float]) -> Iterator[int]:
    least = -_INT64 if low is None else max(-_INT64, math.ceil(low))
    most = _INT64 - 1 if high is None else min(_INT64 - 1, math.floor(high))
    near = {point for mark in marks for edge in (math.floor(mark), math.ceil(mark)) for point in _around(edge)}
    yield from (point for point in sorted(near | {least, most}) if least <= point <= most)


def _numbers(low: float | None, high: float | None, marks: Sequence[float]) -> Iterator[float]:
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    edges = sorted({float(mark) for mark in marks} | {float(edge) for edge in (low, high) if edge is not None})
    edges = edges or [0.0]
    between = [left / 2 + right / 2 for left, right in pairwise(edges)]
    outside = [edges[0] - abs(edges[0]) - 1.0, edges[-1] + abs(edges[-1]) + 1.0]
    yield from (point for point in [*edges, *between, *outside] if least <= point <= most and math.isfinite(point))


def _moments(low: Timestamp | None, high: Timestamp | None, marks: Sequence[Timestamp]) -> Iterator[Timestamp]:
    edges = [edge for edge in (*marks, low, high) if edge is not None] or [Timestamp(0)]
    for nanos in sorted({point for edge in edges for point in _around(edge.nanos)}):
        try:
            moment = Timestamp(nanos)
        except EvaluationError:  # beside the first or the last moment of all
            continue
        if (low is None or low <= moment) and (high is None or moment <= high):
            yield moment


def _around(point: int) -> tuple[int, int, int]:
    return point - 1, point, point + 1
