"""Volume constraints: what is asked, what is spent and reserved, and what an answer gives back."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.customer import EXHAUSTED, Snapshot
from decisioning.decide import decide
from decisioning.interactions import DAY_MS
from decisioning.request import Decision, Request
from decisioning.respond import Response, ended_by, movements_of, respond
from decisioning.scoring import StatedScorer
from decisioning.store.protocol import Movement
from decisioning.volume import (
    RETRY_MS,
    Occasion,
    budgets_of,
    local_day,
    may_be_met,
    outspent,
    quotas_for,
    tariff_for,
    unspent,
    withheld,
)
from tests.decisioning.bank import FILES, GOLD, NOW_MS, PROPENSITIES, SILVER, TIPS, ask, customer

NO_FATIGUE = {
    "contact_policies.yaml": "fatigue: {scope: group, outcomes: [clicked], limit: 9, window_days: 7, hold_days: 7}"
}


def bank_with(constraints: str, **amounts: dict[str, float]) -> Strategy:
    """The bank with volume constraints; amounts: action name -> what it takes of which."""
    files = {**FILES, **NO_FATIGUE, "volume_constraints.yaml": constraints}
    for path, text in files.items():
        for name, spends in amounts.items():
            said = ", ".join(f"{each}: {amount}" for each, amount in spends.items())
            text = text.replace(f"  {name}:\n    kind:", f"  {name}:\n    volume_constraints: {{{said}}}\n    kind:")
        files[path] = text
    return load_bundle({path: text.encode() for path, text in files.items()})


def constraint(name: str = "stock", **changes: Any) -> str:
    said = {"limit": 100, "unit": "number", "scope": "all", "period": "total", "spend_on": "selected", **changes}
    return f"{name}: {{{', '.join(f'{key}: {value}' for key, value in said.items())}}}\n"


def with_quotas(**quotas: int) -> Snapshot:
    return replace(customer(), quotas=quotas)


def after(snapshot: Snapshot, decision: Decision, **changes: Any) -> Snapshot:
    """The customer as the decision leaves them."""
    return replace(snapshot, state=decision.state, **changes)


def answered(
    bank: Strategy, snapshot: Snapshot, outcome: str, decision: Decision, action: str = GOLD
) -> list[Movement]:
    response = Response(
        "r",
        "C-1",
        outcome,
        action,
        ended_by(outcome, action, bank),
        snapshot.now_ms,
        "web",
        decision.decision_id,
        "web.hero",
    )
    return movements_of(response, snapshot, respond(response, snapshot.state), bank)


def test_a_budget_without_units_at_hand_drops_its_actions_and_says_whether_more_may_come() -> None:
    bank = bank_with(constraint(), gold={"stock": 2})

    waiting, empty, enough = (
        ask(bank, with_quotas(**quotas))
        for quotas in ({"stock": 1}, {"stock": 1, EXHAUSTED + "stock": 5}, {"stock": 2})
    )

    gold = bank.action_index[GOLD]
    assert waiting.reasons_against(gold) == ["volume_wait"] and waiting.placements[0].action == SILVER
    assert empty.reasons_against(gold) == ["volume_constraint"]
    assert enough.placements[0].action == GOLD and enough.movements == [Movement("spend", "stock", 2)]


def test_two_placements_of_one_answer_do_not_spend_more_than_is_at_hand_together() -> None:
    bank = bank_with(constraint(), gold={"stock": 2}, silver={"stock": 2})

    short, enough = (ask(bank, with_quotas(stock=units), "web.hero", "web.tile") for units in (3, 4))

    assert [each.action for each in short.placements] == [GOLD, TIPS]
    assert short.reasons_against(bank.action_index[SILVER]) == ["volume_wait"]
    assert [each.action for each in enough.placements] == [GOLD, SILVER]
    assert sum(each.units for each in enough.movements) == 4


def test_what_is_leased_is_not_asked_or_charged_again() -> None:
    bank = bank_with(constraint(), gold={"stock": 1})
    first = ask(bank, with_quotas(stock=1))

    again = ask(bank, after(with_quotas(stock=0), first))

    assert (again.placements[0].action, again.placements[0].reasons) == (GOLD, ["lease"])
    assert again.movements == []


def test_a_message_spends_when_it_is_drawn_and_not_while_it_is_held() -> None:
    bank = bank_with(constraint(), tips={"stock": 1})
    nobody = dict.fromkeys(PROPENSITIES, 0.0)

    drawn = ask(bank, with_quotas(stock=1), propensities=nobody)
    held = ask(bank, after(with_quotas(stock=0), drawn), propensities=nobody)

    assert drawn.placements[0].action == held.placements[0].action == TIPS
    assert (drawn.movements, held.movements) == ([Movement("spend", "stock", 1)], [])


def test_silence_that_only_waits_for_units_is_over_in_a_second() -> None:
    files = bank_with(constraint(), gold={"stock": 1}, silver={"stock": 1}, tips={"stock": 1})

    waiting = ask(files, with_quotas(), "email.hero")

    assert waiting.placements[0].outcome == "nothing"
    assert waiting.placements[0].valid_until_ms == waiting.at_ms + 1_000


@pytest.mark.parametrize(
    ("changes", "budget"),
    [
        ({"scope": "action"}, f"stock@{GOLD}"),
        ({"scope": "group"}, "stock@grow/cards"),
        ({"scope": "issue"}, "stock@grow"),
        ({"scope": "channel"}, "stock@web"),
        ({"scope": "all", "channel": "web"}, "stock"),
        ({"scope": "all", "period": "day"}, "stock#2026-09-21"),
    ],
)
def test_scope_and_period_say_which_budget_is_charged(changes: dict[str, str], budget: str) -> None:
    bank = bank_with(constraint(**changes), gold={"stock": 1})

    decision = ask(bank, with_quotas(**{budget: 1}))

    assert decision.movements == [Movement("spend", budget, 1)]
    assert budget in {each.name for each in budgets_of(bank, now_ms=NOW_MS)}


def test_a_day_is_one_of_the_strategys_time_zone() -> None:
    bank = bank_with(constraint(period="day"), gold={"stock": 1})
    before, after_midnight = 1_767_221_999_999, 1_767_222_000_000  # 2026-01-01 in Budapest is an hour earlier than UTC

    names = [each.name for now_ms in (before, after_midnight) for each in budgets_of(bank, now_ms=now_ms)]

    assert names == ["stock#2025-12-31", "stock#2026-01-01"]
    ahead = budgets_of(bank, now_ms=before, ahead_ms=1)
    assert [each.name for each in ahead] == names


def test_money_is_counted_in_thousandths() -> None:
    bank = bank_with(constraint(unit="money", limit=1000), gold={"stock": 12.5})

    assert ask(bank, with_quotas(**{"stock:money": 12_500})).movements == [Movement("spend", "stock:money", 12_500)]
    assert bank.volume_constraints[0].limit == 1_000_000


def test_a_channels_budget_is_charged_at_the_first_render_there_and_silences_that_render_only() -> None:
    bank = bank_with(constraint(scope="channel"), gold={"stock": 1})
    full = {"stock@web": 1, "stock@email": 1}
    in_web = ask(bank, with_quotas(**full))
    leased = after(with_quotas(**full), in_web)

    elsewhere = ask(bank, leased, "email.hero")
    short = ask(bank, replace(leased, quotas={"stock@web": 1}), "email.hero")
    again = ask(bank, after(leased, elsewhere, quotas={}), "email.hero")

    assert elsewhere.placements[0].action == GOLD
    assert elsewhere.movements == [Movement("spend", "stock@email", 1)]
    assert short.placements[0].action != GOLD and short.movements == []
    assert (again.placements[0].action, again.movements) == (GOLD, [])


def reserving() -> tuple[Strategy, Snapshot, Decision]:
    bank = bank_with(constraint(spend_on="accepted"), gold={"stock": 1})
    snapshot = with_quotas(stock=1)
    return bank, snapshot, ask(bank, snapshot, decision_id="017-0-0000000000000001")


def test_selection_reserves_until_the_lease_ends() -> None:
    _, _, decision = reserving()

    [entry] = decision.state.lease
    name = f"{decision.decision_id} {GOLD}"
    assert decision.movements == [Movement("reserve", "stock", 1, name, entry.until_ms)]
    assert entry.reserved == {"stock": 1}


@pytest.mark.parametrize(("outcome", "kind"), [("accepted", "keep"), ("converted", "keep"), ("rejected", "release")])
def test_an_answer_keeps_or_releases_what_was_reserved(outcome: str, kind: str) -> None:
    bank, snapshot, decision = reserving()

    movements = answered(bank, after(snapshot, decision), outcome, decision)

    assert movements == [replace(decision.movements[0], kind=kind)]


def test_an_answer_that_ends_no_lease_moves_nothing() -> None:
    bank, snapshot, decision = reserving()

    assert answered(bank, after(snapshot, decision), "clicked", decision) == []


@pytest.mark.parametrize(("at_hand", "kind"), [(1, "spend"), (0, "overrun")])
def test_accepting_after_the_lease_takes_the_units_anew_or_overruns(at_hand: int, kind: str) -> None:
    bank, snapshot, decision = reserving()
    later = after(snapshot, decision, now_ms=decision.state.lease[0].until_ms, quotas={"stock": at_hand})

    assert answered(bank, later, "accepted", decision) == [Movement(kind, "stock", 1)]  # type: ignore[arg-type]


def test_accepting_twice_takes_the_units_once() -> None:
    bank, snapshot, decision = reserving()
    leased = after(snapshot, decision)
    response = Response("r", "C-1", "accepted", GOLD, frozenset({GOLD}), snapshot.now_ms, "web", decision.decision_id)
    once = replace(leased, state=respond(response, leased.state))

    assert answered(bank, once, "accepted", decision) == []


TOLD = [("accepted", True), ("converted", True), ("converted", False)]  # with the decision, or without


@pytest.mark.parametrize("told", list(permutations(TOLD)))
@pytest.mark.parametrize("in_time", range(4))
def test_whatever_comes_of_an_offer_in_whatever_order_takes_its_units_once(
    told: tuple[tuple[str, bool], ...], in_time: int
) -> None:
    """in_time: so many come before the end of the lease."""
    bank, snapshot, decision = reserving()
    known, moves = after(snapshot, decision, quotas={"stock": 9}), []
    for number, (outcome, is_named) in enumerate(told):
        at_ms = snapshot.now_ms + number if number < in_time else decision.state.lease[0].until_ms + number
        named = decision.decision_id if is_named else None
        response = Response("r", "C-1", outcome, GOLD, frozenset({GOLD}), at_ms, "web", named)
        known = replace(known, now_ms=at_ms)
        state = respond(response, known.state)
        moves += movements_of(response, known, state, bank)
        known = replace(known, state=state)

    assert [move.kind for move in moves] == ["keep" if in_time else "spend"]


def test_a_conversion_of_what_was_never_offered_takes_nothing() -> None:
    bank, snapshot, decision = reserving()
    early = Response("r", "C-1", "converted", GOLD, frozenset({GOLD}), snapshot.now_ms - 1, "web")

    for known in (snapshot, after(snapshot, decision)):
        assert movements_of(early, known, respond(early, known.state), bank) == []


def test_a_gate_that_ends_a_lease_releases_what_was_reserved() -> None:
    bank, _, decision = reserving()
    child = after(customer(age=17), decision, quotas={})

    ended = ask(bank, child)

    assert ended.movements == [replace(decision.movements[0], kind="release")]


def test_an_answer_after_two_lost_races_pays_for_nothing() -> None:
    bank = bank_with(constraint(), tips={"stock": 1})
    request = Request("C-1", "web", ("web.hero",), {}, offers_allowed=False)

    decision = decide(request, with_quotas(stock=5), bank, StatedScorer(bank, PROPENSITIES), decision_id="d")

    assert decision.placements[0].action is None
    assert "volume_wait" in decision.reasons_against(bank.action_index[TIPS])


QUOTAS = st.dictionaries(
    st.sampled_from([f"{sign}{name}" for sign in ("", EXHAUSTED) for name in ("one", "two", "one@web", "two@grow")]),
    st.integers(0, 5),
)
SCOPES = st.sampled_from(["action", "group", "issue", "channel", "all"])


@settings(max_examples=12, deadline=None)  # each loads two strategies
@given(QUOTAS, SCOPES, SCOPES, st.integers(1, 4), st.booleans())
def test_adding_a_constraint_never_enlarges_what_passes(
    quotas: dict[str, int], first: str, second: str, amount: int, is_join: bool
) -> None:
    one = {"gold": {"one": amount}, "loan": {"one": 1}}
    two = {"gold": {"one": amount, "two": 2}, "loan": {"one": 1}, "tips": {"two": amount}}
    fewer = bank_with(constraint("one", scope=first), **one)
    more = bank_with(constraint("one", scope=first) + constraint("two", scope=second), **two)
    everything, occasion = (1 << len(fewer.actions)) - 1, Occasion("web", 0, is_join)

    dropped = [
        sum(withheld(everything, bank, quotas, occasion, spent={}).values())  # no action is dropped for two reasons
        for bank in (fewer, more)
    ]

    assert dropped[0] & ~dropped[1] == 0


@settings(max_examples=12, deadline=None)
@given(QUOTAS, SCOPES, SCOPES, st.integers(1, 4), st.dictionaries(st.sampled_from(["one", "two@grow"]), st.integers(1)))
def test_only_budgets_that_were_spent_of_can_stop_who_passed_before(
    quotas: dict[str, int], first: str, second: str, amount: int, spent: dict[str, int]
) -> None:
    amounts = {"gold": {"one": amount, "two": 2}, "loan": {"one": 1}, "tips": {"two": amount}}
    bank = bank_with(constraint("one", scope=first) + constraint("two", scope=second), **amounts)
    everything, occasion = (1 << len(bank.actions)) - 1, Occasion("web", 0)
    passed = everything & ~sum(withheld(everything, bank, quotas, occasion, spent={}).values())

    assert outspent(passed, bank, quotas, occasion, spent) == withheld(passed, bank, quotas, occasion, spent)


def test_a_tariff_is_made_once_a_day() -> None:
    bank = bank_with(constraint(period="day"), gold={"stock": 1})

    today, later, tomorrow = (tariff_for(bank, Occasion("web", now_ms)) for now_ms in (0, 1, 86_400_000))

    assert later is today
    assert list(tomorrow.due) != list(today.due) == ["stock#1970-01-01"]


def test_a_partition_that_has_everything_stops_nobody() -> None:
    bank = bank_with(constraint(scope="channel", period="day") + constraint("gifts"), gold={"stock": 1, "gifts": 100})

    quotas = unspent(bank, now_ms=0)

    assert withheld((1 << len(bank.actions)) - 1, bank, quotas, Occasion("email", 0), spent={}) == {}


def test_a_record_needs_only_the_quotas_of_its_candidates() -> None:
    bank = bank_with(constraint("one") + constraint("two"), gold={"one": 1}, loan={"two": 1})
    quotas = {"one": 1, EXHAUSTED + "one": 7, "two": 1, "other": 1}

    kept = quotas_for(1 << bank.action_index[GOLD], bank, quotas, Occasion("web", 0))

    assert kept == {"one": 1, EXHAUSTED + "one": 7}


def test_only_what_kept_an_action_out_makes_a_decision_twice() -> None:
    constraints = constraint("stock") + constraint("points", period="day") + constraint("mails", channel="email")
    bank = bank_with(constraints, gold={"stock": 1, "mails": 1}, silver={"points": 1})
    occasion = Occasion("web", NOW_MS)
    today, yesterday = (f"points#{local_day(bank, at_ms)}" for at_ms in (NOW_MS, NOW_MS - DAY_MS))
    stock, mails, points, old_points = (EXHAUSTED + name for name in ("stock", "mails", today, yesterday))
    due_ms, early_ms = NOW_MS - RETRY_MS, NOW_MS - RETRY_MS + 1
    drops = [{"eligibility": 1}, {"volume_constraint": 1 << bank.action_index[GOLD]}]
    others = {points: due_ms, mails: due_ms, old_points: due_ms}

    assert may_be_met(drops, bank, {stock: due_ms}, occasion)
    assert not may_be_met(drops, bank, {stock: early_ms, **others}, occasion)
    assert may_be_met(drops, bank, {stock: early_ms, **others}, Occasion("email", NOW_MS))
    assert may_be_met([*drops, {"volume_wait": 1}], bank, {}, occasion)
    assert not may_be_met([{"eligibility": 1}], bank, {stock: due_ms}, occasion)
