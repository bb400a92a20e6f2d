"""Derived attributes and tables in a decision: who wins, for how much, and the same again from the record."""

from __future__ import annotations

import pytest

from decisioning.decide import decide, prepare
from decisioning.explain import explain
from decisioning.records import Versions, core_of, decision_record, open_record, replay
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from decisioning.store.packing import canonical, parsed
from tests.decisioning.bank import FILES, GOLD, PROPENSITIES, SILVER, ask, customer, shown, strategy

DERIVED = "is_young: {expression: 'customer.age < 30'}"
TABLE = """
gives: {%s}
hits: first
columns: [derived.is_young, customer.tier]
rows:
  - [true, "-", %s]
  - ["-", gold, %s]
"""


def bank(gives, young, gold):
    return strategy({"derived.yaml": DERIVED, "tables/cards.yaml": TABLE % (gives, young, gold)})


@pytest.mark.parametrize(
    ("gives", "who", "priority", "expected_value"),
    [
        ("lever: [grow/cards/gold]", {"age": 20}, 10.0, 20.0),
        ("lever: [grow/cards/gold]", {"tier": "gold"}, 60.0, 20.0),
        ("lever: [grow/cards/gold]", {}, 20.0, 20.0),
        ("lever: [grow/cards/gold]", {"tier": None}, 20.0, 20.0),
        ("context_weight: [grow/cards]", {"age": 20}, 10.0, 20.0),
        ("value: [grow/cards/gold]", {"tier": "gold"}, 9.0, 9.0),
    ],
)
def test_a_table_says_what_an_action_is_worth_here(gives, who, priority, expected_value):
    placed = ask(
        bank(gives, 0.5, 45.0 if gives.startswith("value") else 3.0),
        customer(**who),
        propensities={GOLD: 0.2, "default": 0.0},
    ).placements[0]

    assert placed.action == GOLD
    assert (placed.priority, placed.expected_value) == pytest.approx((priority, expected_value))


def test_a_table_can_change_who_wins():
    before = shown(ask(strategy(), customer(age=20)))
    after = shown(ask(bank("lever: [grow/cards/gold]", 0.1, 1.0), customer(age=20)))

    assert [before, after] == [[("offer", GOLD)], [("offer", SILVER)]]


def test_a_missing_attribute_makes_a_rule_on_what_follows_from_it_unknown():
    cards = FILES["actions/cards.yaml"].replace('"customer.income > 1000.0"', '"!derived.is_young"')
    changed = strategy({"derived.yaml": DERIVED, "actions/cards.yaml": cards.replace('"customer.age >= 18"', "")})

    reasons = {
        age: ask(changed, customer(age=age)).reasons_against(changed.action_index[GOLD]) for age in (40, 20, None)
    }

    assert reasons == {40: [], 20: ["suitability"], None: ["suitability_unknown"]}


@pytest.mark.parametrize("age", [20, 40, None])
def test_a_record_without_derived_values_decides_again_to_the_last_digit(age):
    changed = bank("value: [grow/cards]", 33.0, 44.0)
    request, scorer, snapshot = (
        Request("C-1", "web", ("web.hero",), {}),
        StatedScorer(changed, PROPENSITIES),
        customer(age=age),
    )
    decision = decide(request, snapshot, changed, scorer, decision_id="000-1-ab")

    packed = decision_record(decision, request, snapshot, changed, Versions("s", "m"), key_id="k")
    recorded = open_record(parsed(packed), snapshot.state.sealing_key, changed)

    assert b"is_young" not in packed
    assert canonical(core_of(replay(recorded, changed, scorer).placements)) == canonical(recorded.core)


def test_what_follows_from_a_hidden_attribute_is_hidden_with_it():
    cards = FILES["actions/cards.yaml"].replace('"customer.income > 1000.0"', '"!derived.is_young"')
    changed = strategy({"derived.yaml": DERIVED, "actions/cards.yaml": cards})
    request, scorer, snapshot = Request("C-1", "web", ("web.hero",), {}), StatedScorer(changed, {}), customer(age=20)
    decision = decide(request, snapshot, changed, scorer, decision_id="d")
    filling = prepare(request, snapshot, changed, scorer, decision_id="d")

    values = [
        next(each["values"] for each in explain(filling, decision, hidden=hidden) if each["action"] == GOLD)
        for hidden in ([], ["customer.age"])
    ]

    assert values == [{"derived.is_young": True}, {"derived.is_young": "masked"}]
