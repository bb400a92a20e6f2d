"""Decide: an offer, a message, or nothing. The main path.

Pure and synchronous: the clock is in the snapshot, randomness is a hash of the inputs, the store stays outside.
Requests, rehearsals, personas, explanations and replay all come through here; what a machine fetches of a mail is made
of the same parts (`opening.py`).
"""

from __future__ import annotations

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.consequences import moved, next_state
from decisioning.customer import Snapshot
from decisioning.eligibility import Gated
from decisioning.errors import UnknownChannel, UnknownPlacement
from decisioning.experiments.assignment import standing_of
from decisioning.filling import Filling
from decisioning.lease import renew
from decisioning.moment import moment_of
from decisioning.placement import fill
from decisioning.request import Decision, Request
from decisioning.scoring import Scorer


def decide(request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, decision_id: str) -> Decision:
    """Decide what each asked placement shows and what the customer's next state is.

    decision_id names the draw in leases and records; it has no influence on the outcome. Raises UnknownChannel or
    UnknownPlacement.
    """
    return decided(prepare(request, snapshot, strategy, scorer, decision_id=decision_id))


def decided(filling: Filling) -> Decision:
    """The decision of a prepared answer."""
    decision = filled(filling)
    state = next_state(filling)
    if state is not None:
        decision.state, decision.changes_state, decision.movements = state, True, moved(filling, state)
    return decision


def filled(filling: Filling) -> Decision:
    """What a prepared answer shows, with the customer's state left as it is."""
    placements = fill(filling)
    snapshot, standing = filling.snapshot, filling.standing
    return Decision(
        filling.decision_id,
        snapshot.now_ms,
        standing.holdout,
        standing.arms,
        standing.probability,
        placements,
        dict(filling.gated.drops),
        filling.drops,
        state=snapshot.state,
        changes_state=False,
        attributes=filling.moment.attributes,
        movements=[],
    )


def prepare(request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, decision_id: str) -> Filling:
    """Everything known before the first placement is filled: the moment, the lease renewed, candidates to be gated.

    Only what an answer needs is asked of gates and of the model, and that is known when it is filled.
    """
    candidates = candidates_for(request, strategy)
    moment = moment_of(request, snapshot, strategy, scorer.reads)
    standing = standing_of(snapshot.state.assignment_key, strategy)
    gated = Gated(candidates, moment, snapshot, strategy)
    renewed = renew(snapshot.state.lease, gated, moment, strategy)
    language = strategy.language_of(moment.attributes)
    return Filling(request, snapshot, strategy, scorer, moment, standing, gated, renewed, decision_id, language)


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
