"""Contact policy: how often a customer may be reached.

Pure. Reads interactions, never the store. Windows slide (the last 7 x 24 h), they do not follow calendar weeks. Called
after the rules, because most candidates are gone by then; a leased offer is not asked again, it was charged when it
entered the lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from decisioning.catalog.strategy import ContactPolicy, Mask, Strategy
from decisioning.customer import Interaction, State
from decisioning.interactions import complete_since

KEY_DEPTH = {"issue": 1, "group": 2, "action": 3}  # how much of issue/group/action counts together


def held_back(strategy: Strategy, state: State, *, channel: str, now_ms: int) -> dict[str, Mask]:
    """Policy name -> the actions it holds back now, for policies that hold any.

    A policy whose window reaches past what is remembered holds everything back: it cannot know, and must not guess.
    """
    interactions = state.interactions
    if not interactions:
        return {}
    found = {}
    for policy in strategy.contact_policies:
        is_unknown = complete_since(state, policy.outcomes) > now_ms - policy.window_ms
        mask = policy.mask if is_unknown else 0
        for key, times_ms in _times_by_key(policy, interactions, channel).items():
            if is_holding(policy, times_ms, now_ms=now_ms):
                mask |= strategy.masks_under.get(key, 0) if key else policy.mask
        if mask := mask & policy.mask:
            found[policy.name] = mask
    return found


@dataclass(frozen=True, slots=True)
class Restraint:
    """The interactions that reached a limit, and until when they hold back if nothing more happens."""

    times_ms: Sequence[int]
    until_ms: int


def restraint_of(policy: ContactPolicy, times_ms: Sequence[int]) -> Restraint | None:
    """What makes `is_holding` true for the longest, told to people; None when the limit was never reached.

    times_ms ascends.
    """
    longest: Restraint | None = None
    for last in range(policy.limit - 1, len(times_ms)):
        first_ms, last_ms = times_ms[last - policy.limit + 1], times_ms[last]
        until_ms = max(first_ms + policy.window_ms, last_ms + policy.hold_ms)
        if last_ms - first_ms < policy.window_ms and (longest is None or until_ms >= longest.until_ms):
            longest = Restraint([each for each in times_ms[: last + 1] if last_ms - each < policy.window_ms], until_ms)
    return longest


def counted_for(policy: ContactPolicy, action: str, interactions: Iterable[Interaction], channel: str) -> list[int]:
    """Times of the interactions that a policy counts against one action, oldest first."""
    depth = KEY_DEPTH.get(policy.scope, 0)
    return _times_by_key(policy, interactions, channel).get("/".join(action.split("/", depth)[:depth]), [])


def is_holding(policy: ContactPolicy, times_ms: Sequence[int], *, now_ms: int) -> bool:
    """True while the limit is reached within the sliding window, or was and its hold lasts. times_ms ascends."""
    limit = policy.limit
    for last in range(len(times_ms) - 1, limit - 2, -1):
        first_ms, last_ms = times_ms[last - limit + 1], times_ms[last]
        if last_ms - first_ms < policy.window_ms and (
            now_ms - first_ms < policy.window_ms or now_ms - last_ms < policy.hold_ms
        ):
            return True
    return False


def _times_by_key(policy: ContactPolicy, interactions: Iterable[Interaction], channel: str) -> dict[str, list[int]]:
    """Times of the counted interactions by what they count for; the key "" stands for everything the policy covers."""
    if policy.channel is not None and policy.channel != channel:
        return {}
    depth = KEY_DEPTH.get(policy.scope, 0)
    times: dict[str, list[int]] = {}
    for each in interactions:
        if each.outcome not in policy.outcomes or (policy.channel is not None and each.channel != policy.channel):
            continue
        if policy.scope == "channel" and each.channel != channel:
            continue
        key = "/".join(each.action.split("/", depth)[:depth])
        times.setdefault(key, []).append(each.at_ms)
    return times
