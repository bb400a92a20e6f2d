"""Decide: an offer, a message, or nothing. The main path.

Pure and synchronous: the clock is in the snapshot, randomness is a hash of the inputs, the store stays outside. Online
requests, personas, simulation and replay all call this one function.
"""

from __future__ import annotations

from dataclasses import replace

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.customer import Hold, LeaseEntry, Snapshot, State
from decisioning.eligibility import gate
from decisioning.entering import enter
from decisioning.errors import UnknownChannel, UnknownPlacement
from decisioning.experiments.assignment import standing_of
from decisioning.filling import Filling
from decisioning.interactions import append
from decisioning.lease import renew
from decisioning.moment import moment_of
from decisioning.placement import fill
from decisioning.request import OFFER, Decision, Request
from decisioning.scoring import Scorer, appraise
from decisioning.store.protocol import Movement
from decisioning.volume import charges, movements_for, settled


def decide(request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, decision_id: str) -> Decision:
    """Decide what each asked placement shows and what the customer's next state is.

    decision_id names the draw in leases and records; it has no influence on the outcome. Raises UnknownChannel or
    UnknownPlacement.
    """
    filling = prepare(request, snapshot, strategy, scorer, decision_id=decision_id)
    placements = fill(filling)
    standing = filling.standing
    state = next_state(filling)
    movements = [] if state is None else moved(filling, state)
    return Decision(
        decision_id,
        snapshot.now_ms,
        standing.holdout,
        standing.arms,
        standing.probability,
        placements,
        filling.gated.drops,
        filling.drops,
        snapshot.state if state is None else state,
        state is not None,
        filling.moment.attributes,
        movements,
    )


def prepare(request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, decision_id: str) -> Filling:
    """Everything known before the first placement is filled: gates passed, lease renewed, contenders scored."""
    candidates = candidates_for(request, strategy)
    moment = moment_of(request, snapshot, strategy, scorer.reads)
    standing = standing_of(snapshot.state.assignment_key, strategy)
    gated = gate(candidates, moment, snapshot, strategy)
    if standing.holdout:
        gated.allowed &= strategy.bypass_mask  # what was leased or held before the holdout began is not shown either
    renewed = renew(snapshot.state.lease, moment, strategy)
    appraisal = appraise(gated.reachable, moment, strategy, scorer)
    language = strategy.language_of(moment.attributes)
    return Filling(request, snapshot, strategy, moment, standing, gated, renewed, appraisal, decision_id, language)


def candidates_for(request: Request, strategy: Strategy) -> Mask:
    """Every action that has a treatment for one of the asked placements."""
    if request.channel not in strategy.channels:
        raise UnknownChannel(f"unknown channel {request.channel!r}. Known: {', '.join(sorted(strategy.channels))}.")
    mask = 0
    for name in request.placements:
        placement = strategy.placements.get(name)
        if placement is None or placement.channel != request.channel:
            known = sorted(each.name for each in strategy.placements.values() if each.channel == request.channel)
            raise UnknownPlacement(f"channel {request.channel!r} has no placement {name!r}. Known: {', '.join(known)}.")
        mask |= placement.candidates.mask
    return mask


def next_state(filling: Filling) -> State | None:
    """What the customer's state becomes once this answer is committed; None where the answer only repeats.

    What ran out by time alone stays behind until something else changes: all who read it look at the time, and two
    channels that show the same lease at once do not get in each other's way.
    """
    now_ms, decision_id, before = filling.moment.now_ms, filling.decision_id, filling.snapshot.state
    channel = filling.request.channel
    trials = [placed for placed in filling.placed if placed.is_trial]
    entering = [entry.action for entry in filling.rendered if channel not in entry.channels]
    # Before the first draw there may be no record of somebody yet, and nobody may be stored: their keys must be written
    # with the record, even if it is of the silence of quiet hours, or nothing would lead from the one to the other.
    if before.draw_index and not (trials or entering or filling.renewed.ended):
        return None
    state = replace(
        before,
        lease=list(filling.renewed.entries),
        holds={slot: hold for slot, hold in before.holds.items() if hold.until_ms > now_ms},
        interactions=list(before.interactions),
        draw_index=before.draw_index + bool(trials),
    )
    for action in entering:
        enter(state, action, channel)
    for placed in trials:
        if placed.outcome == OFFER and placed.action is not None:
            state.lease.append(LeaseEntry(placed.action, decision_id, now_ms, placed.valid_until_ms, [channel]))
        else:
            state.holds[placed.slot] = Hold(placed.action, decision_id, placed.valid_until_ms)
    for each in filling.met:
        append(state, each)
    return state


def moved(filling: Filling, state: State) -> list[Movement]:
    """What the answer takes of budgets, and what they get back; notes in the lease's entries what is reserved."""
    leased = {entry.action: entry for entry in state.lease}
    found = settled(filling.snapshot.state.lease, state.lease, now_ms=filling.moment.now_ms)
    for placed in filling.placed:
        if placed.is_trial and placed.action is not None:
            made = charges(filling.index_of(placed.action), filling.strategy, filling.occasion())
            found += movements_for(made, leased.get(placed.action))
    for entry in filling.rendered:
        if filling.request.channel not in entry.channels:
            made = charges(filling.index_of(entry.action), filling.strategy, filling.occasion(is_join=True))
            found += movements_for(made, leased[entry.action])
    return found
