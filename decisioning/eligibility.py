"""Gates: who may get it, whether it makes sense now, and whether it is good for the customer.

Pure. Sets of actions go in and come out as masks; every drop has its reason. A rule that cannot be evaluated is
`unknown`: it never passes and never reads as a quiet no.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.consent import permitted
from decisioning.contact_policy import held_back
from decisioning.customer import Snapshot
from decisioning.moment import Moment
from decisioning.volume import Occasion, withheld


@dataclass(slots=True)
class Gated:
    """What the gates left. `allowed` passed dates, consent and rules; `reachable` passed limits and budgets too."""

    allowed: Mask
    reachable: Mask
    drops: dict[str, Mask] = field(default_factory=dict)
    policies: dict[str, Mask] = field(default_factory=dict)  # contact policy -> what it holds back


def live(strategy: Strategy, *, now_ms: int) -> Mask:
    """Actions whose dates include now."""
    mask = (1 << len(strategy.actions)) - 1
    for index in strategy.dated:
        action = strategy.actions[index]
        if (action.start_ms is not None and now_ms < action.start_ms) or (
            action.end_ms is not None and now_ms >= action.end_ms
        ):
            mask &= ~(1 << index)
    return mask


def gate(candidates: Mask, moment: Moment, snapshot: Snapshot, strategy: Strategy) -> Gated:
    """Pass the candidates through dates, consent, quiet hours, the rules of each stage, contact policies and volume
    constraints, in this order.
    """
    drops: dict[str, Mask] = {}
    state = snapshot.state
    consented = permitted(strategy, state.consents, channel=moment.channel)
    left = candidates & live(strategy, now_ms=moment.now_ms)
    _drop(drops, "not_live", candidates & ~left)
    _drop(drops, "consent", left & ~consented)
    left &= consented
    if moment.quiet_until_ms is not None:
        _drop(drops, "quiet_hours", left & ~strategy.mandatory_mask)
        left &= strategy.mandatory_mask
    for stage in strategy.gates:
        no, unknown = stage.index.evaluate(moment.activation, left)
        _drop(drops, stage.name, no)
        _drop(drops, f"{stage.name}_unknown", unknown)
        left ^= no | unknown
    policies = held_back(strategy, state, channel=moment.channel, now_ms=moment.now_ms)
    held = 0
    for mask in policies.values():
        held |= mask
    _drop(drops, "contact_policy", left & held)
    reachable = left & ~held
    short = withheld(reachable, strategy, snapshot.quotas, Occasion(moment.channel, moment.now_ms), spent={})
    for reason, mask in short.items():
        _drop(drops, reason, mask)
        reachable &= ~mask
    return Gated(left, reachable, drops, policies)


def _drop(drops: dict[str, Mask], reason: str, mask: Mask) -> None:
    if mask:
        drops[reason] = mask
