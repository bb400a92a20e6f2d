"""Personas: tests a marketer writes. One customer, one moment, the expected outcome, decided by the same `decide` as a
real one.

Propensities are stated in the persona (where the strategy ranks incremental, uplifts), so that the test is about the
strategy and not about this week's model; holdout, experiments and exploration do not apply. What was expected of an
action and did not come is explained as to an agent: with the rule that stopped it, and the facts it met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from decisioning.catalog.strategy import Persona, Strategy
from decisioning.customer import Consent, Interaction, Profile, Snapshot, SourceFacts, State
from decisioning.decide import decided, prepare
from decisioning.explain import explain
from decisioning.filling import Filling
from decisioning.interactions import DAY_MS, append
from decisioning.moment import Moment, moment_of
from decisioning.request import Decision, Request
from decisioning.scoring import StatedScorer
from decisioning.sentences import account_of
from decisioning.volume import unspent


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation of a persona that was not met."""

    where: str  # file:line:column of the persona
    persona: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.persona}: {self.message}"


def failures(strategy: Strategy, *, now_ms: int) -> list[Failure]:
    """What the strategy's personas expected and did not get."""
    return [
        Failure(persona.where, persona.name, line)
        for persona in strategy.personas
        for line in _failures(persona, strategy, now_ms)
    ]


def meet(persona: Persona, strategy: Strategy, *, now_ms: int) -> Decision:
    """Decide for a persona."""
    filling = _prepared(persona, strategy, now_ms)
    filling.gated.drops_of_all()  # a persona may expect a drop that its answer need not ask about
    return decided(filling)


def moment_with(persona: Persona, strategy: Strategy, *, now_ms: int) -> Moment:
    """What rules see of a persona."""
    return moment_of(_request(persona, strategy), _snapshot(persona, strategy, now_ms), strategy, strategy.reads)


def _prepared(persona: Persona, strategy: Strategy, now_ms: int) -> Filling:
    neutral = replace(strategy, holdout=None, exploration=None, experiments=())
    scorer = StatedScorer(strategy, persona.body.get("propensities", {}))
    snapshot = _snapshot(persona, strategy, now_ms)
    return prepare(_request(persona, strategy), snapshot, neutral, scorer, decision_id="persona")


def _failures(persona: Persona, strategy: Strategy, now_ms: int) -> Iterator[str]:
    decision = meet(persona, strategy, now_ms=now_ms)
    shown = {placed.slot: placed for placed in decision.placements}
    for slot, expected in persona.body.get("expect", {}).items():
        placed = shown.get(slot)
        if placed is None:
            yield f"{slot}: expected {expected['outcome']}, but the answer ends above it"
            continue
        for name, wanted in expected.items():
            if (got := getattr(placed, name)) != wanted:
                line = f"{slot}: expected {name} {wanted}, got {got} ({', '.join(placed.reasons)})"
                yield f"{line}. {_account(wanted, persona, strategy, decision, slot)}" if name == "action" else line
    for action, wanted in persona.body.get("expect_dropped", {}).items():
        got = decision.reasons_against(strategy.action_index[action])
        if wanted not in got:
            line = f"{action}: expected drop {wanted}, got {', '.join(got) or 'no drop'}"
            yield f"{line}. {_account(action, persona, strategy, decision)}"


def _account(action: str, persona: Persona, strategy: Strategy, decision: Decision, slot: str = "") -> str:
    """What became of an action in this slot, or in the first that dropped it, and where the rule stands that did."""
    filling = _prepared(persona, strategy, decision.at_ms)  # as it was before its placements were filled
    entries = [each for each in explain(filling, decision) if each["action"] == action and slot in ("", each["slot"])]
    if not entries:
        return f"{action} has no treatment in {slot or ' or '.join(persona.body['placements'])}."
    entry = next((each for each in entries if each["status"] == "dropped"), entries[0])
    account = account_of(entry, place=entry["slot"], zone=ZoneInfo(strategy.timezone))
    return f"{account} See {entry['where']}." if "where" in entry else account


def _request(persona: Persona, strategy: Strategy) -> Request:
    body = persona.body
    context = strategy.schema.context_of(body.get("context", {}))
    sending = body.get("sending", False)
    return Request(persona.name, body["channel"], tuple(body["placements"]), context, sending=sending)


def _snapshot(persona: Persona, strategy: Strategy, now_ms: int) -> Snapshot:
    if persona.at_ms is not None:
        now_ms = persona.at_ms
    profile = Profile()
    for name, value in persona.body.get("customer", {}).items():
        source = strategy.schema.attributes[f"customer.{name}"].source or "persona"
        profile.sources.setdefault(source, SourceFacts(now_ms, {})).attributes[name] = value
    state = State(person_key=persona.name, assignment_key=persona.name, sealing_key="")
    state.consents = [
        Consent(each["channel"], each["purpose"], each["granted"], now_ms, 1)
        for each in persona.body.get("consents", ())
    ]
    for each in persona.body.get("history", ()):
        append(
            state,
            Interaction(now_ms - int(each["days_ago"] * DAY_MS), each["outcome"], each["action"], each["channel"]),
        )
    return Snapshot(persona.name, now_ms, 1, profile, state, unspent(strategy, now_ms=now_ms))
