"""Many predicates over many rows (actions), answered in one pass.

Rows share most of their predicates, so each distinct text is evaluated at most once per call, and its verdict is folded
into all rows that have it by one operation on a bit mask. What asks about one topic, most often an attribute, is not
even evaluated: the topic is read once and the rows it leaves are looked up, so that the work grows with attributes
and not with predicates. An `||` about a key, of which every action may have one of its own, is divided into sides that
are looked up. Two things are skipped altogether: what none of the rows asked for has, or only rows that have been
answered *no*, and what needs an absent attribute. The latter is most of the work for an anonymous visitor, and raising
an error for each would cost ten times the look-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rules.analysis import Attribute
from rules.asking import Evaluated, Group, LookedUp, LookedUpAttributes
from rules.compile import Program
from rules.errors import EvaluationError
from rules.questions import Question, Topic
from rules.types import BOOL


class PredicateIndex:
    """Rows of predicates; a row holds when all its predicates do. All programs must be of one environment."""

    def __init__(self, rows: Sequence[Sequence[Program]]) -> None:
        """Raises ValueError for a program that is not of type bool."""
        self._rows = [tuple(program.evaluate for program in row) for row in rows]
        programs: dict[str, Program] = {}
        masks: Counter[str] = Counter()
        layers: list[dict[int, Program]] = []  # a row's first `||` about a key, its second, and so on
        for position, row in enumerate(rows):
            for program in row:
                if program.type != BOOL:
                    raise ValueError(f"{program.text} is {program.type}; a predicate is checked to be bool")
                if not program.alternatives:
                    programs.setdefault(program.text, program)
                    masks[program.text] |= 1 << position
            divided = [program for program in row if program.alternatives]
            layers += [{} for _ in divided[len(layers) :]]
            for layer, program in zip(layers, divided, strict=False):
                layer[position] = program
        self._groups = _grouped([(programs[text], masks[text]) for text in sorted(masks)], (1 << len(rows)) - 1)
        self._groups += [Either(layer) for layer in layers]

    def evaluate(self, activation: Mapping[str, Any], among: int) -> tuple[int, int]:
        """Bit masks of the rows answered no and of those that stay unknown, disjoint; the rest of `among` holds.

        among: the rows that are asked for. As in `&&`, one no outweighs any unknown.
        """
        if not among & among - 1:
            return self._asked_alone(activation, among)
        left, unknown = among, 0
        for group in self._groups:
            if group.rows & left:
                left, unknown = group.ask(activation, left, unknown)
        return among ^ left, unknown & left

    def _asked_alone(self, activation: Mapping[str, Any], row: int) -> tuple[int, int]:
        """The same for one row or none: its predicates take half as long as look-ups that answer for all rows."""
        unknown = 0
        for holds in self._rows[row.bit_length() - 1] if row else ():
            try:
                if not holds(activation):
                    return row, 0
            except EvaluationError:
                unknown = row
        return 0, unknown


class StagedIndex:
    """Rows that have to pass stages, one after the other, each with predicates of its own.

    Stages ask about the same attributes, so about many rows all are asked together, and each attribute is read once.
    One row alone is asked stage by stage.
    """

    def __init__(self, stages: Sequence[Sequence[Sequence[Program]]]) -> None:
        """stages: the rows of each stage, all in one order. Raises ValueError as PredicateIndex does."""
        count = len(stages[0])
        self._index = PredicateIndex([row for rows in stages for row in rows])
        self._shifts = tuple(count * nth for nth in range(len(stages)))  # where the rows of each begin
        self._in_every_stage = sum(1 << shift for shift in self._shifts)

    def evaluate(self, activation: Mapping[str, Any], among: int) -> Iterator[tuple[int, int]]:
        """For each stage the rows answered no and those unknown, of the rows that all stages before let pass."""
        is_alone = not among & among - 1
        together = None if is_alone else self._index.evaluate(activation, among * self._in_every_stage)
        for shift in self._shifts:
            no, unknown = together or self._index.evaluate(activation, among << shift)
            out = no >> shift & among, unknown >> shift & among
            among ^= out[0] | out[1]
            yield out


class Either:
    """One predicate `… || …` of each of its rows, divided into sides: a side is an index of what the rows have there,
    and is asked about the rows that no side before it lets hold.
    """

    __slots__ = ("_sides", "rows")

    def __init__(self, predicates: Mapping[int, Program]) -> None:
        self.rows = sum(1 << row for row in predicates)
        count = max(len(program.alternatives) for program in predicates.values())
        self._sides = [_side(predicates, nth) for nth in range(count)]

    def ask(self, activation: Mapping[str, Any], left: int, unknown: int) -> tuple[int, int]:
        open_rows = left & self.rows
        doubtful = 0
        for side in self._sides:
            no, not_known = side.evaluate(activation, open_rows)
            doubtful |= not_known
            open_rows = no | not_known
        return left ^ (open_rows & ~doubtful), unknown | open_rows & doubtful


def _side(predicates: Mapping[int, Program], nth: int) -> PredicateIndex:
    """The nth operand of each row's predicate, its last where it has fewer: asking that again changes nothing."""
    rows: list[tuple[Program, ...]] = [()] * (max(predicates) + 1)
    for row, program in predicates.items():
        rows[row] = program.alternatives[min(nth, len(program.alternatives) - 1)]
    return PredicateIndex(rows)


def _grouped(predicates: Iterable[tuple[Program, int]], every_row: int) -> list[Group]:
    """Groups asked together, those of many rows first."""
    asked: dict[Topic, list[tuple[Question, int]]] = {}
    evaluated: dict[Attribute | None, list[tuple[Program, int]]] = {}
    wanted: dict[tuple[Topic, str | None], int] = {}  # the rows that want a key to be listed, and under None any key
    for program, rows in predicates:
        question = program.question
        if question is None or _wants_a_second_key(question, rows, wanted):
            evaluated.setdefault(min(program.needs, default=None), []).append((program, rows))
        else:
            asked.setdefault(question.topic, []).append((question, rows))
    groups: list[Group] = [Evaluated(*each, every_row) for each in evaluated.items()]
    attributes: dict[str, list[LookedUp]] = {}
    for topic, questions in asked.items():
        group = LookedUp(topic, questions, every_row)
        if topic.attribute is None:
            groups.append(group)
        else:
            attributes.setdefault(topic.attribute[0], []).append(group)
    groups += [LookedUpAttributes(*each) for each in attributes.items()]
    return sorted(groups, key=lambda group: -group.rows.bit_count())


def _wants_a_second_key(question: Question, rows: int, wanted: dict[tuple[Topic, str | None], int]) -> bool:
    """Whether a row wants more keys to be listed than one, which a `Listed` cannot tell apart from any of them."""
    topic, key = question.topic, question.key
    if not topic.lists or question.holds(topic.unlisted):
        return False
    any_key, own = wanted.get((topic, None), 0), wanted.get((topic, key), 0)
    if rows & (any_key ^ own):
        return True
    wanted[topic, None], wanted[topic, key] = any_key | rows, own | rows
    return False
