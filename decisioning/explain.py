"""Explain: for every candidate, the rank it reached or the gate that stopped it, with the rule and the values it saw.

Cold path. It prepares the same answer as `decide` and then asks each action alone, in the words its rules were written
in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from decisioning.arbitration import arbitrate
from decisioning.catalog.strategy import Action, Candidates, Gate
from decisioning.filling import Filling
from decisioning.moment import Moment
from decisioning.placement import priority_of
from decisioning.records import as_json
from decisioning.request import Decision, Placed
from rules import EvaluationError, Program


def explain(filling: Filling, decision: Decision) -> list[dict[str, Any]]:
    """One entry per placement and candidate: `placed`, `ranked` or `dropped`, with what decided it.

    filling is the prepared answer of the same request and snapshot as the decision.
    """
    return [entry for placed in decision.placements for entry in _of_placement(placed, filling, decision)]


def _of_placement(placed: Placed, filling: Filling, decision: Decision) -> Iterator[dict[str, Any]]:
    strategy = filling.strategy
    candidates = strategy.placements[placed.placement].candidates
    kept_out = decision.placement_drops.get(placed.placement, {})
    ranks = _ranks(candidates, filling, kept_out)
    for index in sorted(
        (int(each) for each in candidates.action_index), key=lambda each: ranks.get(each, (np.inf,))[0]
    ):
        action = strategy.actions[index]
        entry: dict[str, Any] = {"placement": placed.placement, "action": action.key, "kind": action.kind}
        if index in ranks:
            rank, priority = ranks[index]
            propensity = None if action.kind == "message" else float(filling.appraisal.propensity[index])
            entry |= {"rank": rank, "priority": priority, "propensity": propensity}
        reason = next(
            (name for drops in (kept_out, decision.drops) for name, mask in drops.items() if mask >> index & 1), None
        )
        if placed.action == action.key:
            entry["status"] = "placed"
        elif reason is not None:
            entry |= {"status": "dropped", "reason": reason, **_evidence(reason, action, filling)}
        else:
            entry |= {"status": "ranked", "reason": _lost_to(placed)}
        yield entry


def _ranks(candidates: Candidates, filling: Filling, kept_out: Mapping[str, int]) -> dict[int, tuple[int, float]]:
    """Rank and priority, by action index, of those who stood for the placement."""
    standing = filling.appraisal.contenders & candidates.mask
    for mask in kept_out.values():
        standing &= ~mask
    chosen = candidates.positions(standing, len(filling.strategy.actions))
    index = candidates.action_index[chosen]
    priority = priority_of(filling.appraisal, candidates, chosen)
    person = filling.snapshot.state.assignment_key
    order = arbitrate(priority, filling.strategy.action_hash[index], person=person)
    return {int(index[at]): (rank, float(priority[at])) for rank, at in enumerate(order, start=1)}


def _lost_to(placed: Placed) -> str:
    """Why a candidate that stood for the placement is not in it."""
    if placed.reasons[0] in ("nothing_worth_more", "lease", "held", "random_arm"):
        return placed.reasons[0]
    return "outranked"


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
