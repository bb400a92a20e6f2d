"""Warnings: what loads and runs, but cannot be what its author meant.

Conditions that are never true or never false, wherever they stand; conditions of one action that contradict each other,
and those written twice. Only what satisfiability.py can prove is reported, so no warning is a false alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from decisioning.catalog.actions import Draft
from decisioning.catalog.expressions import Expressions
from decisioning.catalog.faults import Fault, Faults, known
from decisioning.catalog.gates import STAGES
from decisioning.catalog.satisfiability import Question, Satisfiability, Subject, meeting_all
from decisioning.catalog.strategy import Action
from decisioning.catalog.template import Insertion, Piece, TemplateError, split
from decisioning.catalog.yaml_text import Listing, Mapping, Scalar
from decisioning.catalog.yaml_text import Node as Place
from rules import Binary, ListOf, Literal, Logic, Loop, Node, Timestamp, Unary, conjuncts, unparse
from rules.tree import Position, children, walk


def warnings_of(
    drafts: Sequence[Draft], actions: Sequence[Action], expressions: Expressions, analysis: Satisfiability
) -> tuple[Fault, ...]:
    """Everything suspicious in the rules and context weights of a strategy without faults, by place."""
    found = Faults()
    examiner = _Examiner(expressions, analysis)
    for draft, action in zip(drafts, actions, strict=True):
        _Review(action, draft, examiner, found).run()
    return tuple(found.sorted())


def warnings_within(
    formulas: Iterable[Scalar], contents: Iterable[Place], expressions: Expressions, analysis: Satisfiability
) -> tuple[Fault, ...]:
    """Every condition that always comes out the same in derived attributes and in the `{{ … }}` of contents."""
    found = Faults()
    examiner = _Examiner(expressions, analysis)
    written = [(each, Piece(each.value, 0)) for each in formulas]
    written += [(each, piece) for content in contents for each in _texts(content) for piece in _insertions(each)]
    for scalar, piece in written:
        for remark in examiner.remarks(piece.text):
            found.add(_place(scalar, remark.at, piece), remark.message, remark.way_out)
    return tuple(found.sorted())


def _texts(node: Place) -> Iterator[Scalar]:
    """The texts of a content that may hold expressions."""
    match node:
        case Mapping():
            yield from (text for each in node.entries.values() for text in _texts(each))
        case Listing():
            yield from (text for each in node.items for text in _texts(each))
        case Scalar(value=str() as text) if "{{" in text:
            yield node


def _insertions(node: Scalar) -> list[Piece]:
    try:
        return [part.expression for part in split(node.value) if isinstance(part, Insertion)]
    except TemplateError:  # of a strategy without faults: a text that is none of a template
        return []


class _Remark(NamedTuple):
    """What is wrong with a part of a condition, and where that part stands in the text."""

    at: Position
    message: str
    way_out: str


@dataclass(frozen=True, slots=True)
class _Condition:
    """One of the conditions that must all hold, whoever wrote it where."""

    node: Node
    text: str
    question: Question | None
    can_hold: bool
    remarks: tuple[_Remark, ...]

    @property
    def at(self) -> Position:
        """Where in its text it begins."""
        return _start(self.node)


class _Examiner:
    """Takes conditions apart; a text that many actions share is examined once."""

    def __init__(self, expressions: Expressions, analysis: Satisfiability) -> None:
        self._analysis = analysis
        self._expressions = expressions
        self._known: dict[str, tuple[_Condition, ...]] = {}
        self._remarked: dict[str, tuple[_Remark, ...]] = {}

    def conditions(self, text: str) -> tuple[_Condition, ...]:
        """What must hold for the text to be true."""
        found = self._known.get(text)
        if found is None:
            tree = self._expressions.tree(text)
            found = () if tree is None else tuple(map(self._condition, conjuncts(tree)))
            self._known[text] = found
        return found

    def remarks(self, text: str) -> tuple[_Remark, ...]:
        """What is wrong with the conditions in an expression of any type."""
        found = self._remarked.get(text)
        if found is None:
            tree = self._expressions.tree(text)
            found = self._remarked[text] = () if tree is None else tuple(self._remarks(tree))
        return found

    def _condition(self, node: Node) -> _Condition:
        question = self._analysis.question(node)
        can_hold = question is None or True in question.verdicts
        return _Condition(node, unparse(node), question, can_hold, tuple(self._remarks(node)))

    def _remarks(self, node: Node) -> Iterator[_Remark]:
        """What is wrong with the parts of a condition, or with the whole when every part may be right."""
        parts = () if isinstance(node, Loop) else _members(node) or children(node)
        inner = [remark for part in parts for remark in self._remarks(part)]
        if inner or not isinstance(node, Binary | Logic | Unary):
            yield from inner
            return
        question = self._analysis.question(node)
        verdicts = frozenset((True, False)) if question is None else question.verdicts
        if question is None or {True, False} <= verdicts:
            return
        verdict = "true" if True not in verdicts else "false"
        yield _Remark(_blamed(node), f"{unparse(node)} is never {verdict}", _way_out(node, question.subject))


def _members(node: Node) -> tuple[Node, ...]:
    """The comparisons that a search in a written list stands for."""
    match node:
        case Binary("in", left, ListOf(elements)):
            return tuple(Binary("==", left, element, at=element.at) for element in elements)
    return ()


def _blamed(node: Node) -> Position:
    """The constant of a comparison, which is what most often is mistaken; else where the condition begins."""
    match node:
        case Binary(_, _, Literal() as constant) | Binary(_, Literal() as constant, _):
            return constant.at
    return _start(node)


def _start(node: Node) -> Position:
    return min(part.at for part, _ in walk(node))


def _way_out(node: Node, subject: Subject) -> str:
    match node:
        case Binary(_, _, Literal(str() as word)) | Binary(_, Literal(str() as word), _) if subject.words is not None:
            return known(word, subject.words)
    if subject.words is None and subject.low is None and subject.high is None:
        return "Write what was meant, or remove it"
    return f"{subject.text} is {_range(subject)}; write what was meant, or remove it"


def _range(subject: Subject) -> str:
    """What a subject can be, in words."""
    if subject.words is not None:
        return " or ".join(sorted(subject.words))
    if subject.low is None or subject.high is None:
        return f"at most {_said(subject.high)}" if subject.low is None else f"at least {_said(subject.low)}"
    return f"between {_said(subject.low)} and {_said(subject.high)}"


def _said(bound: Any) -> str:
    return str(bound) if isinstance(bound, Timestamp) else f"{bound:g}"


@dataclass(frozen=True, slots=True)
class _Written:
    """A condition as it stands in an action."""

    scalar: Scalar
    condition: _Condition

    @property
    def place(self) -> Place:
        return _place(self.scalar, self.condition.at)


def _place(scalar: Scalar, at: Position, piece: Piece | None = None) -> Place:
    """piece: the part of the text that `at` counts in, where it is not the whole."""
    text, start = (scalar.value, 0) if piece is None else (piece.text, piece.offset)
    lines = text.split("\n")[: at.line - 1]
    return scalar.at(start + sum(len(line) + 1 for line in lines) + at.column - 1)


@dataclass(frozen=True, slots=True)
class _Review:
    """The review of one action."""

    action: Action
    draft: Draft
    examiner: _Examiner
    found: Faults

    def run(self) -> None:
        """Note what is suspicious."""
        node = self.draft.node
        rules = self._written(scalar for stage in STAGES for scalar in node.scalars(stage))
        consequence = f"nobody ever gets {self.action.key}"
        self._check_each(rules, consequence)
        self._check_copies(rules)
        self._check_together(rules, consequence)
        for weight in node.mappings("context_weights"):
            when = self._written([weight.scalar("when")])
            self._check_each(when, "the weight never counts")
            self._check_together(when, "the weight never counts", beside=rules)

    def _written(self, scalars: Iterable[Scalar | None]) -> list[_Written]:
        return [_Written(each, part) for each in scalars if each for part in self.examiner.conditions(each.value)]

    def _check_each(self, conditions: Iterable[_Written], consequence: str) -> None:
        for written in conditions:
            end = "" if written.condition.can_hold else f", so {consequence}"
            for remark in written.condition.remarks:
                self.found.add(_place(written.scalar, remark.at), remark.message + end, remark.way_out)

    def _check_copies(self, rules: Iterable[_Written]) -> None:
        first: dict[str, _Written] = {}
        for written in rules:
            earlier = first.setdefault(written.condition.text, written)
            if earlier is not written:
                message = f"{written.condition.text} stands already at {earlier.place.where}"
                self.found.add(written.place, message, "Write it once")

    def _check_together(
        self, conditions: Sequence[_Written], consequence: str, beside: Sequence[_Written] = ()
    ) -> None:
        """Note each of the conditions that cannot hold together with those before it, or with those beside them."""
        before: dict[str, list[_Written]] = {}
        for written in (*beside, *conditions):
            condition = written.condition
            about = condition.question.subject.text if condition.question else _bare(condition.node)
            met = before.setdefault(about, [])
            if condition.can_hold:
                conflict = self._conflict(met, written)
                if conflict is None:
                    met.append(written)
                elif written in conditions:
                    self.found.add(written.place, f"{conflict}, so {consequence}", "Remove or change one of them")

    def _conflict(self, met: Sequence[_Written], written: _Written) -> str | None:
        """Why a condition cannot hold when others, about the same subject, do."""
        question, text = written.condition.question, written.condition.text
        if question is None:
            opposite = next((each for each in met if each.condition.text != text), None)
            return _contradiction(text, [opposite]) if opposite else None
        subject = _here(question.subject, self.action)
        others = [(each, each.condition.question) for each in met if each.condition.question]
        if not others and subject is question.subject:
            return None
        if meeting_all([*(other for _, other in others), question], subject):
            return None
        if not meeting_all([question], subject):
            return f"{text} is never true where this action is shown ({subject.text} is {_range(subject)})"
        alone = [each for each, other in others if not meeting_all([other, question], subject)]
        return _contradiction(text, alone[:1] or met)


def _contradiction(text: str, others: Sequence[_Written]) -> str:
    listed = " and ".join(f"{each.condition.text} at {each.place.where}" for each in others)
    return f"{text} contradicts {listed}"


def _bare(node: Node) -> str:
    """A condition without its negation: all that is known of the two is that they exclude each other."""
    return unparse(node.operand if isinstance(node, Unary) else node)


def _here(subject: Subject, action: Action) -> Subject:
    """The subject as it can be where the action is shown: in the channels of its treatments, between its dates."""
    if subject.text == "channel":
        channels = frozenset(channel for channel, each in action.treatments.items() if each.placements)
        return subject if channels == subject.words else replace(subject, words=channels)
    if subject.text == "now" and (action.start_ms is not None or action.end_ms is not None):
        low, high = (None if ms is None else Timestamp.from_ms(ms) for ms in (action.start_ms, action.end_ms))
        return replace(subject, low=low, high=high)
    return subject
