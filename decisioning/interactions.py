"""Interactions: what a customer's recent past answers to rules and contact policies.

Pure. Answers are kept one by one under a bound of their own, so that no flood of renders and impressions pushes out
what somebody said; of the rest the recent ones are kept, older ones become counts of a UTC day, and the oldest days are
forgotten. `history.count(…)` and its two sisters in rules are the methods of `History`; contact policies read the same
state. What a window cannot know for certain is unknown, never zero.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import TypeVar

from decisioning.catalog.layout import KEY_DEPTH
from decisioning.customer import DayCount, Interaction, State
from rules import Duration, EvaluationError, Timestamp

ANSWERS = frozenset({"accepted", "rejected", "converted", "dismissed"})
JOINED = "joined"  # an offer of the lease was shown in a further channel: for that channel alone as good as selected
# 100 answers are years of anybody's, and 100 others ten days of a customer whom five decisions a day reach. 500 counts
# are a season of that customer: one for each outcome, action and channel of a day. docs/operations.md has the bytes.
ANSWER_COUNT_MAX = 100
RECENT_COUNT_MAX = 100
DAY_COUNT_MAX = 500
DAY_MS = 86_400_000

Row = TypeVar("Row", Interaction, DayCount)


def is_under(action: str, key: str) -> bool:
    """True when the action is, or belongs to, the issue, group or action named by key (`grow`, `grow/cards`,
    `grow/cards/gold`).
    """
    return action == key or action.startswith(key + "/")


@lru_cache(maxsize=8192)  # the actions of the strategies in force, at each depth
def key_of(action: str, depth: int) -> str:
    """The issue, group or action that an action counts for; of depth 0, which is all of them, none."""
    return "/".join(action.split("/", depth)[:depth])


def append(state: State, interaction: Interaction) -> None:
    """Remember one interaction, in time order; past a bound the oldest of its sort makes room.

    Changes the state's list of interactions in place. One that is older than what is remembered changes nothing: no
    window reaches it any more.
    """
    is_answer = interaction.outcome in ANSWERS
    if interaction.at_ms < (state.answers_since_ms if is_answer else state.complete_since_ms):
        return
    kept = state.interactions
    position = len(kept)
    while position and kept[position - 1].at_ms > interaction.at_ms:
        position -= 1
    kept.insert(position, interaction)
    bound = ANSWER_COUNT_MAX if is_answer else RECENT_COUNT_MAX
    if len(kept) <= bound:
        return
    same = [index for index, each in enumerate(kept) if (each.outcome in ANSWERS) is is_answer]
    if len(same) <= bound:
        return
    oldest = kept.pop(same[0])
    if is_answer:
        state.answers_since_ms = oldest.at_ms + 1
    else:
        _fold(state, oldest)


def _fold(state: State, interaction: Interaction) -> None:
    """Count an interaction with those of its day; past the bound the oldest day is forgotten as a whole, because a day
    of which a part is forgotten could not say which windows it still answers.
    """
    day = interaction.at_ms // DAY_MS
    counts = list(state.day_counts)
    end = bisect_left(counts, day + 1, key=attrgetter("day"))
    for index in range(bisect_left(counts, day, key=attrgetter("day")), end):
        known = counts[index]
        if known[1:4] == interaction[1:4]:  # outcome, action and channel
            last_ms = max(known.last_ms, interaction.at_ms)
            counts[index] = known._replace(times=known.times + 1, last_ms=last_ms)
            break
    else:
        at_ms, outcome, action, channel = interaction
        counts.insert(end, DayCount(day, outcome, action, channel, 1, at_ms))
    if len(counts) > DAY_COUNT_MAX:
        kept_from = bisect_left(counts, counts[0].day + 1, key=attrgetter("day"))
        state.complete_since_ms = max(each.last_ms for each in counts[:kept_from]) + 1
        counts = counts[kept_from:]
    state.day_counts = counts


def first_possible_ms(count: DayCount) -> int:
    """When the earliest of a day's count can have been."""
    return count.last_ms if count.times == 1 else count.day * DAY_MS


def complete_since(state: State, outcomes: Iterable[str]) -> int:
    """From when on all interactions of these outcomes are remembered, one by one or counted."""
    if not (state.complete_since_ms or state.answers_since_ms):
        return 0  # of almost everybody nothing was ever forgotten
    asked = set(outcomes)
    answers_since_ms = 0 if asked.isdisjoint(ANSWERS) else state.answers_since_ms
    return answers_since_ms if asked <= ANSWERS else max(answers_since_ms, state.complete_since_ms)


def actions_met(state: State) -> Iterator[str]:
    """The actions of what is remembered, the latest interaction first."""
    yield from (each.action for each in reversed(state.interactions))
    yield from (each.action for each in sorted(state.day_counts, key=attrgetter("last_ms"), reverse=True))


class History:
    """The `history` of rules, seen from one channel at one moment. Scopes are `channel`, `customer`, or kind and key:
    `group:grow/cards`.
    """

    __slots__ = ("_channel", "_now_ms", "_state")

    def __init__(self, state: State, *, channel: str, now_ms: int) -> None:
        self._state = state
        self._channel = channel
        self._now_ms = now_ms

    def count(self, outcome: str, scope: str, window: Duration) -> int:
        """How many interactions of this outcome lie within the window before now."""
        since_ms = self._start_ms(outcome, window)
        times = 0
        for each in self.matching(outcome, scope):
            if each.at_ms > since_ms:
                times += 1
        for count in self.counted(outcome, scope):
            if count.last_ms <= since_ms:
                continue
            if first_possible_ms(count) <= since_ms:
                since = Timestamp.from_ms(since_ms)
                raise EvaluationError(f"the window starts at {since}, of whose {outcome} only the day is remembered")
            times += count.times
        return times

    def counts(self, outcome: str, kind: str, window: Duration) -> dict[str, int | None]:
        """What `count` answers for all keys of a kind of scope at once: none for a key left out, None is unknown."""
        since_ms = self._start_ms(outcome, window)
        depth = KEY_DEPTH[kind]
        counts: dict[str, int | None] = {}
        for each in self._state.interactions:
            if each.outcome == outcome and each.at_ms > since_ms:
                key = key_of(each.action, depth)
                counts[key] = (counts.get(key) or 0) + 1
        for count in self._state.day_counts:
            if count.outcome == outcome and count.last_ms > since_ms:
                key = key_of(count.action, depth)
                known = counts.get(key, 0)
                if known is None or first_possible_ms(count) <= since_ms:
                    counts[key] = None
                else:
                    counts[key] = known + count.times
        return counts

    def _start_ms(self, outcome: str, window: Duration) -> int:
        """When a window begins that all interactions of this outcome are remembered of."""
        since_ms = self._now_ms - window.to_ms()
        kept_since_ms = complete_since(self._state, (outcome,))
        if since_ms < kept_since_ms:
            raise EvaluationError(f"history of {outcome} is kept only since {Timestamp.from_ms(kept_since_ms)}")
        return since_ms

    def days_since(self, outcome: str, scope: str) -> float:
        """Days since the latest such interaction; unknown when there was none."""
        return (self._now_ms - self._latest_ms(outcome, scope)) / DAY_MS

    def last(self, outcome: str, scope: str) -> Timestamp:
        """When the latest such interaction happened; unknown when there was none."""
        return Timestamp.from_ms(self._latest_ms(outcome, scope))

    def _latest_ms(self, outcome: str, scope: str) -> int:
        latest_ms = max((each.at_ms for each in self.matching(outcome, scope)), default=None)
        if latest_ms is None:
            latest_ms = max((each.last_ms for each in self.counted(outcome, scope)), default=None)
        if latest_ms is None:
            raise EvaluationError(f"no interaction {outcome!r} in scope {scope!r}")
        return latest_ms

    def matching(self, outcome: str, scope: str) -> list[Interaction]:
        """The interactions of this outcome in this scope that are kept one by one, oldest first."""
        return self._within(self._state.interactions, outcome, scope)

    def counted(self, outcome: str, scope: str) -> list[DayCount]:
        """What was before those, counted by the day, oldest day first."""
        return self._within(self._state.day_counts, outcome, scope)

    def _within(self, rows: Sequence[Row], outcome: str, scope: str) -> list[Row]:
        kind, _, key = scope.partition(":")
        if kind == "channel":
            outcomes = (outcome, JOINED) if outcome == "selected" else (outcome,)
            return [each for each in rows if each.outcome in outcomes and each.channel == self._channel]
        return [each for each in rows if each.outcome == outcome and (kind == "customer" or is_under(each.action, key))]
