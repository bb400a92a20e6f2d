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
from decisioning.eligibility import live
from decisioning.moment import Moment
from rules import EvaluationError


@dataclass(slots=True)
class Renewed:
    """The lease as it stands now, and why entries ended (`code:action:cause`)."""

    entries: list[LeaseEntry]
    ended: list[str]


def renew(entries: Sequence[LeaseEntry], moment: Moment, strategy: Strategy) -> Renewed:
    """Keep what still holds; expired entries leave without a word, others with the gate that ended them."""
    renewed = Renewed([], [])
    for entry in entries:
        if entry.until_ms <= moment.now_ms:
            continue
        cause = _cause_of_end(entry.action, moment, strategy)
        if cause is None:
            renewed.entries.append(entry)
        else:
            renewed.ended.append(f"lease_ended:{entry.action}:{cause}")
    return renewed


def showable(entries: Sequence[LeaseEntry], allowed: Mask, strategy: Strategy) -> Mask:
    """The leased actions that pass consent and rules in this render."""
    mask = 0
    for entry in entries:
        mask |= 1 << strategy.action_index[entry.action]
    return mask & allowed


def end_by_answer(entries: Sequence[LeaseEntry], actions: Collection[str], *, at_ms: int) -> list[LeaseEntry]:
    """The lease after an answer about these actions; what was promised after the answer was given stays promised."""
    return [entry for entry in entries if entry.action not in actions or entry.at_ms > at_ms]


def _cause_of_end(action: str, moment: Moment, strategy: Strategy) -> str | None:
    index = strategy.action_index.get(action)
    if index is None:
        return "withdrawn"
    if not live(strategy, now_ms=moment.now_ms) >> index & 1:
        return "not_live"
    for stage in strategy.gates:
        for predicate in stage.index.predicates(index):
            if stage.reads_context(predicate):
                continue
            try:
                if not predicate(moment.activation):
                    return stage.name
            except EvaluationError:
                continue
    return None
