"""Records: what the log keeps of a decision, and how to decide it again.

A record holds everything `decide` read: request, attributes, state, budgets, versions. Personal values and the
customer's id are sealed with the customer's own key before the record leaves this module, so that deleting the key
erases the person and leaves the counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from decisioning.catalog.strategy import Strategy
from decisioning.consent import in_force
from decisioning.customer import Profile, Snapshot, SourceFacts, State
from decisioning.decide import candidates_for, decide
from decisioning.request import Decision, Placed, Request
from decisioning.scoring import Scorer
from decisioning.sealing import seal, unseal
from decisioning.store.packing import json_of, parsed, state_of
from decisioning.volume import Occasion, quotas_for, unspent
from rules import Timestamp

# The record names the person once and never holds its own key; no decision reads what tokens of other mails showed.
UNRECORDED_STATE = frozenset({"person_key", "sealing_key", "renders"})
CORE = (
    "placement",
    "outcome",
    "action",
    "treatment",
    "rank",
    "reasons",
    "propensity",
    "uplift",
    "priority",
    "expected_value",
    "selection_probability",
    "lease_of",
    "valid_until_ms",
)
_RECORDED_STATE = tuple(each.name for each in fields(State) if each.name not in UNRECORDED_STATE)
_core_values = attrgetter(*CORE)
_state_values = attrgetter(*_RECORDED_STATE)


@dataclass(frozen=True, slots=True)
class Versions:
    """What decided: named in every answer and record."""

    strategy: str
    model: str
    model_state: str | None = None


def decision_record(
    decision: Decision,
    request: Request,
    snapshot: Snapshot,
    strategy: Strategy,
    versions: Versions,
    *,
    key_id: str,
    shadow: Mapping[str, Any] | None = None,
    client_class: str | None = None,
) -> bytes:
    """The log record of a decision, as JSON.

    shadow is what another model would have made of it. client_class: who fetched a mail's picture or followed its link,
    where one of these asked.
    """
    personal, state = strategy.schema.personal_names, snapshot.state
    attributes, sealed_attributes = _parted(decision.attributes, personal["customer"])
    context, sealed_context = _parted(request.context, personal["context"])
    sealed = {"customer_id": snapshot.customer_key, "attributes": sealed_attributes, "context": sealed_context}
    return json_of(
        {
            "kind": "decision",
            "decision_id": decision.decision_id,
            "at_ms": decision.at_ms,
            "person_key": state.person_key,
            "channel": request.channel,
            "sending": request.sending,
            "offers_allowed": request.offers_allowed,
            "consents": in_force(strategy, state.consents, channel=request.channel),
            "placement_names": request.placements,
            "context": context,
            "profile_found": snapshot.profile is not None,
            "holdout": decision.holdout,
            "arms": decision.arms,
            "arm_probability": decision.arm_probability,
            "degraded": False,  # a degraded answer is not recorded
            "draw_index": state.draw_index,
            "versions": versions,
            "api_key": key_id,
            "snapshot": {
                "attributes": attributes,
                "state": dict(zip(_RECORDED_STATE, _state_values(state), strict=True)),
                "state_version": snapshot.state_version,
                "quotas": _quotas_read(request, snapshot, strategy),
            },
            "sealed": seal(state.sealing_key, json_of(sealed)),
            "placements": core_of(decision.placements),
            **({} if shadow is None else {"shadow": shadow}),
            **({} if client_class is None else {"client_class": client_class}),
        }
    )


def _parted(values: Mapping[str, Any], personal: Iterable[str]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """What everybody may read, and what is sealed."""
    if not personal:
        return values, {}
    readable = dict(values)
    return readable, {name: readable.pop(name) for name in personal if name in readable}


def _quotas_read(request: Request, snapshot: Snapshot, strategy: Strategy) -> Mapping[str, int]:
    """Of the partition's quotas those that the candidates could have asked for."""
    if not snapshot.quotas:
        return snapshot.quotas
    occasion = Occasion(request.channel, snapshot.now_ms)
    return quotas_for(candidates_for(request, strategy), strategy, snapshot.quotas, occasion)


def core_of(placements: Iterable[Placed]) -> list[dict[str, Any]]:
    """What a replay must reproduce to the last digit."""
    return [dict(zip(CORE, _core_values(placed), strict=True)) for placed in placements]


def instant(at_ms: int | None) -> str | None:
    """A time as RFC 3339 text; None for none."""
    return None if at_ms is None else str(Timestamp.from_ms(at_ms))


def as_json(value: Any) -> Any:
    """An attribute's typed value as JSON."""
    return str(value) if isinstance(value, Timestamp) else value


@dataclass(frozen=True, slots=True)
class Recorded:
    """One opened decision record: the inputs of `decide`, and what came of them then."""

    request: Request
    snapshot: Snapshot
    versions: Versions
    decision_id: str
    core: list[dict[str, Any]]


def open_record(body: Mapping[str, Any], sealing_key: str, strategy: Strategy) -> Recorded:
    """Turn a record back into a question and a snapshot.

    The strategy need not be the one that decided: what its schema does not know is left out, and budgets that the other
    did not ask are full. Raises SealBroken when the key is not the customer's, InvalidAttribute for a context that the
    schema now types otherwise.
    """
    private = parsed(unseal(sealing_key, body["sealed"]))
    seen = body["snapshot"]
    state = state_of({**seen["state"], "person_key": body["person_key"], "sealing_key": sealing_key})
    profile = (
        _profile_of({**seen["attributes"], **private["attributes"]}, strategy, at_ms=body["at_ms"])
        if body["profile_found"]
        else None
    )
    known = strategy.schema.attributes
    told = {**body["context"], **private["context"]}
    context = strategy.schema.context_of({name: each for name, each in told.items() if f"context.{name}" in known})
    asked = private["customer_id"], body["channel"], tuple(body["placement_names"]), context
    # A record can be older than a field, and history then has null: offers were allowed, and quiet hours not asked.
    is_third_try, is_sent = body.get("offers_allowed") is False, body.get("sending") is True
    request = Request(*asked, offers_allowed=not is_third_try, sending=is_sent)
    quotas = seen.get("quotas") or {}
    snapshot = Snapshot(private["customer_id"], body["at_ms"], seen["state_version"], profile, state, quotas)
    if body["versions"]["strategy"] != strategy.version:  # nobody knows what was left of a budget that was not asked
        snapshot.quotas = unspent(strategy, now_ms=body["at_ms"]) | quotas
    return Recorded(request, snapshot, Versions(**body["versions"]), body["decision_id"], body["placements"])


def replay(recorded: Recorded, strategy: Strategy, scorer: Scorer) -> Decision:
    """Decide a recorded question again."""
    return decide(recorded.request, recorded.snapshot, strategy, scorer, decision_id=recorded.decision_id)


def _profile_of(attributes: Mapping[str, Any], strategy: Strategy, *, at_ms: int) -> Profile:
    """A profile in which every recorded attribute is fresh and comes from the source its schema names."""
    profile = Profile()
    for name, value in attributes.items():
        attribute = strategy.schema.attributes.get(f"customer.{name}")
        if attribute is not None:
            profile.sources.setdefault(attribute.source or "record", SourceFacts(at_ms, {})).attributes[name] = value
    return profile
