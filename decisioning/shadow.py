"""Shadow: what another model would have made of a decision. It is scored and logged, and decides nothing.

It is asked about the very candidates that stood for each drawn outcome, given what was placed before it, so that
its choice and the recorded one differ by the model alone.
"""

from __future__ import annotations

from typing import Any

from decisioning.explain import ranks
from decisioning.filling import Filling
from decisioning.request import NOTHING, OFFER, Decision, Placed


def shadowed(filling: Filling, decision: Decision) -> list[dict[str, Any]]:
    """One entry per drawn outcome: the other model's propensity for the placed action, and whom it would put first.

    filling is the answer to the same request and snapshot as the decision, prepared with the other model.
    """
    return [_of_placement(placed, filling, decision) for placed in decision.placements if placed.is_trial]


def _of_placement(placed: Placed, filling: Filling, decision: Decision) -> dict[str, Any]:
    strategy = filling.strategy
    placement = strategy.placements[placed.placement]
    ranked = ranks(placement.candidates, filling, decision.placement_drops.get(placed.slot, {}))
    first, priority = NOTHING, placement.nothing_value
    for index, (rank, reached) in ranked.items():
        if rank == 1 and (reached > priority or "mandatory" in placed.reasons):
            first, priority = strategy.actions[index].key, reached
    propensity = None
    if placed.outcome == OFFER and placed.action is not None:
        propensity = float(filling.appraisal.propensity[strategy.action_index[placed.action]])
    found = {"placement": placed.placement, "rank": placed.rank, "propensity": propensity}
    return found | {"first": first, "priority": priority}
