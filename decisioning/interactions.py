"""Interactions: what a customer's recent past answers to rules and contact policies.

Pure. `history.count(…)` and its two sisters in rules are the methods of `History`; contact policies count with the same
scopes. A window that reaches further back than what is kept is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from decisioning.customer import Interaction, State
from rules import Duration, EvaluationError, Timestamp

ANSWERS = frozenset({"accepted", "rejected", "converted", "dismissed"})
KEPT_COUNT_MAX = 400  # per customer; 45 bytes each, so about 18 KB at worst
DAY_MS = 86_400_000


def is_under(action: str, key: str) -> bool:
    """True when the action is, or belongs to, the issue, group or action named by key (`grow`, `grow/cards`,
    `grow/cards/gold`).
    """
    return action == key or action.startswith(key + "/")


def append(state: State, interaction: Interaction) -> None:
    """Remember one interaction, in time order; past the bound the oldest that is no answer is forgotten first."""
    kept = state.interactions
    position = len(kept)
    while position and kept[position - 1].at_ms > interaction.at_ms:
        position -= 1
    kept.insert(position, interaction)
    if len(kept) > KEPT_COUNT_MAX:
        position = next((index for index, each in enumerate(kept) if each.outcome not in ANSWERS), 0)
        forgotten = kept.pop(position)
        state.complete_since_ms = max(state.complete_since_ms, forgotten.at_ms + 1)
        if forgotten.outcome in ANSWERS:
            state.answers_since_ms = max(state.answers_since_ms, forgotten.at_ms + 1)


def complete_since(state: State, outcomes: Iterable[str]) -> int:
    """From when on all interactions of these outcomes are remembered."""
    return state.answers_since_ms if ANSWERS.issuperset(outcomes) else state.complete_since_ms


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
        since_ms = self._now_ms - window.to_ms()
        kept_since_ms = complete_since(self._state, (outcome,))
        if since_ms < kept_since_ms:
            raise EvaluationError(f"history of {outcome} is kept only since {Timestamp.from_ms(kept_since_ms)}")
        return sum(1 for each in self.matching(outcome, scope) if each.at_ms > since_ms)

    def days_since(self, outcome: str, scope: str) -> float:
        """Days since the latest such interaction; unknown when there was none."""
        return (self._now_ms - self._latest(outcome, scope).at_ms) / DAY_MS

    def last(self, outcome: str, scope: str) -> Timestamp:
        """When the latest such interaction happened; unknown when there was none."""
        return Timestamp.from_ms(self._latest(outcome, scope).at_ms)

    def _latest(self, outcome: str, scope: str) -> Interaction:
        latest = None
        for latest in self.matching(outcome, scope):  # noqa: B007 - they are in time order, the last one is wanted
            pass
        if latest is None:
            raise EvaluationError(f"no interaction {outcome!r} in scope {scope!r}")
        return latest

    def matching(self, outcome: str, scope: str) -> Iterator[Interaction]:
        """The interactions of this outcome in this scope, oldest first."""
        kind, _, key = scope.partition(":")
        for each in self._state.interactions:
            if each.outcome != outcome:
                continue
            if kind == "customer" or (
                each.channel == self._channel if kind == "channel" else is_under(each.action, key)
            ):
                yield each
