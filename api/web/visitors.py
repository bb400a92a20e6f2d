"""Visitors: who a browser speaks for.

A visitor token is sealed over one customer, the origin of the site that gets it and an end at most an hour away. It
opens decisions and responses of that customer from pages of that site and nothing else, so a browser never holds an API
key. Nothing is stored: a token is as good as the key that sealed it. It also names the person whom the store had under
the customer's id then, so that it brings nobody back who was erased and shows nothing of who has the id next.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import msgspec

from api.endpoint import Call
from api.errors import Problem
from api.instants import text_of, wall_ms
from api.service import Service
from api.web.origins import check_origin, is_known
from decisioning.errors import StoreDamaged, StoreUnavailable
from decisioning.identifiers import checked_customer_id

MINUTE_MS = 60_000
ANONYMOUS_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whom a token names, and where it may be used."""

    customer_id: str
    origin: str
    person_key: str  # whom it was made for; empty when nobody was stored under the id yet


async def mint_visitor_token(call: Call) -> dict[str, Any]:
    """POST /v1/visitor-tokens: the site's own server asks for a customer it has signed in."""
    call.service.deployed()
    customer_id = checked_customer_id(call.body.customer.id)
    if not is_known(call.body.origin, call.service):
        message = "No channel lists this origin. Add it to `origins` in channels.yaml."
        raise Problem("invalid_field", message, "origin")
    person_key = await _person_key(call.service, customer_id) or ""
    return _token(call.service, customer_id, call.body.origin, call.body.minutes, person_key)


async def mint_anonymous(call: Call) -> dict[str, Any]:
    """POST /web/visitors: a page asks for somebody nobody knows; only ids of our own making come back as a token.

    128 random bits are as hard to guess as a key. The id of a visitor who was here before stays theirs for as long as
    somebody is stored under it: an erased one is over, and one that nothing is known of is as good as a new one.
    """
    check_origin(call.origin, call.service, "origin")
    stated = call.body.visitor_id
    person_key = await _person_key(call.service, stated) if isinstance(stated, str) else ""
    visitor_id = f"v-{secrets.token_hex(16)}" if person_key == "" else stated
    token = _token(call.service, visitor_id, call.origin, ANONYMOUS_MINUTES, person_key or "")
    return {**token, "visitor_id": visitor_id}


def visitor_of(call: Call, *, grace_ms: int = 0) -> Visitor:
    """Who a browser speaks for. Raises Problem without a token, or for one that is not good here and now.

    grace_ms: how long after its end it is still good.
    """
    token = call.body.visitor_token
    if token is msgspec.UNSET:
        raise Problem("unauthorised", "Send a visitor_token; POST /web/visitors makes one.", "visitor_token")
    try:
        parts = call.service.seals.open("visitor", token, "visitor_token")
    except Problem as problem:
        if problem.code != "invalid_token":
            raise
        raise Problem("unauthorised", problem.message, "visitor_token") from None
    customer_id, origin, expires_ms, person_key = (*parts, "")[:4]  # those of before name no person
    if not isinstance(expires_ms, int) or expires_ms + grace_ms < wall_ms():
        raise Problem("unauthorised", "This token has expired. Ask your server for a new one.", "visitor_token")
    if origin != call.origin:
        raise Problem("forbidden", "This token was made for the pages of another origin.", "visitor_token")
    return Visitor(str(customer_id), str(origin), str(person_key))


async def _person_key(service: Service, customer_id: str) -> str | None:
    """Of who is stored under this id: empty for nobody, None while the store does not say."""
    try:
        reading = service.store.read([customer_id])
        (snapshot,) = await service.deadlines.keep(service.settings.deadline_ms / 1000, reading)
    except (StoreUnavailable, StoreDamaged, TimeoutError):  # pages get their tokens all the same, as they get answers
        return None
    return snapshot.state.person_key if snapshot.state_version else ""


def _token(service: Service, customer_id: str, origin: str, minutes: int, person_key: str) -> dict[str, Any]:
    expires_ms = wall_ms() + minutes * MINUTE_MS
    token = service.seals.seal("visitor", [customer_id, origin, expires_ms, person_key])
    return {"visitor_token": token, "expires_at": text_of(expires_ms)}
