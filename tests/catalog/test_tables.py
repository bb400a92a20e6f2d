"""Decision tables answer as their rows would as rules; a fault is blamed on the cell that has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.decision_table import DecisionTable
from rules import EvaluationError
from tests.catalog.rows import Rows, customers, loaded, tables, text_of, verdict
from tests.catalog.strategies import faults_of, small

CASES = json.loads((Path(__file__).parent / "cases" / "tables.json").read_text())


def twin(columns: list[str], rows: Rows, hits: str, customer: dict[str, Any]) -> int | None:
    """The table's answer, row after row; None is unknown."""
    total = 0
    for cells, result in rows:
        held = verdict(columns, cells, customer)
        if held is None:
            return None
        if held and hits == "first":
            return result
        total += result if held else 0
    return total if hits == "all" else None


def answer(table: DecisionTable, customer: dict[str, Any]) -> int | None:
    try:
        return table.attribute_value({"customer": customer})  # type: ignore[no-any-return]
    except EvaluationError:
        return None


@settings(max_examples=80, deadline=None)
@given(tables(), st.sampled_from(["first", "all"]), st.lists(customers, min_size=5, max_size=20))
def test_a_table_agrees_with_its_rows_as_rules(
    drawn: tuple[list[str], Rows], hits: str, people: list[dict[str, Any]]
) -> None:
    columns, rows = drawn
    (table,) = loaded(text_of(columns, rows, hits)).tables

    for customer in people:
        assert answer(table, customer) == twin(columns, rows, hits, customer)


@pytest.mark.parametrize(
    ("gives", "hits", "expected"),
    [("lever", "first", 2.0), ("lever", "all", 6.0), ("value", "all", 5.0), ("context_weight", "all", 6.0)],
)
def test_factors_multiply_and_money_adds_up(gives: str, hits: str, expected: float) -> None:
    text = text_of(["customer.age"], [(['">= 20"'], 2), (['"-"'], 3)], hits, f"{{{gives}: [grow]}}")

    (table,) = loaded(text).tables

    assert table.answer({"customer": {"age": 22}}) == expected
    assert table.mask == 1


def test_a_table_of_many_rows_loads_and_is_reviewed_in_time() -> None:
    rows: Rows = [([f'"< {number}"', "gold"], number) for number in range(1000)]

    (table,) = loaded(text_of(["customer.age", "customer.tier"], rows, "first")).tables

    assert answer(table, {"age": 20, "tier": "gold"}) == 21


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_case(case: dict[str, Any]) -> None:
    files = small(case.get("edit")) | {path: text.encode() for path, text in case["add"].items()}

    assert faults_of(files) == case["expect"]
