"""Overlaps and gaps of decision tables: rows that never win, rows that compete, and cases no row speaks of.

Every row is a box: for each subject (an attribute, the channel, ...) the values it lets through, out of the few that
the table's constants tell apart. Taking boxes away from a box leaves boxes, so all verdicts are exact. A table with a
condition that satisfiability.py cannot follow is left alone, and so is one that takes too many steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from decisioning.catalog.faults import Fault, Faults
from decisioning.catalog.satisfiability import MISSING, Question, Satisfiability, Subject, values_of
from decisioning.catalog.tables import ANY, TableDraft
from rules import Literal, Timestamp, unparse

STEPS_MAX = 100_000  # questions asked and boxes compared per table, about a tenth of a second

NEVER_WAY_OUT = "Its cells contradict the schema or each other: change one"

Box = tuple[int, ...]  # for each subject the values that are let through, as a bit mask over its values


class _TooLong(Exception):
    """The table has more cases than are worth following."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One row: where it holds, and where it is at least not answered no."""

    holds: Box
    may_hold: Box


def table_warnings(drafts: Iterable[TableDraft], analysis: Satisfiability) -> tuple[Fault, ...]:
    """Everything suspicious in the tables of a strategy without faults, by place."""
    found = Faults()
    for draft in drafts:
        questions = [[analysis.question(clause.node) for cell in row for clause in cell.clauses] for row in draft.cells]
        known = [[each for each in row if each is not None] for row in questions]
        if known == questions:
            _Review(draft, known, found).run()
    return tuple(found.sorted())


class _Review:
    """The review of one table; questions are those of its clauses, by row."""

    def __init__(self, draft: TableDraft, questions: Sequence[Sequence[Question]], found: Faults) -> None:
        self._draft = draft
        self._found = found
        self._steps = 0
        self._subjects = {each.subject.text: each.subject for row in questions for each in row}
        self._values = {text: _tried(subject, questions) for text, subject in self._subjects.items()}
        self._questions = questions
        self._lines: list[_Line] = []

    def run(self) -> None:
        """Note what is suspicious; what takes too long to find out is left."""
        try:
            self._lines = [self._line(row) for row in self._questions]
            if self._draft.all_hits:
                self._check_copies()
            else:
                self._check_rows()
                self._check_gaps()
        except _TooLong:
            return

    def _line(self, row: Sequence[Question]) -> _Line:
        self._steps += len(row) * sum(map(len, self._values.values()))
        if self._steps > STEPS_MAX:
            raise _TooLong
        verdicts = [
            [[each.answer(value) for each in row if each.subject.text == text] for value in values]
            for text, values in self._values.items()
        ]
        return _Line(
            tuple(_mask(all(said) for said in values) for values in verdicts),
            tuple(_mask(False not in said for said in values) for values in verdicts),
        )

    def _check_rows(self) -> None:
        above: list[Box] = []
        for position, line in enumerate(self._lines):
            if not all(line.holds):
                self._note(position, "this row never holds", NEVER_WAY_OUT)
            elif self._left(line.holds, above) is None:
                self._note(position, "this row never wins: the rows above leave it nothing", "Move it up, or remove it")
            else:
                self._check_rivals(position, above)
            above.append(line.may_hold)

    def _check_rivals(self, position: int, above: Sequence[Box]) -> None:
        """Note where the order alone decides between this row and one above of which it is no general case."""
        line, rows = self._lines[position], self._draft.table.rows if self._draft.table else ()
        for other, rival in enumerate(self._lines[:position]):
            both = tuple(a & b for a, b in zip(line.holds, rival.holds, strict=True))
            is_general = both == rival.holds
            if rows[other].result == rows[position].result or is_general or not all(both):
                continue
            met = self._left(both, above[:other])
            if met is not None:
                way_out = "The upper one wins: write the case out above them, or make one exclude it"
                self._note(
                    position, f"this row and that of line {self._place(other).line} meet {self._case(met)}", way_out
                )

    def _check_gaps(self) -> None:
        everything = tuple((1 << len(values)) - 1 for values in self._values.values())
        gap = self._left(everything, [line.may_hold for line in self._lines])
        if gap is not None:
            place, way_out = self._draft.heading, f'Add a row, or a last one with "{ANY}" in every column'
            self._found.add(place, f"no row speaks {self._case(gap)}", way_out)

    def _check_copies(self) -> None:
        first: dict[Box, int] = {}
        for position, line in enumerate(self._lines):
            if not all(line.holds):
                self._note(position, "this row never holds", NEVER_WAY_OUT)
            elif (earlier := first.setdefault(line.holds, position)) != position:
                message = f"this row holds exactly where that of line {self._place(earlier).line} does"
                self._note(position, message, "Both count: write them as one")

    def _left(self, box: Box, others: Sequence[Box]) -> Box | None:
        """Some part of a box that none of the others covers; None when nothing is left."""
        waiting = [(box, 0)]  # parts, and the first of the others that may still cover some of them
        while waiting:
            part, start = waiting.pop()
            for position in range(start, len(others)):
                self._steps += 1
                if self._steps > STEPS_MAX:
                    raise _TooLong
                if all(a & b for a, b in zip(part, others[position], strict=True)):
                    waiting += [(outside, position + 1) for outside in _without(part, others[position])]
                    break
            else:
                return part
        return None

    def _case(self, box: Box) -> str:
        """An example of a box, in words."""
        said = []
        for (text, values), mask in zip(self._values.items(), box, strict=True):
            met = [value for position, value in enumerate(values) if mask >> position & 1]
            if len(met) < len(values):  # else it does not matter
                said.append(_said(text, met))
        return f"where {' and '.join(said)}" if said else "at all"

    def _place(self, position: int) -> Any:
        return self._draft.cells[position][0].place

    def _note(self, position: int, message: str, way_out: str) -> None:
        self._found.add(self._place(position), message, way_out)


def _tried(subject: Subject, questions: Sequence[Sequence[Question]]) -> list[Any]:
    """One value of every kind that the table tells apart."""
    marks = [mark for row in questions for each in row if each.subject.text == subject.text for mark in each.marks]
    return list(values_of(subject, marks))


def _without(box: Box, other: Box) -> Iterator[Box]:
    """What the other leaves of a box, as boxes that do not overlap."""
    for at, (mine, theirs) in enumerate(zip(box, other, strict=True)):
        if mine & ~theirs:
            yield (*box[:at], mine & ~theirs, *box[at + 1 :])
        box = (*box[:at], mine & theirs, *box[at + 1 :])


def _mask(flags: Iterable[bool]) -> int:
    return sum(1 << position for position, flag in enumerate(flags) if flag)


def _said(text: str, values: Sequence[Any]) -> str:
    """One of the values, a plain one where there is a choice."""
    known = [value for value in values if value is not MISSING]
    if not known:
        return f"{text} is missing"
    value = min(known, key=abs) if all(isinstance(each, int | float) for each in known) else known[0]
    return f"{text} is {value if isinstance(value, Timestamp) else unparse(Literal(value))}"
