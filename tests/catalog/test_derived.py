"""Derived attributes: worked out once, when something asks, and held to the purposes of what they read."""

from __future__ import annotations

from typing import Any

import pytest

from decisioning.catalog.derived import DerivedAttribute, DerivedValues
from decisioning.catalog.load import load_bundle
from decisioning.customer import Interaction, State
from decisioning.interactions import DAY_MS, History
from rules import DOUBLE, INT, EvaluationError
from tests.catalog.strategies import faults_of, small, with_rule

SUITABILITY = "'customer.balance_avg_3m > 1500.0'"


def bundle(derived: str, rule: str = "true") -> dict[str, bytes]:
    """The small strategy with derived attributes, and a rule of a marketing action that may read them."""
    quoted = rule.replace("'", "''")
    return small({"actions/cards.yaml": [[SUITABILITY, f"'{quoted}'"]]}) | {"derived.yaml": derived.encode()}


def values(derived: str, **customer: Any) -> DerivedValues:
    strategy = load_bundle(bundle(derived))
    return DerivedValues(strategy.derived, {"customer": customer, "context": {}, "channel": "web"})


def test_a_derived_attribute_reads_those_above_it() -> None:
    found = values(
        """
        yearly: {expression: 'customer.balance_avg_3m * 4.0'}
        is_rich: {expression: 'derived.yearly > 1000.0'}
        """,
        balance_avg_3m=300.0,
    )

    assert found["is_rich"] is True and found["yearly"] == 1200.0


def test_what_is_unknown_is_as_absent_as_a_missing_attribute() -> None:
    found = values("yearly: {expression: 'customer.balance_avg_3m * 4.0'}")

    assert "yearly" not in found
    with pytest.raises(KeyError):
        found["yearly"]


@pytest.mark.parametrize(
    ("rule", "balance", "verdict"),
    [
        ("derived.yearly > 1000.0", 300.0, True),
        ("derived.yearly > 1000.0", None, None),
        ("has(derived.yearly)", 300.0, True),
        ("has(derived.yearly)", None, False),
        ("derived.yearly > 1000.0 || customer.age >= 18", None, True),
        ("customer.products.exists(each, each == 'x' && derived.yearly > 1.0)", 300.0, True),
    ],
)
def test_rules_read_a_derived_attribute_as_any_other(rule: str, balance: float | None, verdict: bool | None) -> None:
    strategy = load_bundle(bundle("yearly: {expression: 'customer.balance_avg_3m * 4.0'}", rule))
    customer = {"age": 44, "products": ["x"]} | ({} if balance is None else {"balance_avg_3m": balance})
    roots: dict[str, Any] = {"customer": customer, "context": {}}
    (predicate,) = strategy.gates[2].predicates(strategy.action_index["grow/cards/gold_upgrade"])

    try:
        found = predicate({**roots, "derived": DerivedValues(strategy.derived, roots)})
    except EvaluationError:
        found = None

    assert found is verdict


def test_a_value_is_worked_out_once_and_only_when_asked_for() -> None:
    asked: list[str] = []

    def attribute(name: str, *, known: bool) -> DerivedAttribute:
        def evaluate(activation: object) -> int:
            asked.append(name)
            if not known:
                raise EvaluationError("missing")
            return 1

        return DerivedAttribute(f"derived.{name}", INT, evaluate, frozenset(), None, False)

    found = DerivedValues({name: attribute(name, known=name == "a") for name in ("a", "b", "c")}, {})

    assert (found["a"], found["a"], "a" in found, "b" in found, "b" in found) == (1, 1, True, False, False)
    assert asked == ["a", "b"]


def test_a_stated_type_is_the_type() -> None:
    strategy = load_bundle(bundle("half: {type: double, expression: 'dyn(customer.age) / 2.0'}"))

    assert strategy.derived["half"].type == DOUBLE


def test_what_is_behind_a_derived_attribute_is_read_with_it() -> None:
    derived = "old: {expression: 'customer.age > 60'}\nunused: {expression: 'customer.risk_score > 0.5'}"

    strategy = load_bundle(bundle(derived, "derived.old"))

    assert {"derived.old", "customer.age"} <= strategy.reads
    assert "customer.risk_score" not in strategy.reads


@pytest.mark.parametrize(
    ("expression", "reads_context"), [("customer.age", False), ("context.month", True), ("derived.month", True)]
)
def test_a_gate_knows_what_reads_the_moment_through_a_derived_attribute(expression: str, reads_context: bool) -> None:
    derived = f"month: {{expression: 'context.month'}}\nvalue: {{expression: '{expression}'}}"
    strategy = load_bundle(bundle(derived, "derived.value > 1"))
    gate = strategy.gates[2]

    assert gate.reads_context(gate.predicates(strategy.action_index["grow/cards/gold_upgrade"])[0]) is reads_context


def test_purposes_hold_through_derived_attributes() -> None:
    derived = "risky: {expression: 'customer.risk_score > 0.5'}\nsafe: {expression: '!derived.risky'}"
    rule = [SUITABILITY, "'derived.safe'"]
    content = ['"Free travel insurance"', "\"{{ derived.safe ? 'a' : 'b' }}\""]

    found = faults_of(small({"actions/cards.yaml": [rule, content]}) | {"derived.yaml": derived.encode()})

    way_out = "It reads customer.risk_score, which schema.yaml allows for other purposes; use another attribute"
    assert [line.partition(": ")[2] for line in found] == [
        f"derived.safe is not allowed for the purpose marketing. {way_out}"
    ] * 2


def test_the_purposes_of_a_derived_attribute_are_those_all_it_reads_share() -> None:
    derived = "a: {expression: 'customer.age > 1'}\nb: {expression: 'derived.a && customer.risk_score > 0.5'}"
    strategy = load_bundle(bundle(derived))

    assert strategy.derived["a"].allowed_for == {"marketing", "service"}
    assert strategy.derived["b"].allowed_for == frozenset()


def test_equal_conditions_are_one_program_however_they_are_spelled() -> None:
    strategy = with_rule("customer.age>=18")
    gold = strategy.action_index["grow/cards/gold_upgrade"]

    assert strategy.gates[2].predicates(gold)[0] is strategy.gates[0].predicates(gold)[0]


LONG = "\n".join(["a0: {expression: '1'}", *(f"a{n}: {{expression: 'derived.a{n - 1} + 1'}}" for n in range(1, 18))])


@pytest.mark.parametrize(
    ("derived", "expected"),
    [
        ("a: {expression: 'derived.b'}\nb: {expression: '1'}", ["1:26: derived.b stands below derived.a"]),
        ("a: {expression: 'derived.a'}", ["1:26: derived.a reads itself"]),
        ("a: {expression: 'derived.c + 1'}", ["1:26: unknown attribute 'c'. Known: none"]),
        ("a: {expression: 'customer.age + \"x\"'}\nb: {expression: 'derived.a > 1'}", ["1:31: int + string"]),
        ("a: {expression: 'now - now'}", ["1:17: derived.a is of type duration, which no attribute has"]),
        ("a: {expression: 'customer'}", ["1:18: customer, context and derived are no values"]),
        ("a: {type: bool, expression: 'customer.age'}", ["1:39: the expression is int, but must be bool"]),
        ("a: {expression: 'history.count(\"clicked\", \"group\", duration(\"1h\"))'}", ["1:43: what is the same"]),
        (LONG, ["17:1: derived.a16 builds on more than 16 levels", "18:1: derived.a17 builds on more than 16"]),
    ],
)  # fmt: skip
def test_faults(derived: str, expected: list[str]) -> None:
    found = faults_of(bundle(derived))

    assert [line[: len(f"derived.yaml:{part}")] for line, part in zip(found, expected, strict=True)] == [
        f"derived.yaml:{part}" for part in expected
    ]


def test_derived_as_a_whole_is_no_value() -> None:
    (line,) = faults_of(bundle("a: {expression: '1'}", "size(derived) > 0"))

    assert "derived are no values of their own" in line


KEYED = """
accepted: {expression: 'history.count("accepted", "group:grow/cards", duration("720h"))'}
since: {expression: 'history.days_since("selected", "customer")'}
here: {expression: 'history.count("clicked", "channel", duration("24h"))'}
"""


def test_history_without_an_action_at_hand_names_what_it_counts() -> None:
    strategy = load_bundle(bundle(KEYED))
    gold, now_ms = "grow/cards/gold_upgrade", 1_790_000_000_000
    state = State(person_key="p", assignment_key="p", sealing_key="")
    state.interactions = [
        Interaction(now_ms - 3 * DAY_MS, "selected", gold, "email"),
        Interaction(now_ms - 2 * DAY_MS, "accepted", gold, "email"),
        Interaction(now_ms - DAY_MS // 2, "clicked", "nurture/brand/welcome", "web"),
    ]

    def found(state: State, channel: str) -> DerivedValues:
        return DerivedValues(strategy.derived, {"history": History(state, channel=channel, now_ms=now_ms)})

    web, email = found(state, "web"), found(state, "email")
    assert (web["accepted"], web["since"], web["here"], email["here"]) == (1, 3.0, 1, 0)
    nobody = found(State(person_key="p", assignment_key="p", sealing_key=""), "web")
    assert nobody["accepted"] == 0 and "since" not in nobody


@pytest.mark.parametrize(
    ("derived", "rule", "fault"),
    [
        (
            """a: {expression: 'history.count("clicked", "group:grow/card", duration("1h"))'}""",
            "true",
            "derived.yaml:1:43: unknown group 'grow/card'. Did you mean grow/cards or grow/loans?",
        ),
        (
            """a: {expression: 'history.count("clicked", "issue:grow/cards", duration("1h"))'}""",
            "true",
            "derived.yaml:1:43: unknown issue 'grow/cards'. Known: grow, nurture, service",
        ),
        (
            """a: {expression: 'history.count("clicked", "group", duration("1h"))'}""",
            "true",
            "derived.yaml:1:43: what is the same for every action has no action, group or issue of its own. "
            "Name one, as in group:grow/cards",
        ),
        (
            "a: {expression: '1'}",
            'history.count("clicked", "group:grow/cards", duration("1h")) == 0',
            "actions/cards.yaml:11:45: a rule asks about its own action, group or issue. "
            "Leave the key away, or ask in a derived attribute",
        ),
    ],
)
def test_a_scope_with_a_key_has_to_exist_and_is_not_for_rules(derived: str, rule: str, fault: str) -> None:
    assert faults_of(bundle(derived, rule)) == [fault]
