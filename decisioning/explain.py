"""Explain: for every candidate, the rank it reached or the gate that stopped it, with the rule and the values it saw.

Cold path. It prepares the same answer as `decide` and then asks each action alone; what stopped one is told by
`evidence.py`, and `sentences.py` puts an entry into words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from decisioning.arbitration import arbitrate
from decisioning.catalog.strategy import Action, Candidates, Mask, Strategy, indexes_of
from decisioning.draws import and_nothing, chances
from decisioning.evidence import Evidence
from decisioning.filling import Filling
from decisioning.records import instant
from decisioning.request import NOTHING, Decision, Placed

# Reasons of an outcome that tell why no other candidate is there.
SETTLED = ("nothing_worth_more", "lease", "held", "random_arm", "explored")
UNASKED = ("lease", "held", "holdout")  # reasons of outcomes for which no model was asked
FIGURES = ("rank", "priority", "propensity", "uplift", "selection_probability")  # of an outcome, as records keep them


def explain(filling: Filling, decision: Decision, *, hidden: Collection[str] = ()) -> list[dict[str, Any]]:
    """One entry per placed outcome and candidate: `placed`, `ranked` or `dropped`, with what decided it.

    filling is the prepared answer of the same request and snapshot as the decision; hidden are the attribute paths
    whose values are shown as `masked`.
    """
    evidence = Evidence(filling, decision.placements, hidden_by(filling.strategy, frozenset(hidden)))
    return [entry for placed in decision.placements for entry in _of_placement(placed, filling, decision, evidence)]


def explain_gates(filling: Filling, placements: Sequence[Placed]) -> list[dict[str, Any]]:
    """The same for recorded outcomes whose model state is gone, as far as gates tell it: `placed` with the figures of
    then, `dropped`, or `unscored`. The order is the strategy's.
    """
    evidence, drops = Evidence(filling, placements, frozenset()), filling.gated.drops_of_all()
    entries = []
    for placed in placements:
        for index in filling.strategy.placements[placed.placement].candidates.action_index.tolist():
            action, reason = filling.strategy.actions[index], _reason(index, drops)
            entry = _named(action, placed)
            if placed.action == action.key:
                entry |= {name: getattr(placed, name) for name in FIGURES} | _placed(placed)
            elif reason is not None:
                entry |= {"status": "dropped", "reason": reason, **evidence.of(reason, action, placed)}
            else:
                settled = placed.reasons[0] if placed.reasons[0] in UNASKED else "unscored"
                entry |= {"status": "unscored", **_lost_to(placed), "reason": settled}
            entries.append(entry)
    return entries


def hidden_by(strategy: Strategy, hidden: frozenset[str]) -> frozenset[str]:
    """The hidden attributes and the derived ones that would tell what they are."""
    return hidden | {each.name for each in strategy.derived.values() if each.reads & hidden}


def _of_placement(placed: Placed, filling: Filling, decision: Decision, evidence: Evidence) -> Iterator[dict[str, Any]]:
    strategy = filling.strategy
    candidates = strategy.placements[placed.placement].candidates
    kept_out, gate_drops = decision.placement_drops.get(placed.slot, {}), filling.gated.drops_of_all()
    ranked = ranks(candidates, filling, kept_out)
    chosen_with = _chances(placed, filling, ranked)
    for index in sorted(
        (int(each) for each in candidates.action_index), key=lambda each: ranked.get(each, (np.inf,))[0]
    ):
        action = strategy.actions[index]
        entry = _named(action, placed)
        if index in ranked:
            rank, priority = ranked[index]
            entry |= {"rank": rank, "priority": priority, **_model_says(filling, action)}
        if index in chosen_with:
            entry["selection_probability"] = chosen_with[index]
        reason = _reason(index, kept_out) or _reason(index, gate_drops)
        if placed.action == action.key:
            entry |= _placed(placed)
        elif reason is not None:
            entry |= {"status": "dropped", "reason": reason, **evidence.of(reason, action, placed)}
        else:
            entry |= {"status": "ranked", **_lost_to(placed)}
        yield entry


def _named(action: Action, placed: Placed) -> dict[str, Any]:
    return {"placement": placed.placement, "slot": placed.slot, "action": action.key, "kind": action.kind}


def _reason(index: int, drops: Mapping[str, Mask]) -> str | None:
    return next((name for name, mask in drops.items() if mask >> index & 1), None)


def _placed(placed: Placed) -> dict[str, Any]:
    return {"status": "placed", "reasons": placed.reasons, "until": instant(placed.valid_until_ms)}


def ranks(candidates: Candidates, filling: Filling, kept_out: Mapping[str, int]) -> dict[int, tuple[int, float]]:
    """Rank and priority, by action index, of those who stood for the placement."""
    contenders = filling.gated.all_reachable() & candidates.mask
    for mask in kept_out.values():
        contenders &= ~mask
    index, person = indexes_of(contenders), filling.snapshot.state.assignment_key
    priority = filling.appraisal.priority[index]
    order = arbitrate(priority, filling.strategy.action_hash[index], person=person)
    return {int(index[at]): (rank, float(priority[at])) for rank, at in enumerate(order, start=1)}


def _model_says(filling: Filling, action: Action) -> dict[str, float | None]:
    """Propensity and uplift of an action; None for messages, the uplift also where the strategy ranks gross."""
    appraisal = filling.appraisal
    if action.kind == "message":
        return {"propensity": None, "uplift": None}
    uplift = None if appraisal.uplift is None else float(appraisal.uplift[action.index])
    return {"propensity": float(appraisal.propensity[action.index]), "uplift": uplift}


def _chances(placed: Placed, filling: Filling, stood: Iterable[int]) -> dict[int, float]:
    """How likely each action that stood for the placement was to be drawn; empty unless the draw explored."""
    exploration, placement = filling.strategy.exploration, filling.strategy.placements[placed.placement]
    is_certain = placed.selection_probability in (None, 1.0)
    if exploration is None or is_certain or filling.standing.draws_at_random:
        return {}
    index = and_nothing(sum(1 << at for at in stood), filling.strategy)
    return dict(zip(index.tolist(), chances(filling, placement, exploration, index).tolist(), strict=True))


def _lost_to(placed: Placed) -> dict[str, Any]:
    """Why a candidate that stood for the placement is not in it, and what is."""
    if placed.reasons[0] in SETTLED:
        reason = placed.reasons[0]
    else:
        reason = "mandatory" if "mandatory" in placed.reasons else "outranked"
    winner = {"action": placed.action or NOTHING, "priority": placed.priority, "until": instant(placed.valid_until_ms)}
    return {"reason": reason, "winner": winner}
