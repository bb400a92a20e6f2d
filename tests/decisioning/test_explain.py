"""Explanations: what stopped each candidate, in the words of its rule and with the facts it met."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from decisioning.catalog.strategy import ContactPolicy, Strategy
from decisioning.contact_policy import Span, is_holding, restraint_of, times_within
from decisioning.customer import Snapshot
from decisioning.decide import decide, prepare
from decisioning.explain import explain
from decisioning.interactions import DAY_MS
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from tests.decisioning.bank import FILES, GOLD, LOAN, NOW_MS, PROPENSITIES, SILVER, TIPS, customer, strategy

COUNTED = 'history.count("accepted", "action", duration("8760h")) == 0'


def explained(
    bank: Strategy, snapshot: Snapshot, *placements: str, hidden: frozenset[str] = frozenset(), **context: Any
) -> dict[str, dict[str, Any]]:
    """The entries of the last placement, by action."""
    names = placements or ("web.hero",)
    request = Request(snapshot.customer_key, names[0].split(".")[0], names, context)
    scorer = StatedScorer(bank, PROPENSITIES)
    decision = decide(request, snapshot, bank, scorer, decision_id="d1")
    filling = prepare(request, snapshot, bank, scorer, decision_id="d1")
    entries = explain(filling, decision, hidden=hidden)
    return {each["action"]: each for each in entries if each["placement"] == names[-1]}


def test_a_rule_about_the_past_shows_what_it_counted():
    found = explained(strategy(), customer(history=[(3, "accepted", GOLD, "email")]))[GOLD]

    assert (found["reason"], found["rule"]) == ("applicability", COUNTED)
    asked = {"method": "count", "outcome": "accepted", "scope": f"action:{GOLD}", "window_days": 365.0}
    rows = [{"at": "2026-09-18T14:13:20Z", "action": GOLD, "channel": "email"}]
    assert found["history"] == [asked | {"interactions": rows}]


def test_a_contact_policy_shows_count_limit_window_and_end():
    seen = [(ago, "selected", SILVER, "web") for ago in (3, 2, 1)]

    found = explained(strategy(), customer(history=seen))[GOLD]

    assert found["reason"] == "contact_policy"
    assert found["contact_policies"] == [
        {
            "policy": "fatigue",
            "where": "contact_policies.yaml:2:1",
            "scope": "group",
            "channel": None,
            "outcomes": ["selected"],
            "limit": 2,
            "window_days": 7.0,
            "hold_days": 7.0,
            "count": 3,
            "last": "2026-09-20T14:13:20Z",
            "until": "2026-09-27T14:13:20Z",
        }
    ]


def test_a_policy_that_cannot_look_far_enough_back_says_since_when_it_can():
    snapshot = customer(history=[(1, "selected", SILVER, "web")])
    snapshot.state.complete_since_ms = NOW_MS - 2 * DAY_MS

    (policy,) = explained(strategy(), snapshot)[GOLD]["contact_policies"]

    # It counts 2 within 7 days and rests 7: one before the memory would have reached the limit with yesterday's.
    assert (policy["kept_since"], policy["until"]) == ("2026-09-19T14:13:20Z", "2026-09-27T14:13:20Z")
    assert "count" not in policy


def test_a_refused_consent_shows_since_when():
    found = explained(strategy(), customer(consents=[("web", "marketing", False)]))[GOLD]

    assert found["consent"] == {
        "channel": "web",
        "purpose": "marketing",
        "stated": True,
        "since": "1970-01-01T00:00:00Z",
        "source": "api",
        "version": 1,
    }


def test_the_ranked_are_told_what_won_and_the_placed_why():
    found = explained(strategy(), customer())

    assert found[GOLD]["status"] == "placed" and found[GOLD]["reasons"][0] == "won_arbitration"
    assert found[TIPS]["reason"] == "outranked"
    assert found[TIPS]["winner"]["action"] == GOLD and found[TIPS]["winner"]["priority"] == found[GOLD]["priority"]


def test_what_stands_beside_is_named():
    found = explained(strategy(), customer(), "web.hero", "web.tile")

    assert found[GOLD]["reason"] == "placed_elsewhere"
    assert found[GOLD]["beside"] == {"placement": "web.hero", "action": GOLD}


def test_hidden_values_are_masked_and_missing_ones_stay_missing():
    hidden = frozenset({"customer.age"})

    young = explained(strategy(), customer(age=17), hidden=hidden)[GOLD]
    nobody = explained(strategy(), customer(age=None), hidden=hidden)[GOLD]
    shown = explained(strategy(), customer(age=17))[GOLD]

    assert young["values"] == {"customer.age": "masked"}
    assert nobody["values"] == {"customer.age": "missing"} and nobody["reason"] == "eligibility_unknown"
    assert shown["values"] == {"customer.age": 17}


def test_no_message_repeats_a_hidden_value():
    rule = "timestamp(customer.first_name) < now"
    files = {**FILES, "actions/loans.yaml": FILES["actions/loans.yaml"].replace('context.page == "loans"', rule)}
    bank = strategy({"actions/loans.yaml": files["actions/loans.yaml"]})

    found = explained(bank, customer(first_name="Ann"), hidden=frozenset({"customer.first_name"}))[LOAN]

    assert found["reason"] == "eligibility_unknown" and found["unknown_because"] == "masked"
    assert "Ann" not in str(found)


def test_a_value_of_the_moment_is_shown():
    found = explained(strategy(), customer(), page="cards")[LOAN]

    assert found["values"] == {"context.page": "cards"}


@given(
    times=some.lists(some.integers(0, 40), max_size=12).map(sorted),
    limit=some.integers(1, 4),
    window=some.integers(0, 12),
    hold=some.integers(0, 12),
    now=some.integers(40, 60),
)
def test_the_end_a_reader_is_told_is_the_end_of_the_hold(times, limit, window, hold, now):
    policy = ContactPolicy("p", "customer", frozenset({"impression"}), limit, window, hold, None, 1, "here")

    spans = [Span(time, time, 1) for time in times]

    restraint = restraint_of(policy, spans)

    assert is_holding(policy, spans, now_ms=now) == (restraint is not None and now < restraint.until_ms)
    assert restraint is None or times_within(policy, spans, restraint) >= limit
