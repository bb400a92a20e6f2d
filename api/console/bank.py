"""The demo's bank: a home page that the snippet personalises, and the page behind each of its links.

The bank's own addresses lead nowhere, so links of placements come here with where they would have led; what is behind
them is looked up among the strategy's own contents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response

from api.console.advice import key_of
from api.console.page import Visit
from api.console.people import people_of, person_of
from api.console.portrait import mark_of, title_of
from api.console.sessions import demo_user
from api.console.users import AGENT
from api.endpoint import Call
from api.errors import Problem
from api.respond import respond_endpoint
from api.schemas import CustomerRef
from api.web.schemas import VisitorTokenRequest
from api.web.visitors import mint_visitor_token
from decisioning.catalog.strategy import Action, Placement, Strategy
from decisioning.customer import Snapshot
from decisioning.errors import StoreUnavailable
from decisioning.store.packing import canonical

ANSWERS = ("accepted", "rejected")
SHOWN = ("text", "html", "texts", "link", "url")  # field types that the page has a place for


async def bank_page(visit: Visit) -> Response:
    """GET: the home page."""
    return visit.show("bank.html", **await seen_by(visit))


async def product_page(visit: Visit) -> Response:
    """GET: what a link leads to, with a way to say yes or no."""
    values = await seen_by(visit)
    strategy = visit.service.deployed().strategy
    snapshot = await _snapshot(visit, values["customer"])
    action = action_behind(visit.asked("to"), strategy, snapshot) if snapshot else None
    title = title_of(action.key) if action else "Our services"
    return visit.show("product.html", title=title, action=action.key if action else None, **values)


async def apply(visit: Visit) -> Response:
    """POST: the customer's answer on that page."""
    customer_key, outcome = await person_of(visit), visit.form.get("outcome", "")
    strategy, action = visit.service.deployed().strategy, visit.form.get("action", "")
    if outcome not in ANSWERS or action not in strategy.action_index:
        raise Problem("invalid_field", f"An answer is one of {', '.join(ANSWERS)}, to an action.", "outcome")
    (snapshot,) = await visit.service.store.read([customer_key])
    said = _said(snapshot, action, outcome)
    if said is not None:
        await respond_endpoint(Call(visit.service, key_of(demo_user(AGENT)), None, canonical(said), {}))
    return RedirectResponse("/demo/bank?thanks=1" if outcome == "accepted" else "/demo/bank", 303)


async def pulse(visit: Visit) -> Response:
    """GET: what tells open pages that something was answered, permitted or promised elsewhere."""
    (snapshot,) = await visit.service.store.read([await person_of(visit)])
    return JSONResponse({"version": mark_of(snapshot)})


async def seen_by(visit: Visit) -> dict[str, Any]:
    """What every page of the demo knows: the customer, the others, placements for the snippet and its token.

    While the store is down a bank's page stands as its authors wrote it.
    """
    customer = await person_of(visit)
    strategy = visit.service.deployed().strategy
    snapshot = await _snapshot(visit, customer)
    return {
        "customer": customer,
        "name": _first_name(snapshot) if snapshot else "",
        "is_known": snapshot is None or bool(snapshot.profile),  # nobody can tell while the store is down
        "people": await people_of(visit),
        "placements": [_shape(each) for each in open_placements(strategy)],
        "visitor_token": await _visitor_token(visit, customer),
        "version": mark_of(snapshot) if snapshot else "",  # another one as soon as the store is back
        "thanks": bool(visit.asked("thanks")),
    }


def open_placements(strategy: Strategy) -> list[Placement]:
    """The placements that pages may ask for by themselves."""
    return [each for each in strategy.placements.values() if strategy.channels[each.channel].origins]


def action_behind(address: str, strategy: Strategy, snapshot: Snapshot) -> Action | None:
    """The action whose content leads to this address: the promised one before others."""
    wanted = _bare(address)
    found = [action for action in strategy.actions if wanted and wanted in set(_addresses(action))]
    promised = {each.action for each in snapshot.state.lease if each.until_ms > snapshot.now_ms}
    return next((each for each in found if each.key in promised), found[0] if found else None)


async def _snapshot(visit: Visit, customer: str) -> Snapshot | None:
    """The customer; None while the store is down."""
    try:
        return (await visit.in_time(visit.service.store.read([customer])))[0]
    except StoreUnavailable:
        return None


def _said(snapshot: Snapshot, action: str, outcome: str) -> dict[str, Any] | None:
    """The response: to the decision that promised it, else a purchase that came by itself; None for a no to nothing."""
    for entry in snapshot.state.lease:
        if entry.action == action and entry.until_ms > snapshot.now_ms:
            return {"decision_id": entry.decision_id, "action": action, "outcome": outcome}
    if outcome != "accepted":
        return None
    return {"customer": {"id": snapshot.customer_key}, "action": action, "outcome": "converted"}


def _addresses(action: Action) -> Iterator[str]:
    for treatment in action.treatments.values():
        for version in treatment.content.versions.values():
            for value in version.prepared.values():
                if isinstance(value, Mapping) and isinstance(value.get("url"), str):
                    yield _bare(value["url"])


def _bare(address: str) -> str:
    """Host and path, which is what tells products apart; a link may carry more."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.netloc}{parts.path}" if parts.netloc else ""


def _shape(placement: Placement) -> dict[str, Any]:
    """What the page's markup for a placement needs."""
    fields = [(each.name, each.type) for each in placement.fields.values() if each.type in SHOWN]
    return {"name": placement.name, "fields": fields}


def _first_name(snapshot: Snapshot) -> str:
    """How the bank greets, where a source has told it."""
    sources = snapshot.profile.sources.values() if snapshot.profile else ()
    return next((str(each.attributes["first_name"]) for each in sources if "first_name" in each.attributes), "")


async def _visitor_token(visit: Visit, customer: str) -> str:
    """What the bank's own server would fetch for a customer who has signed in; empty where no page may ask."""
    url = visit.request.url
    asked = VisitorTokenRequest(customer=CustomerRef(id=customer), origin=f"{url.scheme}://{url.netloc}")
    try:
        call = Call(visit.service, key_of(demo_user(AGENT)), asked, b"", {})
        return str((await mint_visitor_token(call))["visitor_token"])
    except Problem as problem:
        if problem.code != "invalid_field":
            raise
        return ""
