"""What decide answers, stage by stage."""

from __future__ import annotations

import math

import pytest

from decisioning.decide import decided, prepare
from decisioning.errors import UnknownChannel, UnknownPlacement
from decisioning.records import core_of
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from tests.decisioning.bank import (
    ALERT,
    FILES,
    GOLD,
    LOAN,
    PROPENSITIES,
    SILVER,
    TIPS,
    ask,
    customer,
    later,
    shown,
    strategy,
)


@pytest.fixture(scope="module")
def bank():
    return strategy()


def drops_of(bank, decision, action):
    bit = 1 << bank.action_index[action]
    return [reason for reason, mask in decision.drops.items() if mask & bit]


def test_the_offer_worth_most_wins_and_its_reasons_name_margin_and_runner_up(bank):
    decision = ask(bank, customer())

    (placed,) = decision.placements
    assert (placed.outcome, placed.action) == ("offer", GOLD)
    assert placed.priority == pytest.approx(0.2 * 100)
    assert placed.reasons == ["won_arbitration", "margin:15.0000", f"runner_up:{SILVER}"]
    assert placed.content == {"headline": "Gold, friend"}
    assert placed.selection_probability == 1.0


def test_who_is_asked_about_later_does_not_enter_the_decision(bank):
    promised = later(customer(), ask(bank, customer()))
    scorer = StatedScorer(bank, PROPENSITIES)
    filling = prepare(Request("C-1", "web", ("web.hero",), {}), promised, bank, scorer, decision_id="d")
    decision = decided(filling)
    drops = dict(decision.drops)

    filling.gated.drops_of_all()

    assert decision.drops == drops != filling.gated.drops


def test_two_placements_never_show_the_same_action(bank):
    decision = ask(bank, customer(), "web.hero", "web.tile")

    assert shown(decision) == [("offer", GOLD), ("offer", SILVER)]


def test_a_message_wins_where_no_offer_is_worth_as_much(bank):
    decision = ask(bank, customer(), propensities={"default": 0.001})

    assert shown(decision) == [("message", TIPS)]


def test_nothing_wins_where_nothing_is_worth_the_place(bank):
    decision = ask(bank, customer(consents=[("web", "marketing", True)], history=[]), propensities={"default": 0.0})
    assert shown(decision) == [("message", TIPS)]

    silent = ask(bank, customer(consents=[("web", "marketing", False)]))
    assert shown(silent) == [("nothing", None)]
    assert silent.placements[0].reasons == ["no_candidate"]


def test_a_missing_attribute_drops_the_action_as_unknown_not_as_a_no(bank):
    decision = ask(bank, customer(age=None))

    assert drops_of(bank, decision, GOLD) == ["eligibility_unknown"]
    assert shown(decision) == [("message", TIPS)]


def test_each_gate_names_itself(bank):
    assert drops_of(bank, ask(bank, customer(age=17)), GOLD) == ["eligibility"]
    assert drops_of(bank, ask(bank, customer(income=10.0)), GOLD) == ["suitability"]
    assert drops_of(bank, ask(bank, customer(history=[(3, "accepted", GOLD, "web")])), GOLD) == ["applicability"]
    assert drops_of(bank, ask(bank, customer(consents=[("web", "marketing", False)])), GOLD) == ["consent"]
    fatigued = customer(history=[(3, "selected", GOLD, "web"), (2, "selected", SILVER, "email")])
    assert drops_of(bank, ask(bank, fatigued), GOLD) == ["contact_policy"]


def test_a_service_message_may_speak_without_marketing_consent(bank):
    decision = ask(bank, customer(suspicious=True, consents=[("web", "marketing", False)]))

    assert shown(decision) == [("message", ALERT)]


def test_the_context_of_the_moment_opens_an_action(bank):
    decision = ask(bank, customer(), propensities={"default": 0.3}, context={"page": "loans"})

    assert decision.placements[0].action == GOLD
    assert not drops_of(bank, decision, LOAN)


def test_an_unknown_placement_names_those_of_the_channel(bank):
    with pytest.raises(UnknownPlacement, match=r"web\.hero, web\.tile"):
        ask(bank, customer(), "web.footer")
    with pytest.raises(UnknownChannel, match="email, web"):
        ask(bank, customer(), "fax.page")


def test_content_in_the_customers_language(bank):
    assert ask(bank, customer(language="hu")).placements[0].content == {"headline": "Arany"}
    assert ask(bank, customer(language="fr")).placements[0].content == {"headline": "Gold, friend"}


def test_the_same_inputs_give_the_same_decision(bank):
    first, second = (ask(bank, customer(), "web.hero", "web.tile") for _ in range(2))

    assert core_of(first.placements) == core_of(second.placements)


def test_the_holdout_gets_nothing_but_service(bank):
    held_out = strategy({"strategy.yaml": "name: s\ncurrency: EUR\ntimezone: UTC\nlanguages: [en, hu]\nranking: gross\n"
                         "holdout: {share: 1.0, salt: x, gets: nothing}\n"})  # fmt: skip

    decision = ask(held_out, customer())
    assert decision.holdout and shown(decision) == [("nothing", None)]
    assert decision.placements[0].reasons[0] == "holdout"
    assert decision.placements[0].selection_probability == 1.0
    assert shown(ask(held_out, customer(suspicious=True))) == [("message", ALERT)]


def test_the_random_arm_draws_evenly_among_the_eligible():
    drawing = strategy({"experiments.yaml": "always_on: {salt: a, arms: {random: 1.0}}"})
    counts: dict[str | None, int] = {}
    for number in range(600):
        decision = ask(drawing, customer(person=f"p{number}"))
        counts[decision.placements[0].action] = counts.get(decision.placements[0].action, 0) + 1
        assert decision.placements[0].selection_probability == pytest.approx(1 / 3)

    assert counts.keys() == {GOLD, SILVER, TIPS}
    assert all(150 < count < 250 for count in counts.values())


def test_equal_priorities_are_won_by_different_actions_for_different_people(bank):
    even = {GOLD: 0.1, SILVER: 0.2, "default": 0.0}
    winners = {ask(bank, customer(person=f"p{number}"), propensities=even).placements[0].action for number in range(40)}

    assert winners == {GOLD, SILVER}


def test_an_answer_is_named_as_the_reason_of_what_follows(bank):
    decision = ask(bank, customer(history=[(0.01, "accepted", GOLD, "email")]))

    assert decision.placements[0].action == SILVER
    assert f"answered:accepted:{GOLD}" in decision.placements[0].reasons


def test_a_draw_counts_and_a_render_does_not(bank):
    first = ask(bank, customer())
    again = ask(bank, later(customer(), first), decision_id="d2")

    assert first.state.draw_index == 1
    assert again.state.draw_index == 1
    assert [each.outcome for each in again.state.interactions] == ["selected"]


def test_no_product_of_weights_leaves_the_numbers_and_a_zero_suppresses():
    huge = "".join(f'      - {{when: "customer.age >= {age}", weight: 1.0e+6}}\n' for age in range(1, 62))
    weights = f'    context_weights:\n{huge}      - {{when: "customer.age >= 0", weight: 0.0}}\n'
    cards = FILES["actions/cards.yaml"].replace(
        "    contact_policies: [fatigue]\n", f"    contact_policies: [fatigue]\n{weights}", 1
    )

    decision = ask(strategy({"actions/cards.yaml": cards}), customer(age=80))

    assert shown(decision) == [("offer", SILVER)]
    assert all(math.isfinite(placed.priority) for placed in decision.placements)
