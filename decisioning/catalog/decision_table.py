"""Decision table: rows of conditions, each with a result; what a strategy's `tables/` become.

A table says no more than its rows would as rules, and with the same meaning of missing data: a row that meets a missing
attribute is unknown, and so is the whole answer, unless a row above it, or one cell of it, has decided already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rules import EvaluationError, PredicateIndex, Program

FACTORS = ("lever", "context_weight")
FACTOR_MAX = 1e12  # what levers or weights together may come to


@dataclass(frozen=True, slots=True)
class Row:
    """One row as compiled: it holds when all its clauses do."""

    where: str  # file:line:column
    clauses: tuple[Program, ...]  # shared with every rule of the same text
    result: Any


@dataclass(frozen=True, slots=True)
class DecisionTable:
    """Rows in their written order, and what their results are for."""

    where: str  # file:line:column
    gives: str  # lever, value, context_weight, or the derived attribute by its path
    mask: int  # the actions it speaks of; none when it gives a derived attribute
    all_hits: bool  # every row that holds counts; else the first one does
    rows: tuple[Row, ...]
    index: PredicateIndex
    reads: frozenset[str]

    def hits(self, activation: Mapping[str, Any]) -> int:
        """The rows that decide, as a bit mask. Raises EvaluationError when that is unknown."""
        every_row = (1 << len(self.rows)) - 1
        no, unknown = self.index.evaluate(activation, every_row)
        left = every_row ^ no
        if not self.all_hits:
            left &= -left  # the first row that is not answered no: it decides, or keeps the others from deciding
        if left & unknown:
            row = self.rows[(left & unknown).bit_length() - 1]
            raise EvaluationError(f"the row {row.where} meets a missing attribute")
        return left

    def answer(self, activation: Mapping[str, Any]) -> Any:
        """What the deciding rows give together: factors multiply, other numbers add; one row gives its result.

        None when no row holds. Raises EvaluationError when a deciding row is unknown.
        """
        hits = self.hits(activation)
        results = [row.result for position, row in enumerate(self.rows) if hits >> position & 1]
        if len(results) <= 1:
            return results[0] if results else None
        return _product(results) if self.gives in FACTORS else sum(results)

    def attribute_value(self, activation: Mapping[str, Any]) -> Any:
        """The value of the derived attribute it gives. Raises EvaluationError when no row decides.

        Where all rows count, none of them is a sum of nothing, which is zero and not unknown.
        """
        value = self.answer(activation)
        if value is not None:
            return value
        if self.all_hits:
            return type(self.rows[0].result)()
        raise EvaluationError(f"no row of the table {self.where} holds")


def _product(factors: Iterable[float]) -> float:
    """The product, held finite at every step: infinity times a later zero would be no number."""
    product = 1.0
    for each in factors:
        product = min(product * each, FACTOR_MAX)
    return product
