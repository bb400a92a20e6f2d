"""Contact policy: how often a customer may be reached.

Pure. Reads interactions, never the store. Windows slide (the last 7 x 24 h), they do not follow calendar weeks. Called
after the rules, because most candidates are gone by then; a leased offer is not asked again, it was charged when it
entered the lease, and where a channel has a limit of its own, when that channel first showed it.

Of older interactions only the day is remembered, and of the oldest nothing. A policy must not guess, it holds back
whenever they may have reached its limit. So it counts spans of time in place of times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from decisioning.catalog.strategy import ContactPolicy, Mask, Strategy
from decisioning.customer import State
from decisioning.interactions import DAY_MS, JOINED, complete_since, first_possible_ms

KEY_DEPTH = {"issue": 1, "group": 2, "action": 3}  # how much of issue/group/action counts together
_BEFORE_ALL_MS = -(1 << 62)
_TO_MS = itemgetter(1)  # of a Span


class Span(NamedTuple):
    """Interactions that happened at some time from from_ms to to_ms; one that is kept by itself has one time."""

    from_ms: int
    to_ms: int
    times: int


Past = Mapping[str, Sequence[tuple[str, str, Span]]]  # outcome -> action, channel and when


def held_back(strategy: Strategy, state: State, *, channel: str, now_ms: int) -> dict[str, Mask]:
    """Policy name -> the actions it holds back now, for policies that hold any."""
    if not state.interactions:
        return {}
    found = {}
    past = _past(state)
    for policy in strategy.contact_policies:
        if policy.channel not in (None, channel):
            continue
        mask = 0
        forgotten = _forgotten(policy, state)
        if forgotten and is_holding(policy, forgotten, now_ms=now_ms):
            mask = policy.mask
        for key, spans in _spans_by_key(policy, past, channel).items():
            if is_holding(policy, _joined(forgotten, spans), now_ms=now_ms):
                mask |= strategy.masks_under.get(key, 0) if key else policy.mask
        if mask := mask & policy.mask:
            found[policy.name] = mask
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
    return _spans_by_key(policy, _past(state), channel).get(_key(action, KEY_DEPTH.get(policy.scope, 0)), [])


def unknown_until_ms(policy: ContactPolicy, action: str, state: State, channel: str) -> int:
    """Until when what is forgotten may hold an action back, alone or with what is counted for it."""
    spans = _joined(_forgotten(policy, state), counted_for(policy, action, state, channel))
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


def _forgotten(policy: ContactPolicy, state: State) -> list[Span]:
    """What nobody remembers: as many as the limit, at any time before the memory begins."""
    since_ms = complete_since(state, policy.outcomes)
    return [Span(_BEFORE_ALL_MS, since_ms - 1, policy.limit)] if since_ms else []


def _joined(forgotten: list[Span], spans: list[Span]) -> list[Span]:
    return forgotten + [each for each in spans if each.to_ms > forgotten[0].to_ms] if forgotten else spans


def _spans_by_key(policy: ContactPolicy, past: Past, channel: str) -> Mapping[str, list[Span]]:
    """What a policy counts, oldest first, by what it counts for; the key "" stands for everything the policy covers."""
    is_own = is_per_channel(policy)
    outcomes = policy.outcomes | {JOINED} if is_own and "selected" in policy.outcomes else policy.outcomes
    depth = KEY_DEPTH.get(policy.scope, 0)
    found: dict[str, list[Span]] = {}
    for outcome in outcomes:
        for action, where, span in past.get(outcome, ()):
            if not is_own or where == channel:
                found.setdefault(_key(action, depth), []).append(span)
    for spans in found.values():
        if len(spans) > 1:
            spans.sort(key=_TO_MS)
    return found


def _past(state: State) -> Past:
    """What is remembered, by outcome."""
    found: dict[str, list[tuple[str, str, Span]]] = {}
    for each in state.interactions:
        found.setdefault(each.outcome, []).append((each.action, each.channel, Span(each.at_ms, each.at_ms, 1)))
    for count in state.day_counts:
        span = Span(first_possible_ms(count), count.last_ms, count.times)
        found.setdefault(count.outcome, []).append((count.action, count.channel, span))
    return found


@lru_cache(maxsize=8192)  # the actions of the strategies in force, at each depth
def _key(action: str, depth: int) -> str:
    """The issue, group or action that an action counts for."""
    return "/".join(action.split("/", depth)[:depth])
