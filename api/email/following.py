"""Following: where a mail's link leads, and the note that somebody followed it.

The destination comes from what the token showed last, rendered again from the strategy, never from the request. A link
that is followed is no answer yet: scanners follow links. The note is a response record with the outcome `followed`,
which counts for nothing; the landing page's snippet confirms a person's click by the event token in its address.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from api.changes import changed
from api.email.showing import placement_of, request_of, show, token_for
from api.email.tokens import RenderToken
from api.errors import Problem
from api.instants import wall_ms
from api.respond import ONCE_TTL_S
from api.service import Service
from decisioning.catalog.strategy import Placement
from decisioning.customer import Render, Snapshot
from decisioning.moment import moment_of
from decisioning.opening import SCANNER, UNKNOWN, ClientClass, render_of
from decisioning.renders import render_again
from decisioning.request import NOTHING, OFFER, Placed
from decisioning.respond import Response, response_record
from decisioning.sealing import fingerprint
from decisioning.store.packing import canonical
from decisioning.store.protocol import Change, Once, Record

SHOWN, NEAREST, UNSHOWN = "shown", "nearest", "click_without_render"  # what a link led to


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a link leads."""

    url: str
    how: str


async def destination_of(service: Service, token: RenderToken, client_class: ClientClass) -> Destination:
    """Where the token's link leads now, with an event token in its query, but for a scanner. Raises StoreUnavailable.

    A link whose picture nobody fetched is decided as it is followed, and the choice held for the token: whoever follows
    links may be a scanner that looks like a person, so nothing is charged before the landing page has confirmed it.
    """
    strategy = service.deployed().strategy
    placement = placement_of(token, strategy)
    (snapshot,) = await service.store.read([token.customer_key])
    render = render_of(snapshot.state, token.token_id)
    if render is None:
        if client_class == SCANNER:
            return Destination(placement.default_url, NEAREST)
        shown = await show(service, token, UNKNOWN)
        url = link_of(placement, shown.placed.content) or placement.default_url
        return Destination(_marked(url, shown.event_token), UNSHOWN)
    content = _content_of(service, token, render, snapshot)
    if content is None:
        return Destination(placement.default_url, NEAREST)
    url = link_of(placement, content) or placement.default_url
    if client_class == SCANNER:
        return Destination(url, SHOWN)
    return Destination(_marked(url, token_for(service, render, snapshot, placement.channel)), SHOWN)


async def followed(
    service: Service, *, token_id: str, customer_key: str, client_class: str, how: str, at_ms: int, response_id: str
) -> None:
    """Note that a link was followed. Raises StoreUnavailable, and Problem where nobody knows what the token showed: it
    was erased with its customer, whoever has the id now, or was never fetched.
    """

    def change_of(snapshot: Snapshot) -> Change:
        render = render_of(snapshot.state, token_id)
        if render is None:
            raise Problem("erased", "What this link's mail showed is not known, or no longer.", "token")
        placement = service.deployed().strategy.placements.get(render.placement)
        response = Response(
            response_id,
            customer_key,
            "followed",
            render.action or "",
            frozenset(),
            min(at_ms, snapshot.now_ms),
            None if placement is None else placement.channel,
            render.decision_id,
            render.placement,
        )
        body = response_record(response, snapshot.state, received_ms=snapshot.now_ms, client_class=client_class)
        record = Record(response_id, canonical({**body, "led_to": how}))
        once = Once(fingerprint(snapshot.state.sealing_key, "followed", response_id), "", ONCE_TTL_S)
        return Change(customer_key, snapshot.state_version, None, records=[record], once=[once])

    await changed(service.store, customer_key, change_of)


def note_of(token: RenderToken, client_class: ClientClass) -> dict[str, Any]:
    """What `followed` needs to know, as the journal keeps it: who cannot ask leads to the nearest address."""
    return {
        "token_id": token.token_id,
        "customer_key": token.customer_key,
        "client_class": client_class,
        "how": NEAREST,
        "at_ms": wall_ms(),
        "response_id": secrets.token_hex(16),
    }


def link_of(placement: Placement, content: Mapping[str, Any] | None) -> str | None:
    """The address that the placement's picture stands for: that of its button, else of its first link."""
    button = None if placement.picture is None else placement.picture.button
    first = None if button is None else button.label.field
    names = [name for name, field in placement.fields.items() if field.type == "link"]
    for name in sorted(names, key=lambda name: name != first):
        value = (content or {}).get(name)
        if isinstance(value, Mapping) and isinstance(value.get("url"), str):
            return str(value["url"])
    return None


def _content_of(service: Service, token: RenderToken, render: Render, snapshot: Snapshot) -> Mapping[str, Any] | None:
    """What a render showed, rendered again; None where it cannot be shown any more."""
    if render.action is None:
        return None
    strategy = service.deployed().strategy
    request = replace(request_of(token, strategy), placements=(render.placement,))
    placed = Placed(render.placement, OFFER, [], render.action, lease_of=render.decision_id)
    moment = moment_of(request, snapshot, strategy, strategy.reads)
    again = render_again(placed, moment, snapshot, strategy)
    return None if again.outcome == NOTHING else again.content


def _marked(url: str, event_token: str | None) -> str:
    """The address with the event token in its query, for the landing page's snippet."""
    if event_token is None or not url.startswith("https:"):  # a mail, a call or an app is no page with a snippet
        return url
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, f"nextbest={quote(event_token, safe='')}"]))
    return urlunsplit(parts._replace(query=query))
