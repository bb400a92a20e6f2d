"""Laws of deciding: they hold for every strategy and customer, so they are tried on many."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle
from decisioning.consent import is_granted
from decisioning.decide import decide, prepare
from decisioning.records import Versions, core_of, open_record, record_of, replay
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from decisioning.store.packing import canonical, fresh_state, parsed
from rules import EvaluationError
from tests.decisioning.bank import ALERT, FILES, GOLD, LOAN, SILVER, TIPS, ask, customer, shown, strategy

ACTIONS = (GOLD, SILVER, LOAN, TIPS, ALERT)
BANK = strategy()
RANDOM_BANK = strategy({"experiments.yaml": "always_on: {salt: a, arms: {full: 0.5, random: 0.5}}"})
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
    for action in BANK.actions:
        if "consent" in [reason for reason, mask in filling.gated.drops.items() if mask >> action.index & 1]:
            continue
        verdict = naive_verdict(action, filling.moment.activation)
        dropped = [
            reason
            for reason, mask in filling.gated.drops.items()
            if mask >> action.index & 1 and reason != "contact_policy"
        ]
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
        prepare(request, customer(**who), bank, StatedScorer(bank, chance), decision_id="d").gated.reachable
        for bank in (BANK, tighter)
    )

    assert tight & ~loose == 0


@lawful
@given(questions, st.floats(1.0, 10.0))
def test_raising_an_actions_value_never_costs_it_the_place(question, factor):
    who, chance, names, context = question
    richer = strategy(
        {
            "actions/cards.yaml": FILES["actions/cards.yaml"].replace(
                "action_value: 100.0", f"action_value: {100.0 * factor!r}"
            )
        }
    )
    before, after = (
        shown(ask(bank, customer(**who), names[0], propensities=chance, context=context)) for bank in (BANK, richer)
    )

    if before == [("offer", GOLD)]:
        assert after == before


@lawful
@given(questions)
def test_no_action_stands_twice_in_one_answer(question):
    who, chance, names, context = question
    actions = [
        key for _, key in shown(ask(RANDOM_BANK, customer(**who), *names, propensities=chance, context=context)) if key
    ]

    assert len(actions) == len(set(actions))


@lawful
@given(questions)
def test_a_record_decides_again_to_the_last_digit(question):
    who, chance, names, context = question
    snapshot = customer(**who)
    snapshot.state.sealing_key = fresh_state().sealing_key
    request = Request("C-1", names[0].split(".")[0], names, context)
    scorer = StatedScorer(RANDOM_BANK, chance)
    decision = decide(request, snapshot, RANDOM_BANK, scorer, decision_id="000-1-ab")

    packed = record_of(decision, request, snapshot, RANDOM_BANK, Versions("s", "m"), key_id="k", owner="o")
    recorded = open_record(parsed(packed), snapshot.state.sealing_key, RANDOM_BANK)

    assert canonical(core_of(replay(recorded, RANDOM_BANK, scorer).placements)) == canonical(recorded.core)
    assert b"C-1" not in packed and b"first_name" not in packed
