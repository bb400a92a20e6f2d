"""Answers: a decision in the words of the wire, with tokens to respond by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from api.instants import text_of
from api.tokens import Sealer
from decisioning.interactions import DAY_MS
from decisioning.records import Versions
from decisioning.request import Placed

TOKEN_DAYS = 90  # how long a response may name a decision by its token


@dataclass(slots=True)
class Facts:
    """What an answer says beside its placements."""

    decision_id: str
    customer_id: str
    person_key: str
    channel: str
    at_ms: int
    profile_found: bool
    holdout: bool
    arms: Mapping[str, str]
    arm_probability: float | None  # of this holdout and these arms
    versions: Versions
    degraded: bool = False


def answer_of(facts: Facts, placements: Iterable[Placed], sealer: Sealer | None) -> dict[str, Any]:
    """The body of an answer; without a sealer nobody can respond to it, because nothing was recorded."""
    placed = list(placements)
    return {
        "decision_id": facts.decision_id,
        "customer_id": facts.customer_id,
        "profile_found": facts.profile_found,
        "valid_until": text_of(min(each.valid_until_ms for each in placed)),
        "degraded": facts.degraded,
        "holdout": facts.holdout,
        "arms": facts.arms,
        "arm_probability": None if facts.degraded else facts.arm_probability,
        "versions": msgspec.to_builtins(facts.versions),
        "placements": [_placement(each, facts, sealer) for each in placed],
    }


def event_token(sealer: Sealer, person: tuple[str, str], shown: tuple[str, str, str, str], *, at_ms: int) -> str:
    """What a caller responds by. person: id and person key; shown: decision, placement, action and channel."""
    return sealer.seal("event", [*person, *shown, at_ms + TOKEN_DAYS * DAY_MS])


def _placement(placed: Placed, facts: Facts, sealer: Sealer | None) -> dict[str, Any]:
    token = None
    if sealer is not None and placed.action is not None:
        shown = facts.decision_id, placed.placement, placed.action, facts.channel
        token = event_token(sealer, (facts.customer_id, facts.person_key), shown, at_ms=facts.at_ms)
    return {
        "placement": placed.placement,
        "outcome": placed.outcome,
        "action": placed.action,
        "treatment": placed.treatment,
        "rank": placed.rank,
        "content": placed.content,
        "reasons": placed.reasons,
        "propensity": placed.propensity,
        "uplift": placed.uplift,
        "priority": placed.priority,
        "expected_value": placed.expected_value,
        # A degraded answer is no trial of any policy, whatever it shows.
        "selection_probability": None if facts.degraded else placed.selection_probability,
        "lease_of": placed.lease_of,
        "event_token": token,
    }
