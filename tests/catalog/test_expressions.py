"""Expressions: scopes of history, what a predicate reads, and sharing over actions."""

from __future__ import annotations

import pytest

from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Gate, Strategy
from rules import Duration, Timestamp
from tests.catalog.strategies import faults_of, small, with_rule


class RecordedHistory:
    """Answers every question with one, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def count(self, outcome: str, scope: str, window: Duration) -> int:
        self.asked.append(("count", outcome, scope, str(window.to_ms())))
        return 1

    def days_since(self, outcome: str, scope: str) -> float:
        self.asked.append(("days_since", outcome, scope))
        return 1.0

    def last(self, outcome: str, scope: str) -> Timestamp:
        self.asked.append(("last", outcome, scope))
        return Timestamp.from_ms(1)


def suitability(strategy: Strategy) -> Gate:
    return strategy.gates[2]


def gold(strategy: Strategy) -> int:
    return strategy.action_index["grow/cards/gold_upgrade"]


def ask(rule: str) -> tuple[object, RecordedHistory]:
    history = RecordedHistory()
    strategy = with_rule(rule)
    activation = {"customer": {}, "context": {}, "now": Timestamp.from_ms(0), "channel": "web", "history": history}
    (predicate,) = suitability(strategy).predicates(gold(strategy))
    return predicate(activation), history


@pytest.mark.parametrize(
    ("scope", "means"),
    [
        ("action", "action:grow/cards/gold_upgrade"), ("group", "group:grow/cards"), ("issue", "issue:grow"),
        ("channel", "channel"), ("customer", "customer"),
    ],
)  # fmt: skip
def test_history_scopes_mean_the_action_at_hand(scope: str, means: str) -> None:
    asked = ask(f'history.count("rejected", "{scope}", duration("1h")) == 1')[1].asked

    assert asked == [("count", "rejected", means, "3600000")]
    assert ask(f'history.days_since("clicked", "{scope}") < 2.0')[1].asked == [("days_since", "clicked", means)]
    assert ask(f'history.last("clicked", "{scope}") < now')[1].asked == [("last", "clicked", means)]


def test_only_the_scope_argument_is_rewritten() -> None:
    rule = '"action" != "group" && history.count("rejected", "action", duration("1h")) == 1 || channel == "action"'

    _, history = ask(rule)

    assert history.asked == [("count", "rejected", "action:grow/cards/gold_upgrade", "3600000")]


def test_a_rule_is_split_into_its_clauses() -> None:
    strategy = with_rule('customer.age > 1 && (customer.age < 9 || customer.in_arrears) && channel == "web"')

    (rule,) = suitability(strategy).rules[gold(strategy)]

    assert rule.text.startswith("customer.age > 1 && (")
    assert rule.where == "actions/cards.yaml:11:19"
    assert [clause.text for clause in rule.clauses] == [
        "customer.age > 1",
        "customer.age < 9 || customer.in_arrears",
        'channel == "web"',
    ]
    assert rule.clauses == suitability(strategy).predicates(gold(strategy))


@pytest.mark.parametrize(
    ("rule", "reads_context"),
    [
        ("customer.age > 1", False),
        ('context.page == "home"', True),
        ("has(context.page)", True),
        ('context["page"] == "home"', True),
        ('channel == "web"', True),
        ('history.count("rejected", "channel", duration("1h")) == 1', True),
        ('history.count("rejected", "customer", duration("1h")) == 1', False),
        ('history.count("rejected", "action", duration("1h")) == 1', False),
        ('customer.first_name == "channel" && now > timestamp("2020-01-01T00:00:00Z")', False),
    ],
)
def test_a_gate_knows_which_predicates_read_the_moment(rule: str, reads_context: bool) -> None:
    strategy = with_rule(rule)
    gate = suitability(strategy)

    assert gate.reads_context(gate.predicates(gold(strategy))[0]) is reads_context


def test_equal_rules_of_many_actions_are_one_program() -> None:
    strategy = load_bundle(small())

    clauses = [clause for rules in strategy.gates[0].rules for rule in rules for clause in rule.clauses]
    of_age = [clause for clause in clauses if clause.text == "customer.age >= 18"]

    assert len(of_age) == 3
    assert len({id(clause) for clause in of_age}) == 1


def test_an_attribute_that_is_only_indexed_is_held_to_its_purpose() -> None:
    rule = ["'customer.balance_avg_3m > 1500.0'", "'customer[\"risk_score\"] < 0.5'"]

    assert faults_of(small({"actions/cards.yaml": [rule]}))[0].startswith(
        "actions/cards.yaml:11:28: customer.risk_score is not allowed for the purpose marketing"
    )


@pytest.mark.parametrize(
    "rule", ["customer.exists(name, true)", "size(context) > 0", "customer[channel] == 1", "customer == customer"]
)
def test_no_rule_reads_attributes_it_does_not_name(rule: str) -> None:
    (line,) = faults_of(small({"actions/cards.yaml": [["'customer.balance_avg_3m > 1500.0'", f"'{rule}'"]]}))

    assert "Name an attribute of theirs" in line
