"""A bounded memory of interactions against a twin that keeps everything: never a wrong number, and no policy open that
the twin closes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from operator import or_

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from decisioning import interactions
from decisioning.catalog.layout import KEY_DEPTH
from decisioning.catalog.strategy import ContactPolicy
from decisioning.contact_policy import held_back, held_back_by
from decisioning.customer import DayCount, Interaction, State
from decisioning.evidence import Witness
from decisioning.interactions import ANSWERS, DAY_MS, JOINED, History, actions_met, append, is_under
from rules import Duration, EvaluationError
from tests.decisioning.bank import GOLD, LOAN, SILVER, TIPS, strategy

HOUR_MS = 3_600_000
START_MS = 20_000 * DAY_MS
BANK = strategy()
OUTCOMES = ("selected", "impression", JOINED, "accepted", "dismissed")
SCOPES = ("customer", "channel", "group:grow/cards", "issue:grow", f"action:{GOLD}")
POLICY_SCOPES = ("customer", "channel", "group", "issue", "action")


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a short history reaches."""
    for name, bound in (("ANSWER_COUNT_MAX", 3), ("RECENT_COUNT_MAX", 4), ("DAY_COUNT_MAX", 5)):
        monkeypatch.setattr(interactions, name, bound)


def fresh() -> State:
    return State(person_key="p", assignment_key="a", sealing_key="s")


def remembered(rows: list[Interaction]) -> State:
    """What is left of these, said in this order."""
    state = fresh()
    for each in rows:
        append(state, each)
    return state


happened = st.lists(
    st.builds(
        Interaction,
        st.one_of(st.integers(0, 9 * 24), st.integers(6 * 24, 7 * 24)).map(lambda hours: START_MS + hours * HOUR_MS),
        st.sampled_from(OUTCOMES),
        st.sampled_from((GOLD, SILVER, LOAN, TIPS)),
        st.sampled_from(("web", "email")),
    ),
    max_size=40,
)
orders = st.sampled_from(("as it was", "mostly", "any"))
policies = st.builds(
    ContactPolicy,
    name=st.just("p"),
    scope=st.sampled_from(POLICY_SCOPES),
    outcomes=st.frozensets(st.sampled_from([each for each in OUTCOMES if each != JOINED]), min_size=1),
    limit=st.integers(1, 4),
    window_ms=st.integers(0, 6 * 24).map(lambda hours: hours * HOUR_MS),
    hold_ms=st.integers(0, 6 * 24).map(lambda hours: hours * HOUR_MS),
    channel=st.sampled_from((None, "web")),
    mask=st.just((1 << len(BANK.actions)) - 1),
    where=st.just("here"),
)
lawful = settings(max_examples=400, deadline=None)


def in_order(rows: list[Interaction], order: str) -> list[Interaction]:
    """The rows as they arrive: by time, by time with some late ones, or anyhow."""
    if order == "any":
        return rows
    by_time = sorted(rows)
    return by_time if order == "as it was" else by_time[::3] + by_time[1::3] + by_time[2::3]


class Twin:
    """Keeps everything and counts one by one."""

    def __init__(self, rows: list[Interaction], *, channel: str, now_ms: int) -> None:
        self.rows, self.channel, self.now_ms = sorted(rows), channel, now_ms

    def times_ms(self, outcome: str, scope: str) -> Iterator[int]:
        kind, _, key = scope.partition(":")
        for each in self.rows:
            is_counted = each.outcome == outcome or (
                kind == "channel" and (outcome, each.outcome) == ("selected", JOINED)
            )
            is_there = kind == "customer" or (kind == "channel" and each.channel == self.channel)
            if is_counted and (is_there or (bool(key) and is_under(each.action, key))):
                yield each.at_ms

    def count(self, outcome: str, scope: str, window_ms: int) -> int:
        return sum(at_ms > self.now_ms - window_ms for at_ms in self.times_ms(outcome, scope))

    def holds(self, policy: ContactPolicy, action: str) -> bool:
        """The definition: `limit` of them within a window, and that window or the hold after its last still runs."""
        if policy.channel not in (None, self.channel):
            return False
        own = policy.scope == "channel" or policy.channel is not None
        depth = {"issue": 1, "group": 2, "action": 3}.get(policy.scope, 0)
        times_ms = [
            each.at_ms
            for each in self.rows
            if (each.outcome in policy.outcomes or (own and each.outcome == JOINED and "selected" in policy.outcomes))
            and (not own or each.channel == self.channel)
            and each.action.split("/")[:depth] == action.split("/")[:depth]
        ]
        for first, last in zip(times_ms, times_ms[policy.limit - 1 :], strict=False):
            if last - first < policy.window_ms and (
                self.now_ms - first < policy.window_ms or self.now_ms - last < policy.hold_ms
            ):
                return True
        return False


@lawful
@given(happened, orders, st.sampled_from(OUTCOMES), st.sampled_from(SCOPES), st.integers(0, 10 * 24 * 2))
def test_a_count_is_right_or_unknown(rows, order, outcome, scope, window_half_hours):
    now_ms = START_MS + 9 * DAY_MS + HOUR_MS
    state = remembered(in_order(rows, order))
    twin = Twin(rows, channel="web", now_ms=now_ms)
    window = Duration.parse(f"{window_half_hours * 30}m")

    try:
        counted = History(state, channel="web", now_ms=now_ms).count(outcome, scope, window)
    except EvaluationError:
        event("unknown")
        assert state.day_counts or state.complete_since_ms or state.answers_since_ms
        return

    event("folded" if state.day_counts else "kept one by one")
    assert counted == twin.count(outcome, scope, window.to_ms())


@lawful
@given(happened, orders, st.sampled_from(OUTCOMES), st.integers(0, 10 * 24 * 2))
def test_counting_all_keys_at_once_is_counting_each(rows, order, outcome, window_half_hours):
    now_ms = START_MS + 9 * DAY_MS + HOUR_MS
    history = History(remembered(in_order(rows, order)), channel="web", now_ms=now_ms)
    window = Duration.parse(f"{window_half_hours * 30}m")

    for kind, depth in KEY_DEPTH.items():
        counts = answer(lambda kind=kind: history.counts(outcome, kind, window))
        for action in (GOLD, SILVER, TIPS, "serve/other/one"):
            key = "/".join(action.split("/")[:depth])
            counted = answer(lambda kind=kind, key=key: history.count(outcome, f"{kind}:{key}", window))
            assert counted == (None if counts is None else counts.get(key, 0))


def answer(ask):
    """What was answered; None when it is unknown."""
    try:
        return ask()
    except EvaluationError:
        return None


@lawful
@given(happened, orders, st.sampled_from(OUTCOMES), st.sampled_from(SCOPES))
def test_the_latest_is_right_or_unknown(rows, order, outcome, scope):
    now_ms = START_MS + 9 * DAY_MS + HOUR_MS
    state = remembered(in_order(rows, order))
    history = History(state, channel="web", now_ms=now_ms)
    times_ms = list(Twin(rows, channel="web", now_ms=now_ms).times_ms(outcome, scope))

    try:
        last = history.last(outcome, scope)
    except EvaluationError:
        assert not times_ms or state.complete_since_ms or state.answers_since_ms
        return

    assert last.to_ms() == times_ms[-1]
    assert history.days_since(outcome, scope) == (now_ms - times_ms[-1]) / DAY_MS


@lawful
@given(happened, orders, policies, st.integers(0, 4 * 24))
def test_no_policy_is_open_that_the_twin_closes(rows, order, policy, later_hours):
    now_ms = START_MS + 9 * DAY_MS + HOUR_MS + later_hours * HOUR_MS
    bank = replace(BANK, contact_policies=(policy,))
    state = remembered(in_order(rows, order))
    twin = Twin(rows, channel="web", now_ms=now_ms)

    held = held_back(-1, bank, state, channel="web", now_ms=now_ms).get("p", 0)

    is_exact = not (state.day_counts or state.complete_since_ms or state.answers_since_ms)
    for action in bank.actions:
        is_held = bool(held >> action.index & 1)
        if is_exact:
            assert is_held == twin.holds(policy, action.key)
        elif twin.holds(policy, action.key):
            assert is_held
        else:
            event("held back for safety" if is_held else "known to be open")


@lawful
@given(happened, orders, st.lists(policies, max_size=5), st.integers(0, 31))
def test_policies_that_count_alike_hold_of_the_candidates_what_each_holds_alone(rows, order, policies, candidates):
    now_ms = START_MS + 9 * DAY_MS + HOUR_MS
    state = remembered(in_order(rows, order))
    named = tuple(replace(policy, name=str(position)) for position, policy in enumerate(policies))
    banks = [replace(BANK, contact_policies=(each,)) for each in named]

    together = replace(BANK, contact_policies=named)
    held = held_back(candidates, together, state, channel="web", now_ms=now_ms)

    alone = [held_back(-1, bank, state, channel="web", now_ms=now_ms) for bank in banks]
    expected = {name: mask & candidates for each in alone for name, mask in each.items()}
    assert held == {name: mask for name, mask in expected.items() if mask}


met_now = st.lists(st.tuples(st.sampled_from(("selected", JOINED)), st.sampled_from((GOLD, LOAN))), max_size=3)


@lawful
@given(happened, orders, st.lists(policies, max_size=5), met_now)
def test_what_is_met_now_counts_as_if_it_were_remembered(rows, order, policies, met_now):
    now_ms = START_MS + 9 * DAY_MS + HOUR_MS
    state = remembered(in_order(rows, order))
    bank = replace(BANK, contact_policies=tuple(replace(each, name=str(at)) for at, each in enumerate(policies)))
    met = [Interaction(now_ms, outcome, action, "web") for outcome, action in met_now]
    both = replace(state, interactions=[*state.interactions, *met])

    held = held_back(-1, bank, both, channel="web", now_ms=now_ms)
    before = reduce(or_, held_back(-1, bank, state, channel="web", now_ms=now_ms).values(), 0)
    further = held_back_by(met, ~before, bank, state, channel="web", now_ms=now_ms)

    assert held == held_back(-1, bank, state, channel="web", now_ms=now_ms, met=met)
    assert further == {name: mask & ~before for name, mask in held.items() if mask & ~before}


@lawful
@given(happened, orders)
def test_bounds_hold_and_every_interaction_is_somewhere(rows, order):
    state = remembered(in_order(rows, order))

    answers = [each for each in state.interactions if each.outcome in ANSWERS]
    others = [each for each in state.interactions if each.outcome not in ANSWERS]
    assert len(answers) <= 3 and len(others) <= 4 and len(state.day_counts) <= 5
    assert state.interactions == sorted(state.interactions, key=lambda each: each.at_ms)
    assert [each.day for each in state.day_counts] == sorted(each.day for each in state.day_counts)
    known = {each for each in rows if each.outcome not in ANSWERS and each.at_ms >= state.complete_since_ms}
    counted = {each[:4] for each in state.day_counts} | {(each.at_ms // DAY_MS, *each[1:]) for each in others}
    assert {(each.at_ms // DAY_MS, *each[1:]) for each in known} <= counted
    if not state.complete_since_ms:
        assert sum(each.times for each in state.day_counts) + len(others) == sum(
            each.outcome not in ANSWERS for each in rows
        )


def test_answers_are_not_pushed_out_by_what_was_shown():
    answer = Interaction(START_MS, "rejected", GOLD, "web")
    shown = [Interaction(START_MS + hour * HOUR_MS, "impression", TIPS, "web") for hour in range(1, 500)]

    state = remembered([answer, *shown])

    assert state.interactions[0] == answer and state.answers_since_ms == 0
    assert (
        History(state, channel="web", now_ms=START_MS + 500 * HOUR_MS).last("rejected", "customer").to_ms() == START_MS
    )


def test_a_later_change_does_not_reach_the_state_it_was_copied_from():
    before = remembered([Interaction(START_MS + hour, "impression", TIPS, "web") for hour in range(6)])
    counted = list(before.day_counts)

    append(
        replace(before, interactions=list(before.interactions)), Interaction(START_MS + 9, "impression", TIPS, "web")
    )

    assert before.day_counts == counted


def test_a_day_that_the_window_cuts_is_unknown_and_a_single_one_of_it_is_not():
    state = fresh()
    state.day_counts = [
        DayCount(20_000, "impression", GOLD, "web", 2, START_MS + 5 * HOUR_MS),
        DayCount(20_000, "impression", TIPS, "web", 1, START_MS + 5 * HOUR_MS),
    ]
    history = History(state, channel="web", now_ms=START_MS + 24 * HOUR_MS)

    assert history.count("impression", f"action:{TIPS}", Duration.parse("20h")) == 1
    assert history.count("impression", "customer", Duration.parse("19h")) == 0
    assert history.count("impression", "customer", Duration.parse("25h")) == 3
    with pytest.raises(EvaluationError, match="only the day is remembered"):
        history.count("impression", "customer", Duration.parse("20h"))


def test_a_first_render_in_a_further_channel_counts_as_selected_there_and_nowhere_else():
    now_ms = START_MS + DAY_MS
    state = remembered([Interaction(START_MS, "selected", GOLD, "email"), Interaction(START_MS, JOINED, GOLD, "web")])
    history, day = History(state, channel="web", now_ms=now_ms), Duration.parse("25h")

    assert (history.count("selected", "channel", day), history.count("selected", "customer", day)) == (1, 1)
    assert history.count("selected", f"action:{GOLD}", day) == 1


def test_the_actions_met_come_latest_first_folded_ones_included():
    rows = [Interaction(START_MS, "impression", SILVER, "web")]
    rows += [Interaction(START_MS + hour * HOUR_MS, "impression", TIPS, "web") for hour in range(30, 35)]

    assert list(dict.fromkeys(actions_met(remembered(rows)))) == [TIPS, SILVER]


def test_an_explanation_names_how_often_a_day_saw_it(monkeypatch):
    rows = [Interaction(START_MS + hour * HOUR_MS, "impression", TIPS, "web") for hour in range(6)]
    state = remembered(rows)

    class Seen:
        class snapshot:
            pass

        class moment:
            channel, now_ms = "web", START_MS + DAY_MS

    Seen.snapshot.state = state
    witness = Witness(Seen)

    assert witness.count("impression", "customer", Duration.parse("25h")) == 6
    assert sum(each.get("times", 1) for each in witness.asked[0]["interactions"]) == 6
