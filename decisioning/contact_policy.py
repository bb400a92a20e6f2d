"""Contact policy: how often a customer may be reached.

Pure. Reads interactions, never the store. Windows slide (the last 7 x 24 h), they do not follow calendar weeks. Called
after the rules, because most candidates are gone by then; a leased offer is not asked again, it was charged when it
entered the lease, and where a channel has a limit of its own, when that channel first showed it.

Of older interactions only the day is remembered, and of the oldest nothing. A policy must not guess, it holds back
whenever they may have reached its limit. So it counts spans of time in place of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import NamedTuple

from decisioning.catalog.layout import KEY_DEPTH
from decisioning.catalog.strategy import ContactPolicy, Mask, Strategy
from decisioning.customer import DayCount, Interaction, State
from decisioning.interactions import DAY_MS, JOINED, complete_since, first_possible_ms, key_of

_BEFORE_ALL_MS = -(1 << 62)
_TO_MS = itemgetter(1)  # of a Span


class Span(NamedTuple):
    """Interactions that happened at some time from from_ms to to_ms; one that is kept by itself has one time."""

    from_ms: int
    to_ms: int
    times: int


class Counting(NamedTuple):
    """What is counted, and what of it together. Many policies count alike and differ in their limits and actions."""

    outcomes: frozenset[str]
    depth: int  # how much of issue/group/action counts together
    channel: str | None  # None: interactions of every channel


Row = Interaction | DayCount
Past = Mapping[str, Sequence[Row]]  # by outcome


def held_back(
    candidates: Mask, strategy: Strategy, state: State, *, channel: str, now_ms: int, met: Sequence[Interaction] = ()
) -> dict[str, Mask]:
    """Policy name -> those of the candidates that it holds back now, for policies that hold any.

    met: what happens to the customer beside what the state remembers, now.
    """
    countings = _countings(strategy.contact_policies, channel)
    return _held_back(countings, candidates, strategy=strategy, state=state, met=met, now_ms=now_ms)


def held_back_by(
    met: Sequence[Interaction], candidates: Mask, strategy: Strategy, state: State, *, channel: str, now_ms: int
) -> dict[str, Mask]:
    """The same of candidates who passed without `met`: only policies that count some of it can stop them."""
    outcomes = frozenset(each.outcome for each in met)
    countings = _countings(strategy.contact_policies, channel)
    counting = {each: policies for each, policies in countings.items() if not each.outcomes.isdisjoint(outcomes)}
    if not counting:
        return {}
    return _held_back(counting, candidates, strategy=strategy, state=state, met=met, now_ms=now_ms)


def _held_back(
    countings: Mapping[Counting, Sequence[ContactPolicy]],
    candidates: Mask,
    *,
    strategy: Strategy,
    state: State,
    met: Sequence[Interaction],
    now_ms: int,
) -> dict[str, Mask]:
    if not (state.interactions or met):
        return {}
    found: dict[str, Mask] = {}
    past = _past(state, met)
    # As with almost everybody, each row is one time: then fewer rows than the lowest limit hold nobody.
    is_exact = not (state.day_counts or state.complete_since_ms or state.answers_since_ms)
    for counting, policies in countings.items():
        counted = _counted(counting, past)
        rows_min = policies[0].limit if is_exact else 0
        if len(counted) < rows_min:
            continue
        since_ms = complete_since(state, counting.outcomes)
        for policy in policies if since_ms else ():
            if policy.mask & candidates and is_holding(policy, _forgotten(policy, since_ms), now_ms=now_ms):
                found[policy.name] = policy.mask & candidates
        for key, rows in _by_key(counted, counting.depth).items():
            if len(rows) < rows_min:
                continue
            concerned = strategy.masks_under.get(key, 0) & candidates if key else candidates
            if not concerned:
                continue
            spans = _spans(rows)
            for policy in policies:
                if policy.mask & concerned and is_holding(policy, _known(policy, since_ms, spans), now_ms=now_ms):
                    found[policy.name] = found.get(policy.name, 0) | policy.mask & concerned
    return found


@lru_cache(maxsize=128)  # the channels of the strategies in force
def _countings(policies: tuple[ContactPolicy, ...], channel: str) -> Mapping[Counting, Sequence[ContactPolicy]]:
    """The policies that count in this channel, by what they count, those of low limits first."""
    found: dict[Counting, list[ContactPolicy]] = {}
    for policy in sorted(policies, key=attrgetter("limit")):
        if policy.channel in (None, channel):
            found.setdefault(_counting(policy, channel), []).append(policy)
    return found


def is_per_channel(policy: ContactPolicy) -> bool:
    """True when it counts one channel by itself: an offer is asked and charged at its first render there too."""
    return policy.scope == "channel" or policy.channel is not None


def is_holding(policy: ContactPolicy, spans: Sequence[Span], *, now_ms: int) -> bool:
    """True while the limit is reached within the sliding window, or was and its hold lasts. spans ascend by to_ms."""
    times = 0  # of the spans from first on
    for first in range(len(spans) - 1, -1, -1):
        if spans[first].to_ms + policy.window_ms + policy.hold_ms <= now_ms:
            return False
        times += spans[first].times
        if times >= policy.limit:
            restraint = _restraint_from(policy, spans, first)
            if restraint is not None and restraint.until_ms > now_ms:
                return True
    return False


class Restraint(NamedTuple):
    """A limit that was reached: the last interaction of its window, and until when it holds back if nothing more
    happens.
    """

    last_ms: int
    until_ms: int


def restraint_of(policy: ContactPolicy, spans: Sequence[Span]) -> Restraint | None:
    """What makes `is_holding` true for the longest, told to people; None when the limit was never reached."""
    found = [_restraint_from(policy, spans, first) for first in range(len(spans))]
    return max((each for each in found if each is not None), key=lambda each: each.until_ms, default=None)


def times_within(policy: ContactPolicy, spans: Sequence[Span], restraint: Restraint) -> int:
    """How many interactions a restraint counts: all within a window up to its last one."""
    start_ms = restraint.last_ms - policy.window_ms
    return sum(each.times for each in spans if each.to_ms > start_ms and each.from_ms <= restraint.last_ms)


def counted_for(policy: ContactPolicy, action: str, state: State, channel: str) -> list[Span]:
    """What a policy counts against one action, oldest first, without what is forgotten."""
    counting = _counting(policy, channel)
    rows = _counted(counting, _past(state, ()))
    return _spans(_by_key(rows, counting.depth).get(key_of(action, counting.depth), ()))


def unknown_until_ms(policy: ContactPolicy, action: str, state: State, channel: str) -> int:
    """Until when what is forgotten may hold an action back, alone or with what is counted for it."""
    spans = _known(policy, complete_since(state, policy.outcomes), counted_for(policy, action, state, channel))
    restraint = restraint_of(policy, spans)
    return 0 if restraint is None else restraint.until_ms


def _restraint_from(policy: ContactPolicy, spans: Sequence[Span], first: int) -> Restraint | None:
    """The restraint of the interactions within one window that starts with those of a span, if they reach the limit.

    They start as late as they can, because that holds back for the longest.
    """
    last_ms = spans[first].to_ms
    end_ms = last_ms + policy.window_ms
    times = 0
    for at in range(first, len(spans)):
        each = spans[at]
        if each.to_ms - DAY_MS >= end_ms:  # no span is longer than a day, except what is forgotten, which is the first
            break
        if each.from_ms < end_ms:
            times += each.times
            last_ms = max(last_ms, min(each.to_ms, end_ms - 1))
    return Restraint(last_ms, max(end_ms, last_ms + policy.hold_ms)) if times >= policy.limit else None


def _counting(policy: ContactPolicy, channel: str) -> Counting:
    """What a policy counts in this channel."""
    is_own = is_per_channel(policy)
    outcomes = policy.outcomes | {JOINED} if is_own and "selected" in policy.outcomes else policy.outcomes
    return Counting(outcomes, KEY_DEPTH.get(policy.scope, 0), channel if is_own else None)


def _forgotten(policy: ContactPolicy, since_ms: int) -> list[Span]:
    """What nobody remembers: as many as the limit, at any time before the memory begins."""
    return [Span(_BEFORE_ALL_MS, since_ms - 1, policy.limit)] if since_ms else []


def _known(policy: ContactPolicy, since_ms: int, spans: list[Span]) -> list[Span]:
    """The spans since the memory begins, behind what is forgotten."""
    return _forgotten(policy, since_ms) + [each for each in spans if each.to_ms >= since_ms] if since_ms else spans


def _counted(counting: Counting, past: Past) -> list[Row]:
    """What is counted, in no order."""
    rows: list[Row] = []
    for outcome in counting.outcomes:
        rows += past.get(outcome, ())
    return rows if counting.channel is None else [row for row in rows if row.channel == counting.channel]


def _by_key(rows: Iterable[Row], depth: int) -> Mapping[str, list[Row]]:
    """The rows by what they count for; the key "" stands for everything a policy covers."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key_of(row.action, depth), []).append(row)
    return found


def _spans(rows: Iterable[Row]) -> list[Span]:
    """When they happened, oldest first."""
    spans = [
        Span(row.at_ms, row.at_ms, 1)
        if isinstance(row, Interaction)
        else Span(first_possible_ms(row), row.last_ms, row.times)
        for row in rows
    ]
    spans.sort(key=_TO_MS)
    return spans


def _past(state: State, met: Sequence[Interaction]) -> Past:
    """What is remembered and what is met now, by outcome."""
    found: dict[str, list[Row]] = {}
    for rows in (state.interactions, met, state.day_counts):
        for row in rows:
            found.setdefault(row.outcome, []).append(row)
    return found
