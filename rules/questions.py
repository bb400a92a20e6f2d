"""Questions: predicates read as a test of one topic, so that an index can answer many of them by one look.

`customer.age >= 18` asks where its topic, the attribute, stands beside a constant; all that is asked about one
topic is known once its place among all their constants is. Some topics are one of many that are read together:
`"fund" in customer.products` and `history.count("accepted", "action:grow/cards/gold", …) == 0` ask about one key of a
mapping that tells of all of them. What fits neither has no question and is evaluated as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rules.analysis import Attribute, attribute_of, needs_of
from rules.checked import CheckedNode, HostMethod, Variable
from rules.closures import host_method
from rules.comparisons import MIRRORED, is_plain, members_of
from rules.loops import Evaluate, Frame
from rules.operators import ORDER
from rules.tree import Binary, Has, Literal, Logic, Node, Unary
from rules.types import BOOL, DYN, Type
from rules.values import ORDERED, Value


@dataclass(frozen=True, slots=True)
class Topic:
    """What questions are about: a value, or a mapping of which each asks about one key. Equal ones are read once."""

    node: Node
    lists: bool  # it is read as a mapping
    unlisted: Value  # the answer for a key that the mapping does not list
    read: Evaluate = field(compare=False)
    needs: frozenset[Attribute] = field(compare=False)
    attribute: Attribute | None = field(default=None, compare=False)  # when it is one and no more
    type: Type = field(default=DYN, compare=False)


@dataclass(frozen=True, slots=True)
class Question:
    """A predicate as a test. It fails to be answered when its topic cannot be read."""

    topic: Topic
    key: str | None  # which key of a topic that lists
    operator: str  # <, <=, >, >= beside the one constant, or `in` them
    constants: tuple[Value, ...]
    negated: bool = False
    without: Evaluate | None = None  # !has(…) of the attribute it needs, when it holds without that attribute

    def holds(self, value: Value) -> bool:
        """The answer for a value of the topic's type."""
        among = self.constants
        holds = value in among if self.operator == "in" else ORDER[self.operator](value, among[0])
        return holds is not self.negated


@dataclass(frozen=True, slots=True)
class Built:
    """A closure, and what is known of it."""

    run: Evaluate
    constant: bool = False  # it gives the same value in every frame
    listed: tuple[Topic, str] | None = None  # the value is what this topic lists under this key
    question: Question | None = None

    @property
    def value(self) -> Value:
        return self.run({})


def listed_in(checked: CheckedNode, parts: Sequence[Built]) -> tuple[Topic, str] | None:
    """The topic that lists a node's value beside others, and its key there."""
    if isinstance(checked.reference, HostMethod):
        return _listed_by_host(checked, checked.reference, parts)
    if not isinstance(checked.node, Binary) or checked.node.operator != "in" or not parts[0].constant:
        return None
    container, element = checked.parts[1], parts[0].value
    if container.type.kind != "list" or not isinstance(element, str):
        return None
    run = parts[1].run

    def read(frame: Frame) -> dict[str, bool]:  # only text equals text
        return {each: True for each in run(frame) if isinstance(each, str)}

    return Topic(container.node, True, False, read, needs_of(container)), element


def _listed_by_host(checked: CheckedNode, method: HostMethod, parts: Sequence[Built]) -> tuple[Topic, str] | None:
    together = method.together
    if together is None or not all(part.constant for part in parts):
        return None
    arguments = [part.value for part in parts]
    kind, colon, key = arguments[together.argument].partition(":")
    if not colon:
        return None
    arguments[together.argument] = kind
    read = host_method(HostMethod(method.variable, together.method, DYN), (), arguments)
    written = [part.node for part in checked.parts]
    written[together.argument] = Literal(kind)
    node = replace(checked.node, function=together.method, arguments=tuple(written))  # type: ignore[call-arg]  # a call
    return Topic(node, True, together.unlisted, read, frozenset()), key


def question_of(checked: CheckedNode, parts: Sequence[Built], built: Built) -> Question | None:
    """The question a node asks, where it is one."""
    if checked.type != BOOL:
        return None
    if built.listed is not None:
        return Question(*built.listed, "in", (True,))
    if attribute_of(checked) is not None:
        return Question(_topic(checked, built), None, "in", (True,))
    match checked.node:
        case Unary("!") if parts[0].question is not None and parts[0].question.without is None:
            return replace(parts[0].question, negated=not parts[0].question.negated)
        case Logic("||") if len(parts) == 2:
            return _guarded(checked.parts, parts) or _guarded(checked.parts[::-1], parts[::-1])
        case Binary("in"):
            members = members_of(checked.parts[0].type, parts[1].value) if parts[1].constant else None
            return None if members is None else _asked(checked.parts[0], parts[0], "in", tuple(members))
        case Binary(symbol) if symbol in MIRRORED and parts[1].constant:
            return _compared(symbol, checked.parts, parts)
        case Binary(symbol) if symbol in MIRRORED and parts[0].constant:
            return _compared(MIRRORED[symbol], checked.parts[::-1], parts[::-1])
    return None


def _compared(symbol: str, sides: Sequence[CheckedNode], parts: Sequence[Built]) -> Question | None:
    constant = parts[1].value
    if not is_plain(sides[0].type, sides[1].type, constant) or constant != constant:
        return None
    question = _asked(sides[0], parts[0], symbol if symbol in ORDER else "in", (constant,))
    return replace(question, negated=True) if question is not None and symbol == "!=" else question


def _asked(checked: CheckedNode, built: Built, operator: str, constants: tuple[Value, ...]) -> Question | None:
    if built.constant or checked.type.kind not in ORDERED:
        return None
    topic, key = built.listed or (_topic(checked, built), None)
    return Question(topic, key, operator, constants)


def _topic(checked: CheckedNode, built: Built) -> Topic:
    return Topic(checked.node, False, None, built.run, needs_of(checked), attribute_of(checked), checked.type)


def _guarded(sides: Sequence[CheckedNode], parts: Sequence[Built]) -> Question | None:
    """`!has(customer.age) || …` where the rest asks about what needs that attribute and no other."""
    question = parts[1].question
    match sides[0]:
        case CheckedNode(Unary("!"), parts=(CheckedNode(Has(_, name), parts=(CheckedNode(reference=Variable(of)),)),)):
            if question is not None and question.without is None and question.topic.needs == {(of, name)}:
                return replace(question, without=parts[0].run)
    return None
