"""A placement with a `count`: several actions, one below the other, down to the first nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from decisioning.decide import prepare
from decisioning.explain import explain
from decisioning.personas import failures
from decisioning.request import Request
from decisioning.respond import Response, ended_by, respond
from decisioning.scoring import StatedScorer
from decisioning.shadow import shadowed
from tests.decisioning.bank import (
    ALERT,
    FILES,
    GOLD,
    LOAN,
    NOW_MS,
    PROPENSITIES,
    SILVER,
    TIPS,
    ask,
    customer,
    later,
    shown,
    strategy,
)

LISTED = {
    path: text.replace("[web.hero, web.tile]", "[web.hero, web.tile, web.list]")
    for path, text in FILES.items()
    if path.startswith("actions/")
}
FIELDS = "{{headline: {{type: text}}}}"
LIST = f"web.list: {{{{channel: web, nothing_value: {{0}}, count: {{1}}, fields: {FIELDS}, fallback: brand}}}}\n"
PRECIOUS_TIPS = {"actions/brand.yaml": LISTED["actions/brand.yaml"].replace("0.8", "30.0")}
LOANS = {"page": "loans"}


def listing(count=3, *, nothing_value=0.5, changes=()):
    placements = FILES["placements.yaml"] + LIST.format(nothing_value, count)
    return strategy({**LISTED, "placements.yaml": placements, **dict(changes)})


@pytest.fixture(scope="module")
def bank():
    return listing()


def slots(decision):
    return [(placed.slot, placed.action) for placed in decision.placements]


def test_the_best_stand_below_each_other_in_order_of_priority(bank):
    decision = ask(bank, customer(), "web.list", context=LOANS)

    assert slots(decision) == [("web.list", GOLD), ("web.list#2", LOAN), ("web.list#3", SILVER)]
    assert [placed.rank for placed in decision.placements] == [1, 2, 3]
    assert {placed.placement for placed in decision.placements} == {"web.list"}


def test_nothing_ends_the_list_and_is_a_trial_of_its_own():
    decision = ask(listing(nothing_value=7.0), customer(), "web.list", context=LOANS)

    assert shown(decision) == [("offer", GOLD), ("offer", LOAN), ("nothing", None)]
    *_, last = decision.placements
    assert last.is_trial and last.selection_probability == 1.0
    assert set(decision.state.holds) == {"web.list#3"}


def test_a_list_is_the_same_when_it_is_loaded_again_and_is_no_new_trial(bank):
    first = ask(bank, customer(), "web.list", context=LOANS)

    again = ask(bank, later(customer(), first), "web.list", context=LOANS, decision_id="d2")

    assert shown(again) == shown(first)
    assert not any(placed.is_trial for placed in again.placements) and not again.changes_state


def test_a_message_that_stood_above_an_offer_stays_above_it():
    bank = listing(changes=PRECIOUS_TIPS)
    first = ask(bank, customer(), "web.list", propensities={GOLD: 0.2, "default": 0.0})
    assert slots(first) == [("web.list", TIPS), ("web.list#2", GOLD), ("web.list#3", None)]

    again = ask(bank, later(customer(), first), "web.list", decision_id="d2")

    assert slots(again) == slots(first) and not again.changes_state


def test_what_another_channel_leased_finds_room_in_a_list(bank):
    before = ask(bank, customer(), "web.list", propensities={"default": 0.0})
    assert slots(before) == [("web.list", TIPS), ("web.list#2", None)]
    mailed = ask(bank, later(customer(), before), "email.hero", decision_id="d2")

    after = ask(bank, later(later(customer(), before), mailed), "web.list", decision_id="d3")

    assert slots(after) == [("web.list", GOLD), ("web.list#2", None)]


def test_the_first_leased_offer_is_the_first_offer_whatever_the_priorities_are_now(bank):
    mailed = ask(bank, customer(), "email.hero", propensities={SILVER: 0.9})

    decision = ask(bank, later(customer(), mailed), "web.list", decision_id="d2")

    assert slots(decision)[:2] == [("web.list", SILVER), ("web.list#2", GOLD)]


def test_no_action_stands_twice_in_lists_and_placements_of_one_answer(bank):
    decision = ask(bank, customer(), "web.hero", "web.list", context=LOANS)

    assert slots(decision) == [("web.hero", GOLD), ("web.list", LOAN), ("web.list#2", SILVER), ("web.list#3", TIPS)]


def test_an_offer_that_cannot_be_shown_here_leaves_the_list_to_messages(bank):
    on_loans = ask(bank, customer(), "web.hero", context=LOANS, propensities={LOAN: 0.9})

    decision = ask(bank, later(customer(), on_loans), "web.list", decision_id="d2")

    assert shown(decision) == [("message", TIPS), ("nothing", None)]


def test_mandatory_actions_come_first_in_a_list(bank):
    mandatory = LISTED["actions/safety.yaml"].replace("purpose: service", "purpose: service\n    mandatory: true")
    bank = listing(changes={"actions/safety.yaml": mandatory})
    leased = later(customer(suspicious=True), ask(bank, customer(), "email.hero"))

    decision = ask(bank, leased, "web.list", decision_id="d2")
    again = ask(bank, later(leased, decision), "web.list", decision_id="d3")

    assert slots(decision) == [("web.list", ALERT), ("web.list#2", GOLD), ("web.list#3", SILVER)]
    assert slots(again) == slots(decision)


def test_after_an_answer_the_next_offer_moves_up(bank):
    first = later(customer(), ask(bank, customer(), "web.list", context=LOANS))
    rejected = Response("r1", "C-1", "rejected", GOLD, ended_by("rejected", GOLD, bank), first.now_ms, "web")
    first.state = respond(rejected, first.state)

    decision = ask(bank, first, "web.list", context=LOANS, decision_id="d2")

    assert [placed.action for placed in decision.placements][:2] == [LOAN, SILVER]


def test_one_per_group_holds_within_a_list():
    placements = FILES["placements.yaml"] + LIST.format(0.5, 3).replace("count", "one_per_group: true, count")
    bank = strategy({**LISTED, "placements.yaml": placements})

    decision = ask(bank, customer(), "web.list", context=LOANS)
    again = ask(bank, later(customer(), decision), "web.list", context=LOANS, decision_id="d2")

    assert slots(decision) == [("web.list", GOLD), ("web.list#2", LOAN), ("web.list#3", TIPS)]
    assert slots(again) == slots(decision)


def test_the_random_arm_draws_each_rank_for_itself():
    """If two ranks shared their hash, one draw would say how the next comes out."""
    bank = listing(changes={"experiments.yaml": "always_on: {salt: a, arms: {full: 0.0, random: 1.0}}"})
    pairs = Counter()
    for number in range(600):
        decision = ask(bank, customer(person=f"p{number}"), "web.list", context=LOANS)
        pairs[tuple(placed.action for placed in decision.placements[:2])] += 1
        assert [placed.selection_probability for placed in decision.placements] == [1 / 4, 1 / 3, 1 / 2]

    assert len(pairs) == 12  # four actions, one of them first, any other second
    assert min(pairs.values()) > 600 / 12 / 2


def test_exploration_draws_each_rank_with_what_is_left():
    strategy_text = FILES["strategy.yaml"] + "exploration: {sacrifice: 0.5}\n"
    bank = listing(changes={"strategy.yaml": strategy_text})
    counts = Counter()
    for number in range(300):
        decision = ask(bank, customer(person=f"p{number}"), "web.list", context=LOANS)
        actions = [placed.action for placed in decision.placements if placed.action]
        assert len(actions) == len(set(actions))
        assert None not in [placed.action for placed in decision.placements[:-1]]
        counts[len(decision.placements)] += 1

    assert set(counts) == {1, 2, 3}


def test_an_explanation_tells_every_rank(bank):
    request, scorer = Request("C-1", "web", ("web.list",), LOANS), StatedScorer(bank, PROPENSITIES)
    decision = ask(bank, customer(), "web.list", context=LOANS)
    filling = prepare(request, customer(), bank, scorer, decision_id="d1")

    entries = {(each["slot"], each["action"]): each for each in explain(filling, decision)}

    assert entries["web.list", GOLD]["status"] == "placed" and entries["web.list", LOAN]["status"] == "ranked"
    assert entries["web.list#2", LOAN]["status"] == "placed"
    assert entries["web.list#2", GOLD]["reason"] == "placed_elsewhere"
    assert entries["web.list#2", GOLD]["beside"] == {"placement": "web.list", "action": GOLD}


def test_a_limit_that_the_answer_itself_reached_is_told_with_its_count():
    cards = LISTED["actions/cards.yaml"].replace(
        "50.0\n    purpose: marketing\n", "50.0\n    purpose: marketing\n    contact_policies: [fatigue]\n"
    )
    bank = listing(changes={"actions/cards.yaml": cards})
    before = customer(history=[(3.0, "selected", SILVER, "web")])
    decision = ask(bank, before, "web.list")
    request = Request("C-1", "web", ("web.list",), {})
    filling = prepare(request, before, bank, StatedScorer(bank, PROPENSITIES), decision_id="d1")

    entries = {(each["slot"], each["action"]): each for each in explain(filling, decision)}

    stopped = entries["web.list#2", SILVER]
    assert slots(decision)[:2] == [("web.list", GOLD), ("web.list#2", TIPS)]
    assert stopped["reason"] == "contact_policy"
    assert [(each["policy"], each["count"]) for each in stopped["contact_policies"]] == [("fatigue", 2)]


def test_two_leased_offers_that_enter_a_channel_together_share_its_limit():
    mails = FILES["placements.yaml"] + LIST.format(0.5, 3).replace(
        "web.list: {channel: web", "email.list: {channel: email"
    )
    weekly = "{scope: customer, channel: email, outcomes: [selected], limit: 1, window_days: 7, hold_days: 0}"
    cards = FILES["actions/cards.yaml"].replace("[email.hero]", "[email.hero, email.list]")
    cards = cards.replace("[fatigue]", "[weekly]").replace(
        "50.0\n    purpose: marketing\n", "50.0\n    purpose: marketing\n    contact_policies: [weekly]\n"
    )
    policies = {"contact_policies.yaml": f"weekly: {weekly}\n"}
    bank = strategy({"placements.yaml": mails, "actions/cards.yaml": cards, **policies})
    leased = later(customer(), ask(bank, customer(), "web.hero", "web.tile"))
    assert [entry.action for entry in leased.state.lease] == [GOLD, SILVER]

    decision = ask(bank, leased, "email.list", decision_id="d2")

    assert slots(decision) == [("email.list", GOLD), ("email.list#2", None)]


def test_a_shadow_is_asked_about_every_rank(bank):
    request, scorer = Request("C-1", "web", ("web.list",), LOANS), StatedScorer(bank, {SILVER: 0.9, "default": 0.1})
    decision = ask(bank, customer(), "web.list", context=LOANS)
    filling = prepare(request, customer(), bank, scorer, decision_id="d1")

    found = [(each["rank"], each["first"]) for each in shadowed(filling, decision)]

    assert found == [(1, SILVER), (2, SILVER), (3, SILVER)]


PERSONA = """
name: rich
channel: web
placements: [web.list]
context: {page: loans}
customer: {age: 40, income: 3000.0}
propensities: {default: 0.1, grow/cards/gold: 0.2}
"""


def test_a_persona_expects_by_rank():
    met = "expect: {web.list: {outcome: offer, action: grow/cards/gold}, web.list#2: {outcome: offer}}"
    unmet = "expect: {web.list#2: {outcome: message}, web.list#3: {outcome: offer, action: grow/loans/loan}}"
    bank = listing(changes={"personas/a.yaml": PERSONA + met, "personas/b.yaml": PERSONA + unmet})
    short = listing(nothing_value=10.0, changes={"personas/b.yaml": PERSONA + unmet})

    assert [each.message.partition(",")[0] for each in failures(bank, now_ms=NOW_MS)] == [
        "web.list#2: expected outcome message",
        "web.list#3: expected action grow/loans/loan",
    ]
    assert [each.message.partition(",")[0] for each in failures(short, now_ms=NOW_MS)] == [
        "web.list#2: expected outcome message",
        "web.list#3: expected offer",
    ]
