"""Laws of deciding: they hold for every strategy and customer, so they are tried on many."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle
from decisioning.consent import is_granted
from decisioning.decide import decide, prepare
from decisioning.draws import and_nothing
from decisioning.draws import chances as chances_of
from decisioning.explain import ranks
from decisioning.placement import contenders_for
from decisioning.records import Versions, core_of, decision_record, open_record, replay
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from decisioning.store.packing import canonical, fresh_state, parsed
from rules import EvaluationError
from tests.decisioning.bank import (
    ALERT,
    FILES,
    GOLD,
    LOAN,
    PROPENSITIES,
    SILVER,
    TIPS,
    GivenScorer,
    ask,
    customer,
    shown,
    strategy,
)

ACTIONS = (GOLD, SILVER, LOAN, TIPS, ALERT)
BANK = strategy()
RANDOM_BANK = strategy({"experiments.yaml": "always_on: {salt: a, arms: {full: 0.5, random: 0.5}}"})
EXPLORING = FILES["strategy.yaml"] + "exploration: {sacrifice: 0.3, issues: [grow, nurture]}\n"
EXPLORING_BANK = strategy({"strategy.yaml": EXPLORING})
INCREMENTAL_BANK = strategy({"strategy.yaml": EXPLORING.replace("ranking: gross", "ranking: incremental")})
DRAWING_BANKS = {"random": RANDOM_BANK, "exploring": EXPLORING_BANK, "incremental": INCREMENTAL_BANK}
PLACEMENTS = [("web.hero",), ("web.hero", "web.tile"), ("web.tile", "web.hero"), ("email.hero",)]

interactions = st.tuples(
    st.floats(0, 30),
    st.sampled_from(["selected", "impression", "accepted", "rejected"]),
    st.sampled_from(ACTIONS),
    st.sampled_from(["web", "email"]),
)
people = st.fixed_dictionaries(
    {
        "person": st.integers(0, 10_000).map(str),
        "age": st.none() | st.integers(16, 90),
        "income": st.none() | st.floats(0, 5000),
        "suspicious": st.none() | st.booleans(),
        "language": st.sampled_from(["en", "hu", "de"]),
        "consents": st.lists(
            st.tuples(st.sampled_from(["web", "email"]), st.sampled_from(["marketing", "service"]), st.booleans()),
            max_size=4,
            unique_by=lambda each: each[:2],
        ),
        "history": st.lists(interactions, max_size=6).map(lambda rows: sorted(rows, reverse=True)),
    }
)
chances = st.fixed_dictionaries({action: st.floats(0, 1) for action in (GOLD, SILVER, LOAN)})
uplifts = st.fixed_dictionaries({action: st.floats(-1, 1) for action in (GOLD, SILVER, LOAN)})
drawing = st.sampled_from(sorted(DRAWING_BANKS)).map(DRAWING_BANKS.__getitem__)
pages = st.sampled_from([{}, {"page": "home"}, {"page": "loans"}])
questions = st.tuples(people, chances, st.sampled_from(PLACEMENTS), pages)
lawful = settings(max_examples=150, deadline=None)


@lawful
@given(questions)
def test_shuffling_files_changes_nothing(question):
    who, chance, names, context = question
    paths = list(FILES)
    random.Random(str(question)).shuffle(paths)
    shuffled = load_bundle({path: FILES[path].encode() for path in paths})

    first, second = (
        ask(bank, customer(**who), *names, propensities=chance, context=context) for bank in (BANK, shuffled)
    )

    assert core_of(first.placements) == core_of(second.placements)


@lawful
@given(questions)
def test_what_is_shown_passed_consent_and_every_rule(question):
    who, chance, names, context = question
    before = customer(**who)
    filling = prepare(
        Request("C-1", names[0].split(".")[0], names, context),
        before,
        BANK,
        StatedScorer(BANK, chance),
        decision_id="d",
    )
    for _, key in shown(ask(BANK, before, *names, propensities=chance, context=context)):
        if key is None:
            continue
        action = BANK.actions[BANK.action_index[key]]
        assert is_granted(BANK, before.state.consents, channel=names[0].split(".")[0], purpose=action.purpose)
        for gate in BANK.gates:
            for rule in gate.rules[action.index]:
                assert all(clause(filling.moment.activation) is True for clause in rule.clauses)


@lawful
@given(questions)
def test_a_gate_drops_exactly_what_the_naive_twin_drops(question):
    """One action at a time, one rule after the other, in the order the stages stand."""
    who, chance, names, context = question
    filling = prepare(
        Request("C-1", names[0].split(".")[0], names, context),
        customer(**who),
        BANK,
        StatedScorer(BANK, chance),
        decision_id="d",
    )
    drops = filling.gated.drops_of_all()
    for action in BANK.actions:
        if "consent" in [reason for reason, mask in drops.items() if mask >> action.index & 1]:
            continue
        verdict = naive_verdict(action, filling.moment.activation)
        dropped = [reason for reason, mask in drops.items() if mask >> action.index & 1 and reason != "contact_policy"]
        candidates = sum(
            1 << BANK.action_index[key]
            for key in ACTIONS
            if any(BANK.placements[name].candidates.mask >> BANK.action_index[key] & 1 for name in names)
        )
        if candidates >> action.index & 1:
            assert dropped == ([verdict] if verdict else [])


def naive_verdict(action, activation):
    for gate in BANK.gates:
        said = []
        for rule in gate.rules[action.index]:
            for clause in rule.clauses:
                try:
                    said.append(clause(activation))
                except EvaluationError:
                    said.append(None)
        if False in said:
            return gate.name
        if None in said:
            return f"{gate.name}_unknown"
    return None


@lawful
@given(questions)
def test_adding_a_contact_limit_never_lets_more_pass(question):
    who, chance, names, context = question
    tighter = replace(
        BANK, contact_policies=(*BANK.contact_policies, *(replace(each, limit=1) for each in BANK.contact_policies))
    )
    request = Request("C-1", names[0].split(".")[0], names, context)

    loose, tight = (
        prepare(request, customer(**who), bank, StatedScorer(bank, chance), decision_id="d").gated.all_reachable()
        for bank in (BANK, tighter)
    )

    assert tight & ~loose == 0


@lawful
@given(questions, st.floats(1.0, 10.0))
def test_raising_an_actions_value_never_costs_it_the_place(question, factor):
    who, chance, names, context = question
    before, after = (
        shown(ask(bank, customer(**who), names[0], propensities=chance, context=context))
        for bank in (BANK, with_gold_worth(BANK, factor))
    )

    if before == [("offer", GOLD)]:
        assert after == before


@lawful
@given(questions, uplifts, st.floats(1.0, 10.0), st.sampled_from([EXPLORING_BANK, INCREMENTAL_BANK]))
def test_raising_an_actions_value_lowers_neither_its_rank_nor_its_probability(question, added, factor, bank):
    who, chance, names, context = question
    standings = []
    for each in (bank, with_gold_worth(bank, factor)):
        filling = filled(each, who, GivenScorer(each, chance, optimism=0.1, uplifts=added), names, context)
        rank, _ = ranks(each.placements[names[0]].candidates, filling, {}).get(each.action_index[GOLD], (0, 0.0))
        standings.append((rank, probabilities_of(filling, names[0]).get(GOLD, 0.0)))

    (rank, probability), (rank_after, probability_after) = standings
    if bank.ranking == "gross" or added[GOLD] >= 0:
        assert rank_after <= rank
        assert probability_after >= probability - 1e-12


def with_gold_worth(bank, factor):
    worth = bank.worth.copy()
    worth[bank.action_index[GOLD]] *= factor
    return replace(bank, worth=worth)


def filled(bank, who, scorer, names, context):
    request = Request("C-1", names[0].split(".")[0], names, context)
    return prepare(request, customer(**who), bank, scorer, decision_id="d")


def probabilities_of(filling, name):
    """The probability of each contender of an empty answer's placement, and of nothing under None."""
    strategy, placement = filling.strategy, filling.strategy.placements[name]
    contenders, _ = contenders_for(filling, placement, filling.gated.all_reachable(), offers_open=True)
    at = and_nothing(contenders, strategy)
    probabilities = chances_of(filling, placement, strategy.exploration, at)
    keys = [strategy.actions[index].key for index in at[:-1]]
    return dict(zip([*keys, None], probabilities.tolist(), strict=True))


@lawful
@given(questions, uplifts, st.sampled_from([EXPLORING_BANK, INCREMENTAL_BANK]))
def test_probabilities_over_a_places_candidates_sum_to_one_and_the_logged_one_is_among_them(question, added, bank):
    who, chance, names, context = question
    scorer = GivenScorer(bank, chance, optimism=0.1, uplifts=added)
    filling = filled(bank, who, scorer, names, context)
    probabilities = probabilities_of(filling, names[0])

    first = ask(bank, customer(**who), *names, context=context, scorer=scorer).placements[0]

    assert abs(sum(probabilities.values()) - 1.0) < 1e-12 and min(probabilities.values()) >= 0.0
    if first.action == ALERT:
        assert first.selection_probability == 1.0  # a service message is no experiment
    else:
        assert first.selection_probability == probabilities[first.action] > 0.0


@lawful
@given(questions, drawing)
def test_deciding_leaves_no_trace_and_only_its_next_state_counts_the_draw(question, bank):
    """A dry run, or a commit that lost its race, is a decision whose next state is thrown away."""
    who, chance, names, context = question
    snapshot = customer(**who)

    first, second = (ask(bank, snapshot, *names, propensities=chance, context=context) for _ in range(2))

    assert core_of(first.placements) == core_of(second.placements)
    assert snapshot.state.draw_index == 0
    assert first.state.draw_index == 1


@lawful
@given(questions, uplifts, drawing)
def test_a_record_decides_again_to_the_last_digit(question, added, bank):
    who, chance, names, context = question
    snapshot = customer(**who)
    snapshot.state.sealing_key = fresh_state().sealing_key
    request = Request("C-1", names[0].split(".")[0], names, context)
    scorer = GivenScorer(bank, chance, optimism=0.1, uplifts=added)
    decision = decide(request, snapshot, bank, scorer, decision_id="000-1-ab")

    packed = decision_record(decision, request, snapshot, bank, Versions("s", "m"), key_id="k")
    recorded = open_record(parsed(packed), snapshot.state.sealing_key, bank)

    assert canonical(core_of(replay(recorded, bank, scorer).placements)) == canonical(recorded.core)
    assert b"C-1" not in packed and b"first_name" not in packed


@pytest.mark.parametrize("is_null", [True, False])
def test_a_record_that_is_older_than_a_field_decides_again_to_the_same(is_null):
    snapshot, scorer = customer(), StatedScorer(BANK, PROPENSITIES)
    snapshot.state.sealing_key = fresh_state().sealing_key
    request = Request("C-1", "web", ("web.hero",), {})
    decision = decide(request, snapshot, BANK, scorer, decision_id="000-1-ab")
    body = parsed(decision_record(decision, request, snapshot, BANK, Versions("s", "m"), key_id="k"))
    for holder, name in ((body, "offers_allowed"), (body, "sending"), (body["snapshot"], "quotas")):
        del holder[name]
        if is_null:
            holder[name] = None

    recorded = open_record(body, snapshot.state.sealing_key, BANK)

    assert (recorded.request, decision.placements[0].action) == (request, GOLD)
    assert canonical(core_of(replay(recorded, BANK, scorer).placements)) == canonical(recorded.core)
