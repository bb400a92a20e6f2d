"""Asking little and asking all: who is asked about, and when, changes no answer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Holdout
from decisioning.decide import decided, prepare
from decisioning.explain import explain
from decisioning.records import core_of
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from decisioning.store.packing import canonical
from tests.decisioning.bank import ALERT, GOLD, PROPENSITIES, TIPS, customer, later, strategy
from tests.decisioning.test_lease import leased
from tests.decisioning.test_limit_laws import ASKED, asked, files_of, limits, questions, stocked

RANDOM = {"experiments.yaml": "always_on: {salt: a, arms: {full: 0.5, random: 0.5}}"}
apart = st.sampled_from(["nobody", "holdout", "random"])
masks = st.lists(st.integers(0, 31), max_size=6)
calls = st.lists(st.tuples(st.sampled_from(ASKED), st.sampled_from([{}, {"page": "loans"}])), min_size=2, max_size=4)
lawful = settings(max_examples=60, deadline=None)


@cache
def bank_of(limit, apart, is_mandatory):
    files = files_of(*limit) | (RANDOM if apart == "random" else {})
    if is_mandatory:
        path = "actions/safety.yaml"
        files[path] = files[path].replace("purpose: service", "purpose: service\n    mandatory: true")
    bank = load_bundle({path: text.encode() for path, text in files.items()})
    return replace(bank, holdout=Holdout(0.5, "h")) if apart == "holdout" else bank


class CountingScorer(StatedScorer):
    """Counts how often it is asked."""

    asked = 0

    def scores(self, values):
        self.asked += 1
        return super().scores(values)


def told(decision):
    """Everything an answer changes or says."""
    placed = core_of(decision.placements), [each.content for each in decision.placements]
    return canonical([*placed, decision.state, decision.changes_state, decision.movements, decision.placement_drops])


@lawful
@given(questions, limits, apart, st.booleans(), st.integers(0, 2), calls)
def test_an_answer_that_asks_little_is_the_one_that_asked_all(question, limit, apart, is_mandatory, units, calls):
    """Over several renders, in which leases and holds speak."""
    bank = bank_of(limit, apart, is_mandatory)
    first, snapshot = asked(question)
    scorer = StatedScorer(bank, question[1])
    further = [Request("C-1", names[0].split(".")[0], names, context) for names, context in calls]
    for turn, request in enumerate([first, *further, replace(further[0], offers_allowed=False)]):
        snapshot = stocked(snapshot, bank, units)
        little, everything = (prepare(request, snapshot, bank, scorer, decision_id=f"d{turn}") for _ in range(2))
        assert everything.gated.drops_of_all() is everything.gated.drops
        assert everything.appraisal.priority.size == len(bank.actions)

        decision, again = decided(little), decided(everything)

        assert told(decision) == told(again)
        assert all(mask & ~again.drops.get(reason, 0) == 0 for reason, mask in decision.drops.items())
        explained = [
            explain(prepare(request, snapshot, bank, scorer, decision_id=f"d{turn}"), each)
            for each in (decision, again)
        ]
        assert canonical(explained[0]) == canonical(explained[1])
        snapshot = later(snapshot, decision)


@lawful
@given(questions, limits, st.integers(0, 2), masks, masks)
def test_candidates_pass_alike_in_whatever_company_they_are_asked(question, limit, units, allowed, reachable):
    bank = bank_of(limit, "nobody", False)
    request, snapshot = asked(question)
    snapshot, scorer = stocked(snapshot, bank, units), StatedScorer(bank, question[1])
    whole, bit_by_bit = (prepare(request, snapshot, bank, scorer, decision_id="d").gated for _ in range(2))
    passed, reached = whole.allowed(whole.candidates), whole.all_reachable()

    for rules_first, limits_first in zip(allowed, reachable, strict=False):
        assert bit_by_bit.allowed(rules_first) == rules_first & passed
        assert bit_by_bit.reachable(limits_first) == limits_first & reached

    assert bit_by_bit.all_reachable() == reached
    assert bit_by_bit.drops_of_all() == whole.drops
    assert passed | sum(whole.drops.values()) == whole.candidates | sum(
        mask for reason, mask in whole.drops.items() if reason.startswith(("contact", "volume"))
    )


def test_a_promise_is_shown_again_without_a_look_at_anybody_else():
    bank = strategy()
    after, scorer = leased(bank), CountingScorer(bank, PROPENSITIES)
    filling = prepare(Request("C-1", "web", ("web.hero",), {}), after, bank, scorer, decision_id="d2")

    decision = decided(filling)

    assert [(each.action, each.reasons) for each in decision.placements] == [(GOLD, ["lease"])]
    assert (decision.drops, scorer.asked) == ({}, 0)
    assert "eligibility" in filling.gated.drops_of_all()


def test_several_placements_are_scored_once():
    bank = strategy()
    scorer = CountingScorer(bank, PROPENSITIES)
    request = Request("C-1", "web", ("web.hero", "web.tile"), {})

    decision = decided(prepare(request, customer(), bank, scorer, decision_id="d1"))

    assert (len(decision.placements), scorer.asked) == (2, 1)
    assert decision.drops["eligibility"] == 1 << bank.action_index[ALERT]


def test_what_a_placement_holds_is_the_only_one_asked_about():
    bank = strategy()
    before, scorer = customer(), CountingScorer(bank, {"default": 0.0})
    request = Request("C-1", "web", ("web.hero",), {})
    message = decided(prepare(request, before, bank, scorer, decision_id="d1"))

    again = decided(prepare(request, later(before, message), bank, scorer, decision_id="d2"))

    assert [(each.action, each.reasons) for each in again.placements] == [(TIPS, ["held"])]
    assert (again.drops, scorer.asked) == ({}, 1)
