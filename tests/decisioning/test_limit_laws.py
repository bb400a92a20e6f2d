"""Laws of limits: contact policies, budgets, lists and quiet hours of every kind, tried on many customers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle
from decisioning.decide import decide, prepare
from decisioning.records import Versions, core_of, decision_record, open_record, replay
from decisioning.request import NOTHING, Request
from decisioning.scoring import StatedScorer
from decisioning.store.packing import canonical, fresh_state, parsed
from tests.decisioning.bank import FILES, NOW_MS, customer
from tests.decisioning.test_laws import EXPLORING, chances, pages, people

ASKED = [("web.hero",), ("web.hero", "web.tile"), ("web.list", "web.hero"), ("web.list",), ("email.hero",)]
SCOPES = ["action", "group", "issue", "channel", "customer"]
OFFERS = ("actions/cards.yaml", "actions/loans.yaml")

policies = st.tuples(st.sampled_from(SCOPES), st.integers(1, 2), st.sampled_from([None, "web", "email"]))
budgets = st.tuples(st.sampled_from(["action", "group", "channel", "all"]), st.sampled_from(["selected", "accepted"]))
limits = st.tuples(st.none() | policies, st.none() | budgets, st.booleans())
buyers = people.map(lambda who: who | {"age": 40, "income": 3000.0, "consents": []})
questions = st.tuples(buyers | buyers | people, chances, st.sampled_from(ASKED), pages, st.booleans())
lawful = settings(max_examples=50, deadline=None)


def files_of(policy, budget, explores):
    """The bank with a list, a night, and for all its offers the policy and the budget."""
    text = dict(FILES) | ({"strategy.yaml": EXPLORING} if explores else {})
    text["placements.yaml"] += (
        text["placements.yaml"].splitlines()[1].replace("web.hero", "web.list").replace("channel", "count: 3, channel")
    )
    text["channels.yaml"] = text["channels.yaml"].replace(
        "lease_minutes: 240", 'lease_minutes: 240, quiet_days: [monday, tuesday], quiet_hours: ["12:00", "15:00"]'
    )
    for path in text:
        text[path] = text[path].replace("[web.hero, web.tile]", "[web.hero, web.tile, web.list]")
    named = ["fatigue"]
    if policy is not None:
        scope, limit, channel = policy
        only = "" if channel is None else f", channel: {channel}"
        text["contact_policies.yaml"] += (
            f"more: {{scope: {scope}, outcomes: [selected], limit: {limit}, window_days: 7, hold_days: 7{only}}}\n"
        )
        named.append("more")
    if budget is not None:
        scope, spend_on = budget
        text["volume_constraints.yaml"] = (
            f"budget: {{limit: 9, unit: number, scope: {scope}, period: total, spend_on: {spend_on}}}\n"
        )
    for path in OFFERS:
        text[path] = (
            text[path]
            .replace("    contact_policies: [fatigue]\n", "")
            .replace(
                "    purpose: marketing\n",
                f"    purpose: marketing\n    contact_policies: [{', '.join(named)}]\n"
                + ("    volume_constraints: {budget: 1}\n" if budget is not None else ""),
            )
        )
    return text


@cache
def bank_of(policy, budget, explores):
    return load_bundle({path: text.encode() for path, text in files_of(policy, budget, explores).items()})


def asked(question):
    """The request and the customer of a question."""
    who, _, names, context, sending = question
    channel = names[0].split(".")[0]
    return Request("C-1", channel, names, context, sending=sending and channel == "email"), customer(**who)


def stocked(snapshot, bank, units):
    """The customer, in a partition that has so many units of every budget."""
    constraint = next(iter(bank.volume_constraints), None)
    if constraint is None:
        return snapshot
    names = [f"budget@{channel}" for channel in bank.channels] + ["budget"]
    names += [f"budget@{share.key}" for share in constraint.shares if share.key]
    return replace(snapshot, quotas=dict.fromkeys(names, units))


def decided(question, bank, units=9):
    request, snapshot = asked(question)
    return decide(request, stocked(snapshot, bank, units), bank, StatedScorer(bank, question[1]), decision_id="d")


@lawful
@given(questions, limits, st.integers(0, 2))
def test_a_further_limit_never_lets_more_through(question, limit, units):
    request, snapshot = asked(question)
    loose, tight = bank_of(None, None, limit[2]), bank_of(*limit)

    reached = [
        prepare(request, stocked(snapshot, bank, units), bank, StatedScorer(bank, question[1]), decision_id="d").gated
        for bank in (loose, tight)
    ]

    assert reached[1].all_reachable() & ~reached[0].all_reachable() == 0
    assert reached[1].allowed(reached[1].candidates) == reached[0].allowed(reached[0].candidates)


@lawful
@given(questions, limits)
def test_no_action_stands_twice_and_ranks_go_down_to_the_first_nothing(question, limit):
    bank = bank_of(*limit)

    placed = decided(question, bank).placements

    actions = [each.action for each in placed if each.action is not None]
    assert len(actions) == len(set(actions))
    for name in question[2]:
        here = [each for each in placed if each.placement == name]
        assert [each.rank for each in here] == list(range(1, len(here) + 1))
        assert 1 <= len(here) <= bank.placements[name].count
        assert NOTHING not in [each.outcome for each in here[:-1]]


@lawful
@given(questions, limits, st.integers(0, 2))
def test_an_answer_takes_no_more_of_a_budget_than_there_is(question, limit, units):
    bank = bank_of(*limit)

    taken = Counter()
    for movement in decided(question, bank, units).movements:
        taken[movement.budget] += movement.units

    assert all(each <= units for each in taken.values())


@lawful
@given(questions, limits)
def test_what_is_sent_on_a_quiet_day_is_nothing_and_the_same_question_unsent_is_not_held(question, limit):
    bank = bank_of(*limit)
    request, snapshot = asked(question)
    scorer = StatedScorer(bank, question[1])

    night, day = (
        decide(replace(request, sending=sending), snapshot, bank, scorer, decision_id="d")
        for sending in (request.sending, False)
    )

    if request.sending:
        assert [(each.outcome, each.reasons) for each in night.placements] == [(NOTHING, ["quiet_hours"])]
        assert night.placements[0].valid_until_ms > NOW_MS
    assert all("quiet_hours" not in each.reasons for each in day.placements)


@settings(lawful, max_examples=20)  # each compiles a strategy of its own
@given(questions, limits, st.randoms(use_true_random=False))
def test_the_order_of_files_and_of_policies_changes_nothing(question, limit, order):
    files = files_of(*limit)
    paths = list(files)
    order.shuffle(paths)
    shuffled = {path: files[path].encode() for path in paths}
    lines = files["contact_policies.yaml"].strip().splitlines()
    shuffled["contact_policies.yaml"] = "\n".join(reversed(lines)).encode()

    first, second = (decided(question, bank) for bank in (bank_of(*limit), load_bundle(shuffled)))

    assert core_of(first.placements) == core_of(second.placements)


@lawful
@given(questions, limits, st.integers(0, 2))
def test_a_record_under_any_limit_decides_again_to_the_last_digit(question, limit, units):
    bank = bank_of(*limit)
    request, snapshot = asked(question)
    snapshot = stocked(snapshot, bank, units)
    snapshot.state.sealing_key = fresh_state().sealing_key
    scorer = StatedScorer(bank, question[1])
    decision = decide(request, snapshot, bank, scorer, decision_id="000-1-ab")

    packed = decision_record(decision, request, snapshot, bank, Versions("s", "m"), key_id="k")
    recorded = open_record(parsed(packed), snapshot.state.sealing_key, bank)

    assert canonical(core_of(replay(recorded, bank, scorer).placements)) == canonical(recorded.core)
