"""Tables say where rows overlap or leave a gap: exactly where a brute force over all customers finds them."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given, settings

from tests.catalog.rows import DOMAIN, Rows, loaded, tables, text_of, verdict


def everybody(columns: list[str]) -> list[dict[str, Any]]:
    """Every customer whom these columns can tell apart."""
    names = sorted({name for name in DOMAIN for column in columns if f".{name}" in column})
    people = product(*(DOMAIN[name] for name in names))
    return [{name: value for name, value in zip(names, each, strict=True) if value is not None} for each in people]


@settings(max_examples=40, deadline=None)
@given(tables())
def test_gaps_and_rows_that_never_win_are_reported_exactly(drawn: tuple[list[str], Rows]) -> None:
    columns, rows = drawn
    verdicts = [[verdict(columns, cells, customer) for cells, _ in rows] for customer in everybody(columns)]
    first_not_no = [next((at for at, held in enumerate(each) if held is not False), None) for each in verdicts]
    winners = {at for at, each in zip(first_not_no, verdicts, strict=True) if at is not None and each[at] is True}

    found = [(each.line, each.message) for each in loaded(text_of(columns, rows, "first")).warnings]

    assert any("no row speaks" in message for _, message in found) == (None in first_not_no)
    assert {line - 5 for line, message in found if "never" in message} == set(range(len(rows))) - winners


def test_the_order_decides_silently_only_between_a_case_and_a_more_general_one() -> None:
    rows: Rows = [(['">= 20"', '"-"'], 1), (['"-"', "gold"], 2), (['"-"', '"-"'], 3)]
    columns = ["customer.age", "customer.tier"]

    (warning,) = loaded(text_of(columns, rows, "first")).warnings

    assert str(warning) == (
        'tables/points.yaml:6:6: this row and that of line 5 meet where customer.age is 20 and customer.tier is "gold"'
        ". The upper one wins: write the case out above them, or make one exclude it"
    )
    assert loaded(text_of(columns, [(['">= 20"', "gold"], 1), *rows], "first")).warnings == ()


def test_in_a_table_where_all_rows_count_equal_rows_are_reported_and_overlaps_are_not() -> None:
    rows: Rows = [(['">= 20"'], 1), (['"-"'], 2), (['"> 19"'], 3)]

    found = [str(each) for each in loaded(text_of(["customer.age"], rows, "all")).warnings]

    # 19 and 20 are neighbours among whole numbers: the first and the last row are the same to every customer.
    assert found == [
        "tables/points.yaml:7:6: this row holds exactly where that of line 5 does. Both count: write them as one"
    ]


def test_a_table_that_cannot_be_followed_is_left_alone() -> None:
    rows: Rows = [(['"> 2"'], 1), (['"> 2"'], 2)]

    assert loaded(text_of(["customer.age * customer.age"], rows, "first")).warnings == ()
