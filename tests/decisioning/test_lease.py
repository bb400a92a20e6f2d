"""The lease: the same offer in every channel, until it ends. Each row of the table in docs/consistency.md is a test
here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from decisioning.customer import Interaction
from decisioning.interactions import DAY_MS
from decisioning.respond import Response, ended_by, respond
from tests.decisioning.bank import ALERT, FILES, GOLD, LOAN, SILVER, TIPS, ask, customer, later, shown, strategy

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


def answer(outcome, action, *, at_ms):
    return Response("r1", "C-1", outcome, action, ended_by(outcome, action, strategy()), at_ms, "web")


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
    answered = replace(after, state=respond(answer(outcome, GOLD, at_ms=after.now_ms), after.state))

    assert answered.state.lease == []
    assert answered.state.holds == {}


def test_an_impression_leaves_the_lease(bank):
    after = leased(bank)

    state = respond(answer("impression", GOLD, at_ms=after.now_ms), after.state)

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


def test_a_held_message_is_gated_by_its_own_rules(bank):
    strict = strategy(
        {
            "actions/brand.yaml": FILES["actions/brand.yaml"].replace(
                "    treatments:", '    eligibility: ["customer.tier == \\"classic\\""]\n    treatments:'
            )
        }
    )
    before = customer()
    message = ask(strict, before, propensities={"default": 0.0})
    after = later(before, message)
    assert shown(ask(strict, after, propensities={"default": 0.0}, decision_id="d2")) == [("message", TIPS)]

    after.profile.sources["crm"].attributes["tier"] = "gold"
    assert shown(ask(strict, after, propensities={"default": 0.0}, decision_id="d3")) == [("nothing", None)]


def test_a_held_message_is_held_whoever_else_is_not_allowed(bank):
    before = customer(age=17)
    first = ask(bank, before)
    assert shown(first) == [("message", TIPS)]

    assert ask(bank, later(before, first), decision_id="d2").placements[0].reasons == ["held"]


def test_consent_withdrawn_in_any_way_silences_a_held_message(bank):
    before = customer()
    after = later(before, ask(bank, before, propensities={"default": 0.0}))
    after.state.consents = customer(consents=[("web", "marketing", False)]).state.consents

    assert shown(ask(bank, after, propensities={"default": 0.0}, decision_id="d2")) == [("nothing", None)]


def test_a_service_message_speaks_through_a_held_silence(bank):
    before = customer(consents=[("web", "marketing", False)])
    silent = later(before, ask(bank, before))
    silent.profile.sources["core"].attributes["suspicious"] = True

    assert shown(ask(bank, silent, decision_id="d2")) == [("message", ALERT)]


def test_a_mandatory_action_speaks_through_lease_and_hold_and_is_drawn_once():
    urgent = strategy(
        {
            "actions/safety.yaml": FILES["actions/safety.yaml"].replace(
                "    purpose:", "    mandatory: true\n    purpose:"
            )
        }
    )
    promised = leased(urgent)
    promised.profile.sources["core"].attributes["suspicious"] = True

    first = ask(urgent, promised, "web.hero", "web.tile", decision_id="d2")
    assert shown(first) == [("message", ALERT), ("offer", GOLD)]
    assert "mandatory" in first.placements[0].reasons

    again = ask(urgent, later(promised, first), "web.hero", "web.tile", decision_id="d3")
    assert shown(again) == shown(first)
    assert again.placements[0].reasons == ["held"]


def test_one_per_group_holds_for_renders_too():
    sparing = strategy(
        {
            "placements.yaml": FILES["placements.yaml"].replace(
                "web.tile: {channel: web,", "web.tile: {channel: web, one_per_group: true,"
            )
        }
    )
    apart = ask(sparing, customer(), "web.tile", "web.hero")
    assert shown(apart) == [("offer", GOLD), ("offer", SILVER)]

    together = ask(sparing, later(customer(), apart), "web.hero", "web.tile", decision_id="d2")

    groups = [key.rpartition("/")[0] for _, key in shown(together) if key]
    assert len(groups) == len(set(groups))


def test_a_late_answer_leaves_what_was_promised_after_it(bank):
    after = leased(bank)

    state = respond(answer("converted", GOLD, at_ms=after.now_ms - 30 * DAY_MS), after.state)

    assert [entry.action for entry in state.lease] == [GOLD]


def test_a_conversion_ends_every_promise_of_the_same_product():
    both = strategy(
        {
            "actions/cards.yaml": FILES["actions/cards.yaml"].replace(
                "    action_value: 50.0", "    action_value: 50.0\n    product: P-GOLD"
            )
        }
    )

    assert ended_by("converted", GOLD, both) == {GOLD, SILVER}
    assert ended_by("accepted", GOLD, both) == {GOLD}
    assert ended_by("clicked", GOLD, both) == frozenset()


def test_a_policy_that_cannot_know_holds_back(bank):
    worn = customer()
    worn.state.complete_since_ms = worn.now_ms - DAY_MS
    worn.state.interactions.append(Interaction(worn.now_ms, "impression", TIPS, "web"))

    decision = ask(bank, worn)

    assert decision.drops["contact_policy"] >> bank.action_index[GOLD] & 1
