"""Claim: a person answers a choice that was held for a mail's token alone, because a machine had fetched it.

Pure. The first such answer charges and leases the choice as its draw would have, if no other offer is leased and
contact policies, budgets and consent allow it. Otherwise it is honoured all the same, recorded as late, and the
customer's lease and limits stand. respond.py takes the answer itself, on the state that this leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from decisioning.catalog.strategy import Strategy
from decisioning.consent import is_granted
from decisioning.contact_policy import held_back
from decisioning.customer import Hold, Interaction, LeaseEntry, Render, Snapshot, State
from decisioning.interactions import append
from decisioning.respond import ENDING_OUTCOMES, Response
from decisioning.store.protocol import Movement
from decisioning.volume import Charge, Occasion, charges, hoped, movements_for, withheld

CLAIMING_OUTCOMES = frozenset({"clicked", "accepted", "rejected", "dismissed", "converted"})  # what only persons do


@dataclass(frozen=True, slots=True)
class Claim:
    """What a first answer makes of a held choice."""

    state: State
    verdict: Literal["leased", "late_claim"]
    movements: Sequence[Movement]


def claim(response: Response, snapshot: Snapshot, strategy: Strategy) -> Claim | None:
    """The claim of a response; None where it is about nothing that is held. Needs the quotas of the partition."""
    held = _held_by(response, snapshot.state)
    if held is None or held.action is None or response.outcome not in CLAIMING_OUTCOMES:
        return None
    state = replace(snapshot.state, renders=[_settled(each, held) for each in snapshot.state.renders])
    channel = strategy.placements[held.placement].channel if held.placement in strategy.placements else ""
    index = strategy.action_index.get(held.action)
    if index is None or not _may_enter(index, channel, snapshot, strategy):
        return Claim(state, "late_claim", ())
    state.interactions = list(state.interactions)
    append(state, Interaction(snapshot.now_ms, "selected", held.action, channel))
    made = charges(index, strategy, Occasion(channel, snapshot.now_ms))
    return Claim(state, "leased", _entered(state, held, index, response, snapshot.now_ms, made, strategy, channel))


def units_wanted(response: Response, snapshot: Snapshot, strategy: Strategy) -> dict[str, int]:
    """Budget -> the units that the partition lacks for a claim which would lease with them; empty for any other."""
    hopes = replace(snapshot, quotas=hoped(strategy, snapshot.quotas, now_ms=snapshot.now_ms))
    held, hopeful = _held_by(response, snapshot.state), claim(response, hopes, strategy)
    if held is None or held.action is None or hopeful is None or hopeful.verdict != "leased":
        return {}
    occasion = Occasion(strategy.placements[held.placement].channel, snapshot.now_ms)
    made, at_hand = charges(strategy.action_index[held.action], strategy, occasion), snapshot.quotas
    lacking = {each.budget: each.units - at_hand.get(each.budget, 0) for each in made}
    return {budget: units for budget, units in lacking.items() if units > 0}


def _held_by(response: Response, state: State) -> Render | None:
    """The held render that a response is about."""
    for each in state.renders:
        if each.held and each.decision_id == response.decision_id and each.action == response.action:
            return each
    return None


def _settled(render: Render, held: Render) -> Render:
    return replace(render, held=False) if render is held else render


def _may_enter(index: int, channel: str, snapshot: Snapshot, strategy: Strategy) -> bool:
    state, now_ms, action = snapshot.state, snapshot.now_ms, 1 << index
    is_offer = bool(strategy.offer_mask & action)
    if is_offer and any(entry.until_ms > now_ms for entry in state.lease):
        return False  # another offer is leased; or the same one is, and was charged
    if not is_granted(strategy, state.consents, channel=channel, purpose=strategy.actions[index].purpose):
        return False
    if held_back(action, strategy, state, channel=channel, now_ms=now_ms):
        return False
    return not withheld(action, strategy, snapshot.quotas, Occasion(channel, now_ms), {})


def _entered(
    state: State,
    held: Render,
    index: int,
    response: Response,
    now_ms: int,
    made: Sequence[Charge],
    strategy: Strategy,
    channel: str,
) -> list[Movement]:
    """Promise the choice, unless the very answer ends the promise; what it takes of budgets."""
    assert held.action is not None
    until_ms = now_ms + strategy.channels[channel].lease_ms
    if not strategy.offer_mask >> index & 1:
        state.holds = {**state.holds, held.placement: Hold(held.action, held.decision_id, until_ms)}
        return movements_for(made, None)
    if response.outcome in ENDING_OUTCOMES:
        # What is reserved until somebody accepts is taken by the acceptance itself, as after any lease.
        return movements_for([each for each in made if not each.is_reserved], None)
    entry = LeaseEntry(held.action, held.decision_id, now_ms, until_ms, [channel])
    state.lease = [*(each for each in state.lease if each.until_ms > now_ms), entry]
    return movements_for(made, entry)
