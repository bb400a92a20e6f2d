"""Gates and context weights: the rules of all actions, compiled together, so that a decision evaluates each once."""

from __future__ import annotations

from collections.abc import Sequence

from decisioning.catalog.actions import Draft
from decisioning.catalog.expressions import Expressions
from decisioning.catalog.faults import Faults
from decisioning.catalog.strategy import ContextWeight, Gate, Mask, Rule
from decisioning.catalog.template import Piece
from rules import BOOL, Program, StagedIndex

STAGES = ("eligibility", "applicability", "suitability")


def gates_of(drafts: Sequence[Draft], expressions: Expressions) -> tuple[Gate, ...]:
    """One gate per stage over all actions, in order of their indexes."""
    rules = [[_rules(stage, draft, expressions) for draft in drafts] for stage in STAGES]
    return tuple(Gate(stage, tuple(rows), expressions.contextual) for stage, rows in zip(STAGES, rules, strict=True))


def index_of(gates: Sequence[Gate]) -> StagedIndex:
    """The rules of all stages together, a row for each action."""
    return StagedIndex([[gate.predicates(index) for index in range(len(gate.rules))] for gate in gates])


def _rules(stage: str, draft: Draft, expressions: Expressions) -> tuple[Rule, ...]:
    return tuple(
        Rule(node.value, node.where, expressions.predicates(node, draft.owner)) for node in draft.node.scalars(stage)
    )


def context_weights_of(drafts: Sequence[Draft], expressions: Expressions, faults: Faults) -> tuple[ContextWeight, ...]:
    """Weights by condition; actions that share condition and weight share one evaluation."""
    programs: dict[str, Program] = {}
    masks: dict[tuple[str, float], Mask] = {}
    places: dict[tuple[str, float], str] = {}
    for index, draft in enumerate(drafts):
        seen = set()
        for node in draft.node.mappings("context_weights"):
            when, weight = node.scalar("when"), node.scalar("weight")
            if when is None or (program := expressions.program(when, Piece(when.value, 0), draft.owner, BOOL)) is None:
                continue
            if program.text in seen:
                faults.add(when, "this condition stands twice in the action", "Write it once, with one weight")
            seen.add(program.text)
            programs[program.text] = program
            key = program.text, float(weight.value) if weight else 1.0
            masks[key] = masks.get(key, 0) | 1 << index
            places.setdefault(key, when.where)
    return tuple(ContextWeight(programs[key[0]], key[1], mask, places[key]) for key, mask in sorted(masks.items()))
