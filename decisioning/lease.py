"""Lease: the promise that the offer is the same whatever the channel.

Pure. An ordered list of offers with an end. The first live entry is *the* offer: a channel that cannot show it shows a
message or nothing, never a competing offer; further entries only stand beside it. An entry ends by time, by an answer,
or when a gate says no on the customer's own facts. A gate that reads the context or is unknown, and a channel's
consent or limit, silence that render only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.customer import LeaseEntry
from decisioning.eligibility import Gated
from decisioning.moment import Moment
from rules import EvaluationError


@dataclass(slots=True)
class Renewed:
    """The lease as it stands now, and why entries ended (`code:action:cause`)."""

    entries: list[LeaseEntry]
    ended: list[str]


def renew(entries: Sequence[LeaseEntry], gated: Gated, moment: Moment, strategy: Strategy) -> Renewed:
    """Keep what still holds; expired entries leave without a word, others with the gate that ended them."""
    renewed = Renewed([], [])
    lasting = [entry for entry in entries if entry.until_ms > moment.now_ms]
    allowed = gated.allowed(actions_of(lasting, strategy))
    for entry in lasting:
        index = strategy.action_index.get(entry.action)
        is_allowed = index is not None and allowed >> index & 1  # then nothing has ended it, and nobody looks why
        cause = None if is_allowed else _cause_of_end(index, moment, strategy)
        if cause is None:
            renewed.entries.append(entry)
        else:
            renewed.ended.append(f"lease_ended:{entry.action}:{cause}")
    return renewed


def actions_of(entries: Sequence[LeaseEntry], strategy: Strategy) -> Mask:
    """The leased actions, of those the strategy has."""
    mask = 0
    for entry in entries:
        index = strategy.action_index.get(entry.action)
        mask |= 0 if index is None else 1 << index
    return mask


def end_by_answer(entries: Sequence[LeaseEntry], actions: Collection[str], *, at_ms: int) -> list[LeaseEntry]:
    """The lease after an answer about these actions; what was promised after the answer was given stays promised."""
    return [entry for entry in entries if entry.action not in actions or entry.at_ms > at_ms]


def _cause_of_end(index: int | None, moment: Moment, strategy: Strategy) -> str | None:
    if index is None:
        return "withdrawn"
    if not strategy.calendar.live(moment.now_ms) >> index & 1:
        return "not_live"
    for stage in strategy.gates:
        for predicate in stage.predicates(index):
            if stage.reads_context(predicate):
                continue
            try:
                if not predicate(moment.activation):
                    return stage.name
            except EvaluationError:
                continue
    return None
