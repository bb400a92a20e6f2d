"""Many predicates over many rows (actions), answered in one pass.

Rows share most of their predicates, so each distinct text is evaluated at most once per call, and its verdict is folded
into all rows that have it by one operation on a bit mask. What asks about one subject, most often an attribute, is not
even evaluated: the subject is read once and the rows it leaves are looked up, so that the work grows with attributes
and not with predicates. Two things are skipped altogether: what none of the rows asked for has, or only rows that have
been answered *no*, and what needs an absent attribute. The latter is most of the work for an anonymous visitor, and
raising an error for each would cost ten times the look-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rules.analysis import Attribute
from rules.closures import is_absent
from rules.compile import Program
from rules.errors import EvaluationError
from rules.lookups import Asked, Limits, Listed
from rules.loops import Evaluate
from rules.questions import Question, Subject
from rules.types import BOOL

_Left = tuple[int, int]  # the rows that are not answered no, and those that are unknown


class PredicateIndex:
    """Rows of predicates; a row holds when all its predicates do. All programs must be of one environment."""

    def __init__(self, rows: Sequence[Sequence[Program]]) -> None:
        """Raises ValueError for a program that is not of type bool."""
        self._rows = tuple(tuple(row) for row in rows)
        programs: dict[str, Program] = {}
        masks: Counter[str] = Counter()
        for position, row in enumerate(self._rows):
            for program in row:
                if program.type != BOOL:
                    raise ValueError(f"{program.text} is {program.type}; a predicate is checked to be bool")
                programs.setdefault(program.text, program)
                masks[program.text] |= 1 << position
        self._groups = _grouped([(programs[text], masks[text]) for text in sorted(masks)], (1 << len(self._rows)) - 1)

    def evaluate(self, activation: Mapping[str, Any], among: int) -> tuple[int, int]:
        """Bit masks of the rows answered no and of those that stay unknown, disjoint; the rest of `among` holds.

        among: the rows that are asked for. As in `&&`, one no outweighs any unknown.
        """
        # Rows are kept as those still left, because `& ~mask` on a long Python int costs three times as much as `&`.
        left, unknown = among, 0
        for group in self._groups:
            if group.rows & left:
                left, unknown = group.ask(activation, left, unknown)
        return among ^ left, unknown & left

    def predicates(self, row: int) -> tuple[Program, ...]:
        """The predicates of a row in their given order, for explanations."""
        return self._rows[row]


class _Asking:
    """Questions about one subject, which is read once for all of them."""

    __slots__ = ("_left", "_needs", "_read", "_strict", "_without", "rows")

    def __init__(self, subject: Subject, asked: Asked, every_row: int) -> None:
        self._read = subject.read
        self._needs = min(subject.needs, default=None)
        self._left = Listed(asked, every_row).left if subject.lists else Limits(asked, every_row).left
        self._without: Evaluate | None = None
        self._strict = 0  # the rows with a question that does not hold without what it needs
        self.rows = 0
        for question, rows in asked:
            self.rows |= rows
            if question.without is None:
                self._strict |= rows
            else:
                self._without = question.without

    def ask(self, activation: Mapping[str, Any], left: int, unknown: int) -> _Left:
        if self._needs is not None and is_absent(activation, self._needs):
            return left, unknown | self._strict
        try:
            value = self._read(activation)
        except EvaluationError:
            return left, unknown | (self._strict if self._does_without(activation) else self.rows)
        return self._left(value, left, unknown)

    def _does_without(self, activation: Mapping[str, Any]) -> bool:
        try:
            return self._without is not None and self._without(activation) is True
        except EvaluationError:
            return False


class _Evaluating:
    """Predicates that take more than a look-up, such as two attributes: only those with a row that is still left."""

    __slots__ = ("_need", "_predicates", "rows")

    def __init__(self, need: Attribute | None, predicates: Sequence[tuple[Program, int]], every_row: int) -> None:
        self._need = need  # the attribute without which all of them are unknown, if there is one
        ordered = sorted(predicates, key=lambda each: -each[1].bit_count())
        self._predicates: list[tuple[Callable[[Any], bool], int, int]] = [
            (program.evaluate, rows, every_row ^ rows) for program, rows in ordered
        ]
        self.rows = 0
        for _, rows in predicates:
            self.rows |= rows

    def ask(self, activation: Mapping[str, Any], left: int, unknown: int) -> _Left:
        if self._need is not None and is_absent(activation, self._need):
            return left, unknown | self.rows
        for holds, rows, others in self._predicates:
            if rows & left:
                try:
                    if not holds(activation):
                        left &= others
                except EvaluationError:
                    unknown |= rows
        return left, unknown


def _grouped(predicates: Iterable[tuple[Program, int]], every_row: int) -> list[_Asking | _Evaluating]:
    """Groups asked together, those of many rows first: a no there saves the most work behind it."""
    asked: dict[Subject, list[tuple[Question, int]]] = {}
    others: dict[Attribute | None, list[tuple[Program, int]]] = {}
    wanted: dict[tuple[Subject, str | None], int] = {}  # the rows that want a key to be listed, and under None any key
    for program, rows in predicates:
        question = program.question
        if question is None or _wants_a_second_key(question, rows, wanted):
            others.setdefault(min(program.needs, default=None), []).append((program, rows))
        else:
            asked.setdefault(question.subject, []).append((question, rows))
    groups: list[_Asking | _Evaluating] = [_Asking(*each, every_row) for each in asked.items()]
    groups += [_Evaluating(*each, every_row) for each in others.items()]
    return sorted(groups, key=lambda group: -group.rows.bit_count())


def _wants_a_second_key(question: Question, rows: int, wanted: dict[tuple[Subject, str | None], int]) -> bool:
    """Whether a row wants more keys to be listed than one, which a `Listed` cannot tell apart from any of them."""
    subject, key = question.subject, question.key
    if not subject.lists or question.holds(subject.unlisted, question.constants):
        return False
    any_key, own = wanted.get((subject, None), 0), wanted.get((subject, key), 0)
    if rows & (any_key ^ own):
        return True
    wanted[subject, None], wanted[subject, key] = any_key | rows, own | rows
    return False
