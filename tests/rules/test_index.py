"""The predicate index against its twin, which asks every predicate of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import (
    BOOL,
    DYN,
    INT,
    STRING,
    Environment,
    EvaluationError,
    PredicateIndex,
    Program,
    StagedIndex,
    check,
    compile,
    object_of,
    parse,
)

ENVIRONMENT = Environment(
    {"customer": object_of({"age": INT, "tier": STRING, "flag": BOOL}, name="customer"), "context": DYN, "host": DYN}
)
TEXTS = (
    "customer.age >= 18",
    "18 <= customer.age",
    "customer.age > 60 || customer.tier == 'gold'",
    "customer.tier in ['gold', 'platinum']",
    "has(customer.flag) && customer.flag",
    "!customer.flag",
    "has(customer.tier)",
    "context.page == 'home'",
    "customer.age / (customer.age - 30) > 0",
    "[customer.tier].exists(t, t == 'gold')",
    "customer.flag ? customer.age > 3 : customer.age < 3",
    "true",
    "1 / 0 == 1",
)


def program(text: str) -> Program:
    return compile(check(parse(text), ENVIRONMENT, BOOL))


PROGRAMS = [program(text) for text in TEXTS]
ROWS = st.lists(st.lists(st.sampled_from(PROGRAMS), max_size=4), max_size=12)
CUSTOMERS = st.fixed_dictionaries(
    {},
    optional={
        "age": st.sampled_from([2, 18, 30, 70, "old", None]),
        "tier": st.sampled_from(["gold", "classic", 7]),
        "flag": st.booleans(),
    },
)
ACTIVATIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "customer": CUSTOMERS | st.just([]),
        "context": st.sampled_from([{}, {"page": "home"}, {"page": "faq"}]),
    },
)


def every(rows: Sequence[Any]) -> int:
    return (1 << len(rows)) - 1


def twin(rows: Sequence[Sequence[Program]], activation: Mapping[str, Any], among: int) -> tuple[int, int]:
    """Every predicate of every row that is asked for, one by one."""
    no = unknown = 0
    for position, row in enumerate(rows):
        if not among >> position & 1:
            continue
        verdicts: list[bool | None] = []
        for predicate in row:
            try:
                verdicts.append(predicate(activation))
            except EvaluationError:
                verdicts.append(None)
        if False in verdicts:
            no |= 1 << position
        elif None in verdicts:
            unknown |= 1 << position
    return no, unknown


@given(ROWS, ACTIVATIONS, st.integers(0))
def test_the_index_agrees_with_its_twin(rows: list[list[Program]], activation: dict[str, Any], some: int) -> None:
    index = PredicateIndex(rows)

    for among in (every(rows), every(rows) & some, *(1 << row for row in range(len(rows)))):
        assert index.evaluate(activation, among) == twin(rows, activation, among)


@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows))))), ACTIVATIONS)
def test_the_order_of_rows_changes_nothing(
    shuffled: tuple[list[list[Program]], list[int]], activation: dict[str, Any]
) -> None:
    rows, order = shuffled
    straight = PredicateIndex(rows).evaluate(activation, every(rows))

    mixed = PredicateIndex([rows[position] for position in order]).evaluate(activation, every(rows))

    for new, old in enumerate(order):
        assert [mask >> new & 1 for mask in mixed] == [mask >> old & 1 for mask in straight]


class Counting:
    """A mapping that counts how often it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def __getitem__(self, name: str) -> int:
        self.count += 1
        return 44


def test_a_predicate_is_evaluated_at_most_once_per_call() -> None:
    host = Counting()
    index = PredicateIndex([[program("host.age >= 18")], [program("host.age>=18"), PROGRAMS[11]], [PROGRAMS[11]]])

    assert index.evaluate({"host": host}, 0b111) == (0, 0)
    assert host.count == 1


def test_a_predicate_of_rows_that_are_all_out_is_not_evaluated() -> None:
    host = Counting()
    index = PredicateIndex([[program("host.age >= 18"), program("false")], [program("false")]])

    assert index.evaluate({"host": host}, 0b11) == (0b11, 0)
    assert host.count == 0


def test_a_predicate_of_rows_that_are_not_asked_for_is_not_evaluated() -> None:
    host = Counting()
    index = PredicateIndex([[program("host.age >= 18")], [program("customer.age >= 18")]])

    assert index.evaluate({"host": host, "customer": {"age": 2}}, 0b10) == (0b10, 0)
    assert host.count == 0


def test_an_absent_attribute_costs_no_evaluation() -> None:
    index = PredicateIndex([[program("customer.age >= 18")], [program("customer.age < 18")], [program("true")]])

    assert index.evaluate({"customer": {}}, 0b111) == (0, 0b011)


STAGES = st.integers(0, 6).flatmap(
    lambda count: st.lists(
        st.lists(st.lists(st.sampled_from(PROGRAMS), max_size=3), min_size=count, max_size=count),
        min_size=1,
        max_size=3,
    )
)


@given(STAGES, ACTIVATIONS, st.integers(0))
def test_stages_asked_together_agree_with_stages_asked_in_turn(
    stages: list[list[list[Program]]], activation: dict[str, Any], some: int
) -> None:
    index = StagedIndex(stages)

    for among in (every(stages[0]), every(stages[0]) & some, *(1 << row for row in range(len(stages[0])))):
        left, expected = among, []
        for rows in stages:
            expected.append(twin(rows, activation, left))
            left &= ~(expected[-1][0] | expected[-1][1])
        assert list(index.evaluate(activation, among)) == expected


def test_a_predicate_of_several_stages_is_evaluated_once() -> None:
    host = Counting()
    rows = [[program("host.age >= 18")], [program("true")]]

    assert list(StagedIndex([rows, rows]).evaluate({"host": host}, 0b11)) == [(0, 0), (0, 0)]
    assert host.count == 1


def test_a_program_that_was_not_checked_to_be_bool_is_refused() -> None:
    with pytest.raises(ValueError, match="checked to be bool"):
        PredicateIndex([[compile(check(parse("customer.age"), ENVIRONMENT))]])
