"""Draws that explore: how often, among whom, with which probability on record; and ranking by what acting adds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import chi2

from decisioning.catalog.strategy import Strategy
from decisioning.decide import decide, prepare
from decisioning.draws import and_nothing, chances
from decisioning.explain import explain
from decisioning.personas import meet
from decisioning.placement import contenders_for
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from tests.decisioning.bank import (
    ALERT,
    FILES,
    GOLD,
    LOAN,
    NOW_MS,
    SILVER,
    TIPS,
    GivenScorer,
    ask,
    customer,
    later,
    shown,
    strategy,
)

WORTH = {GOLD: 0.1, SILVER: 0.18, LOAN: 0.11}  # 10.0, 9.0 and 8.8 euro
PEOPLE = 3_000


def exploring(settings: str = "{sacrifice: 0.2}", files: Mapping[str, str] = FILES) -> Strategy:
    return strategy({**files, "strategy.yaml": FILES["strategy.yaml"] + f"exploration: {settings}\n"})


def chances_of(bank: Strategy, who: Mapping[str, Any], propensities: Mapping[str, float]) -> dict[str | None, float]:
    """The probability of each action, and of nothing under None, in web.hero."""
    request = Request("C-1", "web", ("web.hero",), {"page": "loans"})
    filling = prepare(request, customer(**who), bank, StatedScorer(bank, propensities), decision_id="d")
    placement = bank.placements["web.hero"]
    contenders, _ = contenders_for(filling, placement, filling.gated.all_reachable(), offers_open=True)
    assert bank.exploration is not None
    at = and_nothing(contenders, bank)
    probabilities = chances(filling, placement, bank.exploration, at)
    keys = [bank.actions[index].key for index in at[:-1]]
    return dict(zip([*keys, None], probabilities.tolist(), strict=True))


def test_choices_are_as_frequent_as_the_probability_on_record_in_each_place():
    bank = exploring()
    expected = chances_of(bank, {}, WORTH)
    heroes: Counter[str | None] = Counter()
    tiles: dict[str | None, Counter[str | None]] = defaultdict(Counter)
    beside: dict[str | None, dict[str | None, float]] = defaultdict(dict)
    for number in range(PEOPLE):
        who = customer(person=f"p{number}")
        names, context = ("web.hero", "web.tile"), {"page": "loans"}
        hero, tile = ask(bank, who, *names, propensities=WORTH, context=context).placements
        assert hero.selection_probability == expected[hero.action]
        heroes[hero.action] += 1
        tiles[hero.action][tile.action] += 1
        beside[hero.action][tile.action] = tile.selection_probability

    assert fit(heroes, expected) > 0.01
    # The second place draws among what the first one left: its probabilities are others, and sum to one again.
    for taken in (GOLD, SILVER, LOAN):
        assert taken not in beside[taken] and sum(beside[taken].values()) == pytest.approx(1.0)
        assert fit(tiles[taken], beside[taken]) > 0.01


def fit(found: Counter[str | None], expected: Mapping[str | None, float]) -> float:
    """How often chance alone strays so far from the expected shares: the p-value of a chi-square test."""
    total = found.total()
    distance = sum((found[key] - total * share) ** 2 / (total * share) for key, share in expected.items())
    return float(chi2.sf(distance, len(expected) - 1))


def test_what_is_not_the_best_says_so_with_the_margin_and_the_mean_on_record():
    bank = exploring()
    scorer = GivenScorer(bank, WORTH, optimism=0.3)
    reasons = {}
    for number in range(400):
        (placed,) = ask(bank, customer(person=f"p{number}"), scorer=scorer).placements
        reasons[placed.action] = placed

    assert reasons[GOLD].reasons[:3] == ["won_arbitration", "margin:1.0000", f"runner_up:{SILVER}"]
    assert reasons[SILVER].reasons == ["explored", "margin:1.0000", f"instead_of:{GOLD}"]
    assert reasons[TIPS].reasons[0] == reasons[None].reasons[0] == "explored"
    assert reasons[SILVER].propensity == 0.18 and reasons[SILVER].priority == pytest.approx(9.0)
    assert reasons[None].priority == 0.5 and reasons[None].outcome == "nothing"
    assert all(0.0 < placed.selection_probability < 1.0 for placed in reasons.values())


def test_who_is_uncertain_is_tried_more_often():
    bank = exploring()
    sure = chances_of(bank, {}, WORTH)[SILVER]
    unsure = GivenScorer(bank, WORTH, optimistic={SILVER: 0.25})  # 12.5 euro, more than what gold is surely worth
    found = [ask(bank, customer(person=f"p{number}"), scorer=unsure).placements[0] for number in range(300)]

    tried = [placed for placed in found if placed.action == SILVER]
    assert len(tried) > 150 and tried[0].selection_probability > 2 * sure
    assert tried[0].reasons[0] == "explored" and tried[0].propensity == 0.18


def test_an_offer_that_is_new_gets_its_floor_and_a_message_never_counts_as_new():
    bank = exploring("{sacrifice: 0.001, launch_share: 0.02}")
    propensities = {GOLD: 0.9, "default": 0.0}

    def share(launches: list[str]) -> float:
        request = Request("C-1", "web", ("web.hero",), {})
        scorer = GivenScorer(bank, propensities, launches=launches)
        filling = prepare(request, customer(), bank, scorer, decision_id="d")
        placement = bank.placements["web.hero"]
        contenders, _ = contenders_for(filling, placement, filling.gated.all_reachable(), offers_open=True)
        at = and_nothing(contenders, bank)
        probabilities = chances(filling, placement, bank.exploration, at)
        index = at.tolist()
        return float(probabilities[index.index(bank.action_index[SILVER])])

    assert share([]) < 0.001 and share([SILVER]) == pytest.approx(0.02)


def test_places_and_issues_that_are_left_out_do_not_explore():
    elsewhere = exploring("{sacrifice: 0.5, placements: [web.tile]}")
    loans = FILES["actions/loans.yaml"].replace("issue: grow", "issue: nurture")
    nurturing = exploring("{sacrifice: 0.5, issues: [nurture]}", {"actions/loans.yaml": loans})

    for number in range(200):
        (placed,) = ask(elsewhere, customer(person=f"p{number}"), propensities=WORTH).placements
        assert (placed.action, placed.selection_probability) == (GOLD, 1.0)
        (placed,) = ask(nurturing, customer(person=f"p{number}"), propensities=WORTH).placements
        assert placed.action != SILVER


def test_a_service_message_that_is_worth_most_is_shown_and_one_that_is_not_is_never_tried():
    bank = exploring("{sacrifice: 0.5}")
    alert_wins, alert_loses = {GOLD: 0.1}, {GOLD: 0.9}

    for number in range(200):
        who = customer(person=f"p{number}", suspicious=True)
        (placed,) = ask(bank, who, propensities=alert_wins).placements
        assert (placed.action, placed.selection_probability) == (ALERT, 1.0)
        (placed,) = ask(bank, who, propensities=alert_loses).placements
        assert placed.action != ALERT


def test_what_was_never_in_doubt_has_probability_one():
    held_out = exploring("{}\nholdout: {share: 1.0, salt: x, gets: nothing}")
    mandatory = FILES["actions/cards.yaml"].replace(
        "    kind: offer\n    action_value: 50", "    mandatory: true\n    kind: offer\n    action_value: 50"
    )
    bound = exploring("{sacrifice: 0.5}", {"actions/cards.yaml": mandatory})

    for number in range(50):
        assert ask(held_out, customer(person=f"p{number}")).placements[0].selection_probability == 1.0
        (placed,) = ask(bound, customer(person=f"p{number}"), propensities=WORTH).placements
        assert (placed.action, placed.selection_probability) == (SILVER, 1.0)


def test_a_render_of_what_was_explored_is_no_trial():
    bank = exploring()
    before = customer(person="p2")
    first = ask(bank, before, propensities=WORTH)
    again = ask(bank, later(before, first), propensities=WORTH, decision_id="d2")

    assert shown(again) == shown(first)
    assert again.placements[0].selection_probability is None and again.placements[0].lease_of == "d1"


def test_who_cannot_be_shown_takes_no_part():
    nameless = FILES["actions/cards.yaml"].replace("Silver", "{{ customer.first_name }}")
    bank = exploring("{sacrifice: 0.5}", {"actions/cards.yaml": nameless})
    known, unknown = customer(first_name="Ann"), customer()

    assert bank.placements["web.hero"].candidates.unsure_mask == 1 << bank.action_index[SILVER]
    for number in range(100):
        (placed,) = (decision := ask(bank, customer(person=f"p{number}"), propensities=WORTH)).placements
        assert placed.action != SILVER
        assert decision.placement_drops["web.hero"]["content_unknown"] == 1 << bank.action_index[SILVER]
    sure, unsure = (ask(bank, who, propensities={GOLD: 0.9}).placements[0] for who in (known, unknown))
    assert sure.selection_probability < unsure.selection_probability


def test_the_next_draw_of_the_same_person_is_another_one():
    bank = exploring("{sacrifice: 0.5}")
    snapshot = customer()
    drawn = set()
    for index in range(40):
        state = replace(snapshot.state, draw_index=index)
        drawn.add(ask(bank, replace(snapshot, state=state), propensities=WORTH).placements[0].action)

    assert len(drawn) > 2


def test_an_answer_after_two_lost_races_explores_nothing():
    bank = exploring("{sacrifice: 0.5}")
    request = Request("C-1", "web", ("web.hero",), {}, offers_allowed=False)

    for number in range(50):
        scorer = StatedScorer(bank, WORTH)
        (placed,) = decide(request, customer(person=f"p{number}"), bank, scorer, decision_id="d").placements
        assert (placed.action, placed.selection_probability) == (TIPS, 1.0)


def test_an_explanation_says_how_likely_each_one_was():
    bank = exploring()
    request = Request("C-1", "web", ("web.hero",), {})
    scorer = StatedScorer(bank, WORTH)
    snapshots = [customer(person=f"p{number}") for number in range(60)]
    decisions = [(each, decide(request, each, bank, scorer, decision_id="d")) for each in snapshots]
    snapshot, decision = next(pair for pair in decisions if pair[1].placements[0].action == SILVER)

    filling = prepare(request, snapshot, bank, scorer, decision_id="d")
    entries = {entry["action"]: entry for entry in explain(filling, decision)}

    stood = [each["selection_probability"] for each in entries.values() if each["status"] != "dropped"]
    assert entries[SILVER]["selection_probability"] == decision.placements[0].selection_probability
    assert 0.0 < 1.0 - sum(stood) < 0.1  # the rest is that of staying silent
    assert entries[GOLD]["reason"] == entries[TIPS]["reason"] == "explored"
    assert entries[GOLD]["winner"]["action"] == SILVER


def test_a_persona_meets_no_exploration():
    persona = "name: {0}\ncustomer: {{age: 40, income: 3000.0}}\nchannel: web\nplacements: [web.hero]\n"
    persona += "propensities: {{default: 0.1}}\nexpect: {{}}\n"
    files = {f"personas/p{number}.yaml": persona.format(f"p{number}") for number in range(20)}
    bank = exploring("{sacrifice: 0.5}", files)

    for each in bank.personas:
        (placed,) = meet(each, bank, now_ms=NOW_MS).placements
        assert (placed.action, placed.selection_probability) == (GOLD, 1.0)


@pytest.mark.parametrize(
    ("holdout", "experiments", "expected"),
    [
        ("", "", {1.0}),
        ("holdout: {share: 0.25, salt: x, gets: nothing}\n", "", {0.25, 0.75}),
        ("", "always_on: {salt: a, arms: {full: 0.6, random: 0.4}}", {0.6, 0.4}),
        (
            "holdout: {share: 0.5, salt: x, gets: nothing}\n",
            "a: {salt: a, arms: {full: 0.8, random: 0.2}}\nb: {salt: b, arms: {full: 0.5, random: 0.5}}",
            {0.5 * 0.8 * 0.5, 0.5 * 0.2 * 0.5},
        ),
    ],
)
def test_a_decision_says_how_likely_its_arms_were(holdout, experiments, expected):
    files = {"strategy.yaml": FILES["strategy.yaml"] + holdout}
    bank = strategy(files | ({"experiments.yaml": experiments} if experiments else {}))

    found = {round(ask(bank, customer(person=f"p{number}")).arm_probability, 12) for number in range(80)}

    assert found == {round(each, 12) for each in expected}


def incremental(more: str = "") -> Strategy:
    return strategy({"strategy.yaml": FILES["strategy.yaml"].replace("gross", "incremental") + more})


def test_an_incremental_strategy_ranks_by_what_acting_adds():
    uplifts = {GOLD: 0.01, SILVER: 0.04, LOAN: -0.1}

    bank = incremental()
    (placed,) = ask(bank, customer(), scorer=GivenScorer(bank, WORTH, uplifts=uplifts)).placements
    (gross,) = ask(strategy(), customer(), scorer=GivenScorer(bank, WORTH, uplifts=uplifts)).placements

    assert (placed.action, placed.priority, placed.uplift) == (SILVER, pytest.approx(2.0), 0.04)
    assert placed.propensity == 0.18 and placed.expected_value == pytest.approx(2.0)
    assert (gross.action, gross.uplift) == (GOLD, None)


def test_where_acting_only_disturbs_a_message_or_silence_wins():
    bank = incremental()
    worse = GivenScorer(bank, WORTH, uplifts={GOLD: -0.05, SILVER: -0.01})

    (message,) = ask(bank, customer(), scorer=worse).placements
    (silence,) = ask(bank, customer(consents=[("web", "marketing", False)]), scorer=worse).placements

    assert (message.action, message.priority, message.uplift) == (TIPS, pytest.approx(0.8), None)
    assert silence.outcome == "nothing"


def test_a_negative_uplift_is_tried_less_often_than_silence():
    bank = incremental("exploration: {sacrifice: 0.5}")
    scorer = GivenScorer(bank, WORTH, uplifts={GOLD: 0.1, SILVER: -0.2})
    found = Counter(
        ask(bank, customer(person=f"p{number}"), scorer=scorer).placements[0].action for number in range(600)
    )

    assert found[GOLD] > found[None] > found[SILVER] > 0
