"""Customers: read, change and erase one. Effective on the very next request, in every channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from api.changes import changed
from api.endpoint import Call
from api.errors import Problem
from api.instants import text_of
from decisioning.catalog.schema import Schema
from decisioning.customer import Consent, Profile, Snapshot, State
from decisioning.errors import InvalidIdentifier
from decisioning.identifiers import checked_customer_id
from decisioning.profile import forgotten, restated
from decisioning.store.protocol import Change

SOURCE_UNSTATED = "api"  # of attributes whose schema names none


async def get_customer(call: Call) -> dict[str, Any]:
    """GET: what is known, by source with its age."""
    call.service.deployed()
    snapshot = await _read(call)
    if snapshot.state_version == 0:
        raise Problem("not_found", "Nobody is stored under this id.", "customer_id")
    return answer_of(snapshot)


async def patch_customer(call: Call) -> dict[str, Any]:
    """PATCH: set attributes, typed by the schema; null forgets one. Creates a customer who was unknown."""
    schema = call.service.deployed().strategy.schema
    for name, value in call.body.attributes.items():
        if value is None:
            schema.type_of(f"customer.{name}")  # it must exist to be forgotten
        else:
            schema.typed(f"customer.{name}", value)

    def apply(snapshot: Snapshot) -> tuple[State, Profile | None]:
        return replace(snapshot.state, holds={}), _patched(snapshot, call.body.attributes, schema)

    return answer_of(await _changed(call, apply))


async def delete_customer(call: Call) -> dict[str, Any]:
    """DELETE: erase everything, the key of the sealed history included."""
    customer_key = customer_key_of(call)
    if not await call.service.store.erase(customer_key):
        raise Problem("not_found", "Nobody is stored under this id.", "customer_id")
    return {"customer_id": customer_key, "erased": True}


def customer_key_of(call: Call) -> str:
    """The customer that the path names."""
    return customer_key_in(call.path["customer_id"], where="customer_id")


def customer_key_in(text: str, *, where: str) -> str:
    """The customer that a text names; raises Problem, blaming `where`, for one that names nobody."""
    try:
        return checked_customer_id(text)
    except InvalidIdentifier as error:
        raise Problem("invalid_identifier", str(error), where) from None


async def _read(call: Call) -> Snapshot:
    return (await call.service.store.read([customer_key_of(call)]))[0]


async def _changed(call: Call, apply: Callable[[Snapshot], tuple[State, Profile | None]]) -> Snapshot:
    """The customer after a change."""

    def change_of(snapshot: Snapshot) -> Change:
        state, profile = apply(snapshot)
        return Change(snapshot.customer_key, snapshot.state_version, state, profile)

    change, snapshot, _ = await changed(call.service.store, customer_key_of(call), change_of)
    return replace(snapshot, state=change.state or snapshot.state, profile=change.profile or snapshot.profile)


def _patched(snapshot: Snapshot, attributes: dict[str, Any], schema: Schema) -> Profile:
    """The profile with each attribute set in the source its schema names, now; the others keep their age.

    Where it names none, every source that ever told something about this customer forgets.
    """
    sources = dict(snapshot.profile.sources) if snapshot.profile is not None else {}
    for name, value in attributes.items():
        stated = schema.attributes[f"customer.{name}"].source
        for source in [stated or SOURCE_UNSTATED] if value is not None or stated else list(sources):
            if value is None:
                sources[source] = forgotten(sources.get(source), name, at_ms=snapshot.now_ms)
            else:
                sources[source] = restated(sources.get(source), {name: value}, at_ms=snapshot.now_ms)
    return Profile(sources)


def answer_of(snapshot: Snapshot) -> dict[str, Any]:
    """A customer on the wire."""
    state, profile = snapshot.state, snapshot.profile
    sources = profile.sources if profile is not None else {}
    return {
        "customer_id": snapshot.customer_key,
        "profile_found": profile is not None,
        "sources": {
            name: {
                "at": text_of(facts.at_ms),
                "attributes": facts.attributes,
                "times": {
                    attribute: text_of(at_ms)
                    for attribute, at_ms in facts.times_ms.items()
                    if attribute in facts.attributes  # those of forgotten ones are nobody's concern
                },
            }
            for name, facts in sources.items()
        },
        "consents": [consent_answer(each) for each in state.consents],
        "lease": [
            {"action": each.action, "decision_id": each.decision_id, "until": text_of(each.until_ms)}
            for each in state.lease
            if each.until_ms > snapshot.now_ms
        ],
        "interactions": [
            {"at": text_of(each.at_ms), "outcome": each.outcome, "action": each.action, "channel": each.channel}
            for each in state.interactions
        ],
        "interaction_counts": [
            {
                "day": text_of(each.last_ms)[:10],
                "outcome": each.outcome,
                "action": each.action,
                "channel": each.channel,
                "times": each.times,
                "last_at": text_of(each.last_ms),
            }
            for each in state.day_counts
        ],
        "mails": [
            {
                "placement": each.placement,
                "decision_id": each.decision_id,
                "action": each.action,
                "at": text_of(each.at_ms),
                "until": text_of(each.until_ms),
                "held": each.held,
            }
            for each in state.renders
        ],
    }


def consent_answer(consent: Consent) -> dict[str, Any]:
    """One permission on the wire."""
    return {
        "channel": consent.channel,
        "purpose": consent.purpose,
        "granted": consent.granted,
        "at": text_of(consent.at_ms),
        "version": consent.version,
        "source": consent.source,
        "basis": consent.basis,
    }
