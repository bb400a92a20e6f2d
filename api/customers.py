"""Customers: read, change and erase one; state consents. Effective on the very next request, in every channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from api.changes import changed
from api.endpoint import Call
from api.errors import Problem
from api.instants import ms_of, text_of
from decisioning.catalog.schema import Schema
from decisioning.consent import change
from decisioning.customer import Profile, Snapshot, State
from decisioning.errors import InvalidIdentifier
from decisioning.identifiers import checked_customer_id
from decisioning.profile import restated
from decisioning.store.protocol import Change

SOURCE_UNSTATED = "api"  # of attributes whose schema names none


async def get_customer(call: Call) -> dict[str, Any]:
    """GET: what is known, by source with its age."""
    call.service.deployed()
    snapshot = await _read(call)
    if snapshot.state_version == 0:
        raise Problem("not_found", "Nobody is stored under this id.", "customer_id")
    return _answer(snapshot)


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

    return _answer(await _changed(call, apply))


async def put_consents(call: Call) -> dict[str, Any]:
    """PUT: state permissions and withdrawals; the newest statement wins, a withdrawal wins a tie."""
    strategy = call.service.deployed().strategy
    for at, statement in enumerate(call.body):
        if statement.channel not in strategy.channels:
            raise Problem("unknown_channel", f"Known: {', '.join(sorted(strategy.channels))}.", f"[{at}].channel")
        if statement.purpose not in strategy.schema.purposes:
            raise Problem(
                "invalid_field", f"Unknown purpose. Known: {', '.join(strategy.schema.purposes)}.", f"[{at}].purpose"
            )

    def apply(snapshot: Snapshot) -> tuple[State, Profile | None]:
        consents = list(snapshot.state.consents)
        for at, each in enumerate(call.body):
            now_ms = snapshot.now_ms
            at_ms = ms_of(each.at, now_ms=now_ms, where=f"[{at}].at") if isinstance(each.at, str) else now_ms
            consents = change(
                consents,
                channel=each.channel,
                purpose=each.purpose,
                granted=each.granted,
                at_ms=at_ms,
                source=call.key.key_id,
            )
        return replace(snapshot.state, consents=consents, holds={}), None

    return _answer(await _changed(call, apply))


async def delete_customer(call: Call) -> dict[str, Any]:
    """DELETE: erase everything, the key of the sealed history included."""
    customer_key = _customer_key(call)
    if not await call.service.store.erase(customer_key):
        raise Problem("not_found", "Nobody is stored under this id.", "customer_id")
    return {"customer_id": customer_key, "erased": True}


def _customer_key(call: Call) -> str:
    try:
        return checked_customer_id(call.path["customer_id"])
    except InvalidIdentifier as error:
        raise Problem("invalid_identifier", str(error), "customer_id") from None


async def _read(call: Call) -> Snapshot:
    return (await call.service.store.read([_customer_key(call)]))[0]


async def _changed(call: Call, apply: Callable[[Snapshot], tuple[State, Profile | None]]) -> Snapshot:
    """The customer after a change."""

    def change_of(snapshot: Snapshot) -> Change:
        state, profile = apply(snapshot)
        return Change(snapshot.customer_key, snapshot.state_version, state, profile)

    change, snapshot, _ = await changed(call.service.store, _customer_key(call), change_of)
    return replace(snapshot, state=change.state or snapshot.state, profile=change.profile or snapshot.profile)


def _patched(snapshot: Snapshot, attributes: dict[str, Any], schema: Schema) -> Profile:
    """The profile with each attribute set in the source its schema names, now; the others keep their age."""
    sources = dict(snapshot.profile.sources) if snapshot.profile is not None else {}
    for name, value in attributes.items():
        stated = schema.attributes[f"customer.{name}"].source
        for source in [stated or SOURCE_UNSTATED] if value is not None or stated else list(sources):
            sources[source] = restated(sources.get(source), {name: value}, at_ms=snapshot.now_ms)
    return Profile(sources)


def _answer(snapshot: Snapshot) -> dict[str, Any]:
    state, profile = snapshot.state, snapshot.profile
    sources = profile.sources if profile is not None else {}
    return {
        "customer_id": snapshot.customer_key,
        "profile_found": profile is not None,
        "sources": {
            name: {
                "at": text_of(facts.at_ms),
                "attributes": facts.attributes,
                "times": {attribute: text_of(at_ms) for attribute, at_ms in facts.times_ms.items()},
            }
            for name, facts in sources.items()
        },
        "consents": [
            {
                "channel": each.channel,
                "purpose": each.purpose,
                "granted": each.granted,
                "at": text_of(each.at_ms),
                "version": each.version,
                "source": each.source,
            }
            for each in state.consents
        ],
        "lease": [
            {"action": each.action, "decision_id": each.decision_id, "until": text_of(each.until_ms)}
            for each in state.lease
            if each.until_ms > snapshot.now_ms
        ],
        "interactions": [
            {"at": text_of(each.at_ms), "outcome": each.outcome, "action": each.action, "channel": each.channel}
            for each in state.interactions
        ],
    }
