"""The lease: the same offer in every channel, until it ends. Each row of the table in docs/consistency.md is a test
here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from decisioning.respond import Response, respond
from tests.decisioning.bank import FILES, GOLD, LOAN, SILVER, TIPS, ask, customer, later, shown, strategy

SILVER_ALONE = """
issue: grow
group: cards
actions:
  silver:
    kind: offer
    action_value: 50.0
    purpose: marketing
    contact_policies: [fatigue]
    treatments:
      web: {placements: [web.hero], content: {headline: Silver}}
"""


@pytest.fixture(scope="module")
def bank():
    return strategy()


def leased(bank, **attributes):
    """A customer who was offered gold on the web a minute ago."""
    before = customer(**attributes)
    return later(before, ask(bank, before))


def test_another_channel_shows_the_leased_offer_even_when_it_would_not_win_there(bank):
    decision = ask(bank, leased(bank), "email.hero", propensities={SILVER: 0.9}, decision_id="d2")

    assert shown(decision) == [("offer", GOLD)]
    assert decision.placements[0].reasons == ["lease"]
    assert decision.placements[0].lease_of == "d1"
    assert decision.placements[0].selection_probability is None


def test_a_channel_that_cannot_show_it_shows_a_message_never_a_competing_offer(bank):
    on_web = ask(bank, customer(), context={"page": "loans"}, propensities={LOAN: 0.9})
    assert shown(on_web) == [("offer", LOAN)]

    decision = ask(bank, later(customer(), on_web), "email.hero", propensities={GOLD: 0.9}, decision_id="d2")

    assert shown(decision) == [("message", TIPS)]


def test_a_gate_that_reads_the_context_silences_one_render_and_keeps_the_lease(bank):
    on_web = ask(bank, customer(), context={"page": "loans"}, propensities={LOAN: 0.9})
    after = later(customer(), on_web)

    elsewhere = ask(bank, after, context={"page": "home"}, decision_id="d2")
    assert shown(elsewhere) == [("message", TIPS)]

    back = ask(bank, later(after, elsewhere), context={"page": "loans"}, decision_id="d3")
    assert shown(back) == [("offer", LOAN)]
    assert back.placements[0].lease_of == "d1"


def test_a_no_on_the_customers_own_facts_ends_the_lease_and_says_so(bank):
    poorer = leased(bank)
    poorer.profile.sources["core"].attributes["income"] = 10.0

    decision = ask(bank, poorer, decision_id="d2")

    assert shown(decision) == [("offer", SILVER)]
    assert f"lease_ended:{GOLD}:suitability" in decision.placements[0].reasons


def test_a_missing_fact_silences_and_keeps_the_lease(bank):
    unknown = leased(bank)
    del unknown.profile.sources["core"].attributes["income"]

    decision = ask(bank, unknown, decision_id="d2")

    assert shown(decision) == [("message", TIPS)]
    assert [entry.action for entry in decision.state.lease] == [GOLD]


def test_withdrawn_consent_silences_its_channel_only(bank):
    after = leased(bank)
    after = replace(
        after, state=replace(after.state, consents=customer(consents=[("email", "marketing", False)]).state.consents)
    )

    assert shown(ask(bank, after, "email.hero", decision_id="d2")) == [("nothing", None)]
    assert shown(ask(bank, after, "web.hero", decision_id="d3")) == [("offer", GOLD)]


def test_the_lease_ends_with_its_time(bank):
    before = customer()
    decision = ask(bank, later(before, ask(bank, before), minutes=61), propensities={SILVER: 0.9}, decision_id="d2")

    assert shown(decision) == [("offer", SILVER)]
    assert decision.placements[0].lease_of is None


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "converted"])
def test_an_answer_ends_it_in_every_channel(bank, outcome):
    after = leased(bank)
    answered = replace(after, state=respond(Response("r1", "C-1", outcome, GOLD, after.now_ms, "web"), after.state))

    assert answered.state.lease == []
    assert answered.state.holds == {}


def test_an_impression_leaves_the_lease(bank):
    after = leased(bank)

    state = respond(Response("r1", "C-1", "impression", GOLD, after.now_ms, "web"), after.state)

    assert state.lease == after.state.lease
    assert state.interactions[-1].outcome == "impression"


def test_further_offers_stand_beside_the_first_in_order(bank):
    after = leased(bank)

    both = ask(bank, after, "web.hero", "web.tile", decision_id="d2")
    assert shown(both) == [("offer", GOLD), ("offer", SILVER)]
    assert [(entry.action, entry.decision_id) for entry in both.state.lease] == [(GOLD, "d1"), (SILVER, "d2")]

    again = ask(bank, later(after, both), "web.tile", "web.hero", decision_id="d3")
    assert shown(again) == [("offer", GOLD), ("offer", SILVER)]


def test_a_message_holds_in_its_placement_and_yields_to_an_offer(bank):
    before = customer()
    message = ask(bank, before, "web.hero", propensities={"default": 0.0})
    assert shown(message) == [("message", TIPS)]

    after = later(before, message)
    assert ask(bank, after, "web.hero", decision_id="d2").placements[0].reasons == ["held"]

    mailed = ask(bank, after, "email.hero", decision_id="d3")
    assert shown(mailed) == [("offer", GOLD)]
    assert shown(ask(bank, later(after, mailed), "web.hero", decision_id="d4")) == [("offer", GOLD)]


def test_a_page_looks_the_same_when_it_is_loaded_again(bank):
    precious_tips = strategy({"actions/brand.yaml": FILES["actions/brand.yaml"].replace("0.8", "30.0")})

    first = ask(precious_tips, customer(), "web.hero", "web.tile")
    assert shown(first) == [("message", TIPS), ("offer", GOLD)]

    again = ask(precious_tips, later(customer(), first), "web.hero", "web.tile", decision_id="d2")
    assert shown(again) == shown(first)


def test_nothing_holds_as_a_message_does(bank):
    before = customer(consents=[("web", "marketing", False)])
    silent = ask(bank, before)
    permitted = later(before, silent)
    permitted.state.consents.clear()

    assert ask(bank, permitted, decision_id="d2").placements[0].reasons == ["held"]


def test_an_action_that_left_the_strategy_ends_its_lease(bank):
    after = leased(bank)
    without = strategy({"actions/cards.yaml": SILVER_ALONE})

    decision = ask(without, after, decision_id="d2")

    assert shown(decision) == [("offer", SILVER)]
    assert f"lease_ended:{GOLD}:withdrawn" in decision.placements[0].reasons


def test_offers_that_are_not_allowed_leave_messages_and_what_is_leased(bank):
    from decisioning.decide import decide
    from decisioning.request import Request
    from decisioning.scoring import StatedScorer

    scorer = StatedScorer(bank, {"default": 0.5})
    request = Request("C-1", "web", ("web.hero", "web.tile"), {}, offers_allowed=False)

    assert shown(decide(request, customer(), bank, scorer, decision_id="d2")) == [("message", TIPS), ("nothing", None)]
    assert shown(decide(request, leased(bank), bank, scorer, decision_id="d2")) == [("offer", GOLD), ("message", TIPS)]
