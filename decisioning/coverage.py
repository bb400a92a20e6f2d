"""Coverage: how much of a strategy its personas put to the test.

A predicate is flipped when some persona sees it true and another sees it false or unknown; one that is never flipped
could be mistyped and no persona would tell. A predicate that many actions share counts once, as its author wrote it. A
row of a decision table counts as one predicate: being the row that decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from decisioning.catalog.decision_table import DecisionTable, Row
from decisioning.catalog.expressions import as_written
from decisioning.catalog.strategy import Strategy
from decisioning.personas import moment_with
from rules import EvaluationError, Program


@dataclass(frozen=True, slots=True)
class Unflipped:
    """A predicate that only ever came out one way, or a row that nobody hit."""

    where: str  # file:line:column of the rule it is first met in
    text: str
    missing: str  # the verdict that no persona sees: true or false

    def __str__(self) -> str:
        return f"{self.where}: no persona sees this {self.missing}: {self.text}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the personas of a strategy leave untested."""

    predicate_count: int  # rows of tables included
    unflipped: tuple[Unflipped, ...]

    @property
    def share(self) -> float:
        """Flipped predicates among all distinct ones; 1 where there are none."""
        flipped_count = self.predicate_count - len(self.unflipped)
        return flipped_count / self.predicate_count if self.predicate_count else 1.0


@dataclass(slots=True)
class _Seen:
    """One predicate or row: where it stands first, and the verdicts so far."""

    where: str
    text: str
    programs: dict[str, Program] = field(default_factory=dict)  # what a predicate means for each of its actions
    true: bool = False
    false: bool = False


def coverage(strategy: Strategy, *, now_ms: int) -> Coverage:
    """Meet every persona with every predicate, and with every table: of a row it is enough that somebody hits it."""
    predicates = _predicates(strategy)
    rows = {row.where: _Seen(row.where, _text(row), false=True) for table in strategy.tables for row in table.rows}
    for persona in strategy.personas:
        activation = moment_with(persona, strategy, now_ms=now_ms).activation
        for predicate in predicates.values():
            verdicts = {_holds(program, activation) for program in predicate.programs.values()}
            predicate.true |= True in verdicts
            predicate.false |= False in verdicts
        for row in _rows_hit(strategy.tables, activation):
            rows[row.where].true = True
    seen = [*predicates.values(), *rows.values()]
    unflipped = [
        Unflipped(each.where, each.text, "false" if each.true else "true")
        for each in seen
        if not (each.true and each.false)
    ]
    return Coverage(len(seen), tuple(sorted(unflipped, key=_place)))


def _predicates(strategy: Strategy) -> dict[str, _Seen]:
    """The conditions of rules and context weights, by what their authors wrote."""
    found: dict[str, _Seen] = {}
    rules = [rule for gate in strategy.gates for rules in gate.rules for rule in rules]
    programs = [(rule.where, clause) for rule in rules for clause in rule.clauses]
    programs += [(weight.where, weight.when) for weight in strategy.context_weights]
    for where, program in programs:
        text = as_written(program)
        found.setdefault(text, _Seen(where, text)).programs[program.text] = program
    return found


def _text(row: Row) -> str:
    return "the row " + (" && ".join(clause.text for clause in row.clauses) or "for all others")


def _rows_hit(tables: Iterable[DecisionTable], activation: Mapping[str, Any]) -> Iterator[Row]:
    for table in tables:
        try:
            hits = table.hits(activation)
        except EvaluationError:
            continue
        yield from (row for position, row in enumerate(table.rows) if hits >> position & 1)


def _place(each: Unflipped) -> tuple[str, int, int]:
    file, line, column = each.where.rsplit(":", 2)
    return file, int(line), int(column)


def _holds(program: Program, activation: Mapping[str, Any]) -> bool:
    try:
        return program(activation) is True
    except EvaluationError:
        return False
