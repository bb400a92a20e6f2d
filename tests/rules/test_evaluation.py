"""Rules over a declared customer: what the compiled forms answer, in all the shapes the compiler knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rules import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Call,
    Duration,
    Environment,
    EvaluationError,
    Literal,
    Node,
    Program,
    Signature,
    Timestamp,
    check,
    compile,
    conjuncts,
    list_of,
    object_of,
    parse,
    transform,
    unparse,
)

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases/evaluation.json").read_text("utf-8"))
ENVIRONMENT = Environment(
    {
        "customer": object_of(
            {
                "age": INT,
                "balance": DOUBLE,
                "tier": STRING,
                "in_arrears": BOOL,
                "segments": list_of(STRING),
                "scores": list_of(INT),
                "since": TIMESTAMP,
                "address": object_of({"city": STRING}, name="customer.address"),
                "anything": DYN,
            },
            name="customer",
        ),
        "channel": STRING,
        "now": TIMESTAMP,
        "history": object_of({}, name="history"),
    },
    {
        ("history", "count"): Signature((STRING, STRING, DURATION), INT),
        ("history", "days_since"): Signature((STRING, STRING), DOUBLE),
    },
)


def program(text: str) -> Program:
    return compile(check(parse(text), ENVIRONMENT))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_a_rule_answers_for_a_customer(case: dict[str, Any]) -> None:
    compiled = compile(check(parse(case["rule"]), ENVIRONMENT, BOOL))

    try:
        answer: Any = compiled({"customer": case["customer"], "channel": "web"})
    except EvaluationError:
        answer = "unknown"

    assert answer is case["expect"] or answer == case["expect"] == "unknown"


READS = {
    "customer.age >= 18 && channel == 'web'": {"customer.age", "channel"},
    "has(customer.tier)": {"customer.tier"},
    "customer['tier'] == 'gold'": {"customer.tier"},
    "customer.address.city == 'Bern'": {"customer.address.city"},
    "customer.anything.deep.down == 1": {"customer.anything"},
    "history.count('rejected', 'action', duration('1h')) == 0": {"history"},
    "now - customer.since > duration('1h')": {"now", "customer.since"},
    "customer.segments.exists(customer, customer == 'vip')": {"customer.segments"},
    "size(customer) > 3": {"customer"},
    "1 == 1": set(),
}


@pytest.mark.parametrize("text", READS)
def test_a_program_names_what_it_reads(text: str) -> None:
    assert program(text).reads == READS[text]


NEEDS = {
    "customer.age >= 18": {"age"},
    "customer.age >= 18 && customer.tier == 'gold'": set(),
    "customer.age >= 18 || customer.age < 3": {"age"},
    "has(customer.age)": set(),
    "customer.in_arrears ? customer.age > 3 : customer.age > 4": {"in_arrears", "age"},
    "customer.segments.all(s, s == customer.tier)": {"segments"},
    "customer.balance > double(customer.age)": {"balance", "age"},
}


@pytest.mark.parametrize("text", NEEDS)
def test_a_program_names_what_it_cannot_do_without(text: str) -> None:
    assert program(text).needs == {("customer", name) for name in NEEDS[text]}


class History:
    def count(self, outcome: str, scope: str, within: Duration) -> int:
        assert (outcome, scope, within) == ("rejected", "action:grow/cards/gold", Duration.parse("24h"))
        return 2

    def days_since(self, outcome: str, scope: str) -> float | None:
        return None


def test_a_host_method_is_called_with_values_of_the_language() -> None:
    rule = program("history.count('rejected', 'action:grow/cards/gold', duration('24h')) == 2")

    assert rule({"history": History()}) is True


def test_a_host_method_without_an_answer_is_unknown() -> None:
    with pytest.raises(EvaluationError, match="days_since"):
        program("history.days_since('rejected', 'action') > 3.0")({"history": History()})


def test_a_host_that_is_absent_is_unknown() -> None:
    with pytest.raises(EvaluationError, match="history is missing"):
        program("history.days_since('rejected', 'action') > 3.0")({})


def test_a_host_answer_of_another_kind_is_unknown() -> None:
    class Text:
        def days_since(self, outcome: str, scope: str) -> str:
            return "three"

    with pytest.raises(EvaluationError, match="declared double"):
        program("history.days_since('rejected', 'action') > 3.0")({"history": Text()})


def test_conditions_split_at_the_top_and() -> None:
    parts = conjuncts(parse("a > 1 && (b > 2 && (c || d)) && !e"))

    assert [unparse(part) for part in parts] == ["a > 1", "b > 2", "c || d", "!e"]


def test_transform_rewrites_literal_arguments() -> None:
    def scoped(node: Node) -> Node:
        if isinstance(node, Call) and node.function == "count":
            return Call(node.function, node.target, (node.arguments[0], Literal("group:grow/cards")))
        return node

    rewritten = transform(parse("history.count('a', 'group') > 0 && x.all(y, y > 1)"), scoped)

    assert unparse(rewritten) == 'history.count("a", "group:grow/cards") > 0 && x.all(y, y > 1)'


def test_a_transform_that_changes_nothing_returns_the_tree_itself() -> None:
    tree = parse("a.b[1] + f({1: [2]}) > (x ? -y : 3)")

    assert transform(tree, lambda node: node) is tree


def test_the_text_of_a_program_is_its_normal_spelling() -> None:
    assert (
        program("(customer.tier) in ['gold' , 'a\"b']&&!(true)").text == 'customer.tier in ["gold", "a\\"b"] && !true'
    )


def test_one_program_serves_nested_evaluations_of_its_loops() -> None:
    rule = program("customer.scores.exists(s, history.count('', '', duration('1h')) == s)")
    inner: list[bool] = []

    class Nesting:
        def count(self, outcome: str, scope: str, within: Duration) -> int:
            if not inner:
                inner.append(True)
                inner.append(rule({"customer": {"scores": [5, 6, 7]}, "history": self}))
            return 2

    answer = rule({"customer": {"scores": [1, 2]}, "history": Nesting()})

    assert (answer, inner) == (True, [True, False])


def test_timestamps_enter_as_milliseconds_and_leave_exact() -> None:
    moment = Timestamp.from_ms(1_743_422_400_123)

    assert (moment.to_ms(), str(moment)) == (1_743_422_400_123, "2025-03-31T12:00:00.123Z")
    assert Timestamp.parse("2025-03-31T14:00:00.123+02:00") == moment
    assert Duration.parse("1h30m0.5s").to_ms() == 5_400_500
    assert str(Duration.parse("-1.5s")) == "-1.5s"
