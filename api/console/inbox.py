"""The demo's inbox: mails that were sent once, and show at each opening what is right now."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from starlette.responses import RedirectResponse, Response

from api.console.bank import seen_by
from api.console.page import Visit
from api.console.people import KIND, person_of
from api.email.tokens import VALID_DAYS_DEFAULT, expiry_of, sealed
from api.errors import Problem
from api.instants import wall_ms
from api.tokens import DAY_MS
from decisioning.catalog.strategy import Placement, Strategy
from decisioning.errors import StoreUnavailable
from decisioning.sealing import fingerprint

MESSAGE = "demo-newsletter"
NOT_PASSED_ON = ("host", "cookie", "connection")  # the rest tells a person's browser from a scanner


async def inbox_page(visit: Visit) -> Response:
    """GET: the mails, each with the picture that its reader's program fetches."""
    values = await seen_by(visit)
    strategy = visit.service.deployed().strategy
    return visit.show("inbox.html", mails=await mails_of(visit, values["customer"], strategy), **values)


async def follow(visit: Visit) -> Response:
    """GET: a click in a mail, and the page of the demo's bank that stands in for where it leads."""
    visit.until_s -= visit.service.settings.deadline_ms / 1000  # which the link takes by itself
    customer = await person_of(visit)
    placement = visit.service.deployed().strategy.placements.get(visit.asked("mail"))
    if placement is None or placement.picture is None:
        raise Problem("not_found", "There is no such mail.", "mail")
    token = await _token(visit, customer, placement)
    headers = {name: each for name, each in visit.request.headers.items() if name not in NOT_PASSED_ON}
    transport = httpx.ASGITransport(visit.request.app, client=(visit.address, 0))
    async with httpx.AsyncClient(transport=transport, base_url=str(visit.request.base_url)) as browser:
        answer = await browser.get(f"/c/{token}", headers=headers)
    leads_to = answer.headers.get("location", "")
    event_token = parse_qs(urlsplit(leads_to).query).get("nextbest", [""])[0]
    told = {"to": leads_to} | ({"nextbest": event_token} if event_token else {})
    return RedirectResponse(f"/demo/product?{urlencode(told)}", 303)


async def mails_of(visit: Visit, customer: str, strategy: Strategy) -> list[dict[str, object]]:
    """One mail for each placement that is drawn as a picture."""
    return [
        {"placement": each.name, "token": await _token(visit, customer, each), "picture": each.picture}
        for each in strategy.placements.values()
        if each.picture is not None
    ]


async def _token(visit: Visit, customer: str, placement: Placement) -> str:
    """The token of a mail, made once: opening a mail again must not make it another one.

    It is kept under a name that the customer's own key makes, so that once they are erased nothing says whose it was.
    """
    store, token = visit.service.store, _new_token(visit, customer, placement)
    try:
        (snapshot,) = await visit.in_time(store.read([customer]))
        name = fingerprint(snapshot.state.sealing_key, "mail", placement.name)
        kept = await visit.in_time(store.get(KIND, name))
    except StoreUnavailable:
        return token
    if kept is not None:
        return kept.decode()
    if snapshot.state_version:
        await store.put(KIND, name, token.encode())
    return token


def _new_token(visit: Visit, customer: str, placement: Placement) -> str:
    now_ms = wall_ms()
    return sealed(
        visit.service.seals,
        customer,
        placement.name,
        message=MESSAGE,
        expires_ms=expiry_of(VALID_DAYS_DEFAULT, now_ms=now_ms),
        made_ms=now_ms - DAY_MS,  # it was sent yesterday: what follows a link seconds after the sending is no person
    )
