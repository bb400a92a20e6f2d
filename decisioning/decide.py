"""Decide: an offer, a message, or nothing. The main path.

Pure and synchronous: the clock is in the snapshot, randomness is a hash of the inputs, the store stays outside. Online
requests, personas, simulation and replay all call this one function.
"""

from __future__ import annotations

from dataclasses import replace

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.customer import Hold, Interaction, LeaseEntry, Snapshot, State
from decisioning.eligibility import gate
from decisioning.errors import UnknownChannel, UnknownPlacement
from decisioning.experiments.assignment import standing_of
from decisioning.filling import Filling
from decisioning.interactions import append
from decisioning.lease import renew
from decisioning.moment import moment_of
from decisioning.placement import fill
from decisioning.request import OFFER, Decision, Request
from decisioning.scoring import Scorer, appraise


def decide(request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, decision_id: str) -> Decision:
    """Decide what each asked placement shows and what the customer's next state is.

    decision_id names the draw in leases and records; it has no influence on the outcome. Raises UnknownChannel or
    UnknownPlacement.
    """
    filling = prepare(request, snapshot, strategy, scorer, decision_id=decision_id)
    placements = fill(filling)
    standing = filling.standing
    state = next_state(filling)
    return Decision(
        decision_id,
        snapshot.now_ms,
        standing.holdout,
        standing.arms,
        standing.probability,
        placements,
        filling.gated.drops,
        filling.drops,
        state,
        filling.moment.attributes,
    )


def prepare(request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, decision_id: str) -> Filling:
    """Everything known before the first placement is filled: gates passed, lease renewed, contenders scored."""
    candidates = candidates_for(request, strategy)
    moment = moment_of(request, snapshot, strategy, scorer.reads)
    standing = standing_of(snapshot.state.assignment_key, strategy)
    gated = gate(candidates, moment, snapshot.state, strategy)
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


def next_state(filling: Filling) -> State:
    """What the customer's state becomes once this answer is committed."""
    now_ms, decision_id, before = filling.moment.now_ms, filling.decision_id, filling.snapshot.state
    state = replace(
        before,
        lease=list(filling.renewed.entries),
        holds={name: hold for name, hold in before.holds.items() if hold.until_ms > now_ms},
        interactions=list(before.interactions),
    )
    trials = [placed for placed in filling.placed.values() if placed.is_trial]
    for placed in trials:
        if placed.outcome == OFFER and placed.action is not None:
            state.lease.append(LeaseEntry(placed.action, decision_id, now_ms, placed.valid_until_ms))
        else:
            state.holds[placed.placement] = Hold(placed.action, decision_id, placed.valid_until_ms)
        if placed.action is not None:
            append(state, Interaction(now_ms, "selected", placed.action, filling.request.channel))
    state.draw_index += bool(trials)
    return state
