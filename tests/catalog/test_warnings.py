"""Warnings: what is reported of rules that load, and that nothing is reported which can happen."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.expressions import Expressions, Owner
from decisioning.catalog.faults import Fault, Faults
from decisioning.catalog.load import load_bundle, load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.catalog.template import Piece
from decisioning.catalog.yaml_text import Scalar
from rules import BOOL, EvaluationError, Program, Timestamp
from tests.catalog.strategies import loaded, small

ROOT = Path(__file__).parents[2]
CASES = json.loads((Path(__file__).parent / "cases" / "warnings.json").read_text())
PLAN = "nurture/savings/savings_plan"


def with_rules(rules: list[str]) -> Strategy:
    """The small strategy with these rules as the savings plan's eligibility."""
    listed = "".join(f"\n      - '{rule.replace(chr(39), chr(39) * 2)}'" for rule in rules)
    return load_bundle(
        small({"actions/savings.yaml": [["eligibility: ['customer.age >= 18']", f"eligibility:{listed}"]]})
    )


def said(warning: Fault) -> str:
    """A warning without its file and line; places inside the message are PLACE."""
    message = re.sub(r"actions/\S+:\d+:\d+", "PLACE", f"{warning.message}. {warning.way_out}")
    return f"{warning.column - len('      - ' + chr(39))}: {message}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_case(case: dict[str, Any]) -> None:
    found = [said(warning) for warning in with_rules(case["rules"]).warnings]

    assert len(found) == len(case["expect"]), found
    for expected, line in zip(case["expect"], found, strict=True):
        assert expected in line


def test_conditions_of_derived_attributes_and_of_texts_are_looked_through_where_they_stand() -> None:
    tier = 'customer.card_tier == "golden" ? "gilt" : "plain"'
    point = f"'Free {{{{ customer.in_arrears ? ({tier}) : \"\" }}}} insurance, {{{{ {tier} }}}}'"
    edits = {
        "actions/cards.yaml": [
            ['"Free travel insurance"', point],
            [
                "<p>Your average balance is {{ customer",
                "<p>{{ customer.age < 200 ? 'Your' : 'Her' }} balance {{ customer",
            ],
        ]
    }
    derived = "young: {expression: 'customer.age < 30 && customer.age >= 10'}\nrich: {expression: customer.age * 2}\n"
    files = small(edits) | {"derived.yaml": derived.encode()}

    found = load_bundle(files).warnings

    lines = {path: content.decode().splitlines() for path, content in files.items() if path.endswith(".yaml")}
    assert [(each.file, lines[each.file][each.line - 1][each.column - 1 :][:8]) for each in found] == [
        ("actions/cards.yaml", "200 ? 'Y"),
        ("actions/cards.yaml", '"golden"'),
        ("actions/cards.yaml", '"golden"'),
        ("derived.yaml", "10'}"),
    ]
    assert (
        found[1].message == 'customer.card_tier == "golden" is never true' and found[1].way_out == "Did you mean gold?"
    )
    assert found[3].message == "customer.age >= 10 is never false"


@pytest.mark.parametrize("directory", ["examples/retail_bank", "examples/bank_calls", "tests/strategies/small"])
def test_a_sound_strategy_has_no_warning(directory: str) -> None:
    assert load_directory(ROOT / directory).warnings == ()


def test_a_rule_outside_the_dates_of_its_action_is_never_true_there() -> None:
    rule = """applicability: ['now >= timestamp("2027-06-01T00:00:00Z")']"""
    edits = {"actions/loans.yaml": [["""applicability: ['context.page == "mortgage"']""", rule]]}

    (warning,) = load_bundle(small(edits)).warnings

    assert "is never true where this action is shown (now is between 2025-12-31T23:00:00Z and" in warning.message


PAGE = (ROOT / "docs" / "strategy.md").read_text()
SHOWN = re.findall(
    r"^\| (`[^|]+`) \| `([^|]+)` \|$", PAGE[PAGE.index("| rules of one action |") :].split("\n\n")[0], re.M
)


@pytest.mark.docs
@pytest.mark.parametrize(("rules", "expected"), SHOWN, ids=lambda cell: cell)
def test_the_page_shows_what_is_said(rules: str, expected: str) -> None:
    strategy = with_rules([rule.strip("`").replace(" or ", " || ") for rule in rules.split("`, `")])

    assert [str(warning) for warning in strategy.warnings if expected in str(warning)]


NUMBERS = st.sampled_from([-1, 0, 15, 16, 17, 18, 21, 65, 119, 120, 121])
AMOUNTS = st.sampled_from(["-0.5", "0.0", "0", "17.5", "1500.0", "1500", "1501", "9007199254740993"])
WORDS = st.sampled_from(['"classic"', '"gold"', '"platinum"', '"silver"', '""'])
NAMES = st.sampled_from(['"Anna"', '"Eva"', '""'])
TIMES = st.sampled_from(['timestamp("2025-01-01T00:00:00Z")', 'timestamp("2026-01-01T00:00:00.000000001Z")'])
ORDER = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
COUNT = 'history.count("rejected", "{}", duration("720h"))'


def comparison(subject: str, constants: st.SearchStrategy[Any], operators: Any = ORDER) -> st.SearchStrategy[str]:
    there = st.builds(lambda operator, constant: f"{subject} {operator} {constant}", operators, constants)
    back = st.builds(lambda operator, constant: f"{constant} {operator} {subject}", operators, constants)
    among = st.lists(constants, max_size=3).map(lambda each: f"{subject} in [{', '.join(map(str, each))}]")
    return st.one_of(there, back, among)


EQUAL = st.sampled_from(["==", "!="])
ATOMS = st.one_of(
    comparison("customer.age", NUMBERS | AMOUNTS.filter(lambda amount: "." in amount), ORDER).filter(
        lambda text: " in [" not in text
    ),
    comparison("customer.age", NUMBERS, ORDER),
    comparison("customer.balance_avg_3m", AMOUNTS, ORDER).filter(lambda text: " in [" not in text),
    comparison("customer.card_tier", WORDS, ORDER),
    comparison("customer.first_name", NAMES, ORDER),
    comparison("customer.since", TIMES, ORDER),
    comparison("context.page", WORDS | st.just('"home"'), EQUAL),
    comparison("channel", st.sampled_from(['"web"', '"email"', '"call_center"', '"post"']), EQUAL),
    comparison("now", TIMES, ORDER),
    comparison("size(customer.first_name)", NUMBERS, ORDER),
    comparison(COUNT.format("action"), st.integers(-1, 3), ORDER),
    comparison(COUNT.format("group"), st.integers(-1, 3), ORDER),
    st.sampled_from(["age", "card_tier", "first_name", "since", "balance_avg_3m", "products"]).map(
        lambda name: f"has(customer.{name})"
    ),
    st.sampled_from(
        ["customer.in_arrears", '"a" in customer.products', "customer.age * 2 > 60", 'customer.card_tier.contains("a")']
    ),
)
RULES = st.recursive(
    ATOMS,
    lambda parts: st.one_of(
        parts.map(lambda part: f"!({part})"),
        st.builds(lambda a, b: f"({a}) && ({b})", parts, parts),
        st.builds(lambda a, b: f"({a}) || ({b})", parts, parts),
        st.builds(lambda a, b, c: f"({a}) ? ({b}) : ({c})", parts, parts, parts),
    ),
    max_leaves=4,
)


class _Rejections:
    """A history that knows its answers."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def count(self, outcome: str, scope: str, window: object) -> int:
        return self._counts[scope.partition(":")[0]]


ABSENT = st.none()
CUSTOMERS = st.fixed_dictionaries(
    {
        "age": ABSENT | st.sampled_from([16, 17, 18, 19, 20, 21, 22, 30, 31, 64, 65, 66, 119, 120]),
        "balance_avg_3m": ABSENT | st.sampled_from([0.0, 5e-324, 17.0, 17.5, 18.0, 1500.0, 1500.5, 2.0**53, 1e300]),
        "card_tier": ABSENT | st.sampled_from(["classic", "gold", "platinum"]),
        "first_name": ABSENT | st.sampled_from(["", "Anna", "Eva", "E", "z" * 17, "z" * 130]),
        "since": ABSENT
        | st.sampled_from(
            ["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]
        ),
        "in_arrears": ABSENT | st.booleans(),
        "products": ABSENT | st.sampled_from([[], ["a"], ["b"]]),
    }
)
MOMENTS = st.fixed_dictionaries(
    {
        "customer": CUSTOMERS,
        "context": st.fixed_dictionaries({"page": ABSENT | st.sampled_from(["home", "mortgage", "cards"])}),
        "channel": st.sampled_from(["web", "email"]),  # those in which the savings plan is shown
        "now": st.sampled_from(["2024-06-01T00:00:00Z", "2025-01-01T00:00:00Z", "2026-06-01T00:00:00Z"]),
        "history": st.fixed_dictionaries({"action": st.integers(0, 3), "group": st.integers(0, 3)}),
    }
)


def activation_of(moment: dict[str, Any]) -> dict[str, Any]:
    """The moment as rules see it."""
    customer = {name: value for name, value in moment["customer"].items() if value is not None}
    if "since" in customer:
        customer["since"] = Timestamp.parse(customer["since"])
    context = {name: value for name, value in moment["context"].items() if value is not None}
    now, history = Timestamp.parse(moment["now"]), _Rejections(moment["history"])
    return {"customer": customer, "context": context, "channel": moment["channel"], "now": now, "history": history}


def verdict(program: Program, activation: dict[str, Any]) -> bool | None:
    try:
        return program(activation) is True
    except EvaluationError:
        return None


def compiled(text: str, strategy: Strategy) -> Program:
    program = Expressions(strategy.schema, Faults()).program(
        Scalar("", 1, 1, text), Piece(text, 0), Owner(PLAN, "marketing"), BOOL
    )
    assert program is not None
    return program


@settings(max_examples=80, deadline=None)
@given(st.lists(RULES, min_size=1, max_size=4, unique=True), st.lists(MOMENTS, min_size=20, max_size=20))
def test_what_is_called_impossible_never_happens(rules: list[str], moments: list[dict[str, Any]]) -> None:
    strategy = with_rules(rules)
    activations = [activation_of(moment) for moment in moments]
    clauses = [clause for rule in strategy.gates[0].rules[strategy.action_index[PLAN]] for clause in rule.clauses]

    for message in (warning.message for warning in strategy.warnings):
        claim = re.fullmatch(r"(.*) is never (true|false)(?: where this action .*|, so nobody.*)?", message)
        if claim:
            program = compiled(claim[1], strategy)
            assert (claim[2] == "true") not in [verdict(program, each) for each in activations]
        if "nobody ever gets" in message:
            assert not any(all(verdict(clause, each) for clause in clauses) for each in activations)


def test_the_generated_customers_are_customers_of_the_schema() -> None:
    schema = loaded().schema

    @settings(max_examples=50, deadline=None)
    @given(MOMENTS)
    def every(moment: dict[str, Any]) -> None:
        for root in ("customer", "context"):
            for name, value in moment[root].items():
                assert value is None or schema.typed(f"{root}.{name}", value) is not None

    every()
