"""Explain: for every candidate, the rank it reached or the gate that stopped it, with the rule and the values it saw.

Cold path. It prepares the same answer as `decide` and then asks each action alone, in the words its rules were written
in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from decisioning.arbitration import arbitrate
from decisioning.catalog.strategy import Action, Gate, Placement, Strategy
from decisioning.customer import Snapshot
from decisioning.decide import decide, prepare
from decisioning.moment import Moment, Scorer
from decisioning.placement import Filling, positions_of, priority_of
from decisioning.records import as_json
from decisioning.request import Decision, Request
from rules import EvaluationError, Program


def explain(
    request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, decision_id: str
) -> list[dict[str, Any]]:
    """One entry per placement and candidate: `placed`, `ranked` or `dropped`, with what decided it."""
    decision = decide(request, snapshot, strategy, scorer, decision_id=decision_id)
    filling = prepare(request, snapshot, strategy, scorer, decision_id=decision_id)
    return [
        entry for name in request.placements for entry in _of_placement(strategy.placements[name], filling, decision)
    ]


def _of_placement(placement: Placement, filling: Filling, decision: Decision) -> Iterator[dict[str, Any]]:
    strategy = filling.strategy
    shown = next(placed for placed in decision.placements if placed.placement == placement.name)
    candidates = placement.candidates
    chosen = positions_of(candidates, candidates.mask & filling.scores.contenders, strategy)
    index = candidates.action_index[chosen]
    priority = priority_of(filling.scores, candidates, chosen)
    order = arbitrate(priority, strategy.action_hash[index], person=filling.snapshot.state.assignment_key)
    ranks = {int(index[at]): (rank, float(priority[at])) for rank, at in enumerate(order, start=1)}
    by_rank = sorted(
        (int(each) for each in candidates.action_index), key=lambda each: ranks.get(each, (np.inf, 0.0))[0]
    )
    for each in by_rank:
        action = strategy.actions[each]
        entry: dict[str, Any] = {"placement": placement.name, "action": action.key, "kind": action.kind}
        if each in ranks:
            entry |= {
                "rank": ranks[each][0],
                "priority": ranks[each][1],
                "propensity": float(filling.scores.propensity[each]),
            }
        reason = _reason(each, decision.drops)
        if shown.action == action.key:
            entry["status"] = "placed"
        elif reason is not None:
            entry |= {"status": "dropped", "reason": reason, **_evidence(reason, action, filling)}
        else:
            entry |= {"status": "ranked", "reason": "outranked"}
        yield entry


def _reason(index: int, drops: Mapping[str, int]) -> str | None:
    return next((reason for reason, mask in drops.items() if mask >> index & 1), None)


def _evidence(reason: str, action: Action, filling: Filling) -> dict[str, Any]:
    """What stopped the action, in its author's words."""
    strategy, moment = filling.strategy, filling.moment
    if reason == "consent":
        return {"consent": {"channel": moment.channel, "purpose": action.purpose}}
    if reason == "contact_policy":
        return {"contact_policies": [name for name, mask in filling.gated.policies.items() if mask >> action.index & 1]}
    for stage in strategy.gates:
        if reason.removesuffix("_unknown") == stage.name:
            return _rule(stage, action, moment)
    return {}


def _rule(stage: Gate, action: Action, moment: Moment) -> dict[str, Any]:
    """The first rule of a stage that is not true, and the values it saw, missing ones named as missing."""
    for rule in stage.rules[action.index]:
        for clause in rule.clauses:
            try:
                if clause(moment.activation):
                    continue
                found: dict[str, Any] = {}
            except EvaluationError as error:
                found = {"unknown_because": str(error)}
            return {
                "rule": rule.text,
                "clause": clause.text,
                "where": rule.where,
                "values": _values(clause, moment),
                **found,
            }
    return {}


def _values(clause: Program, moment: Moment) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path in sorted(clause.reads):
        root, _, name = path.partition(".")
        if name and isinstance(known := moment.activation.get(root), Mapping):
            values[path] = as_json(known[name]) if name in known else "missing"
    return values
