"""POST /web/responses: what a visitor did, told by the page.

An event token proves that something was shown to a customer, the visitor token who speaks. They name the same customer,
with one exception: whoever arrives by a click in a mail may not have signed in yet, and confirms that click with what
the mail's link brought along. A browser cannot send again, so what cannot be counted now is kept.
"""

from __future__ import annotations

from typing import Any

import msgspec

from api.endpoint import Call
from api.errors import Problem
from api.respond import understood
from api.schemas import ResponseRequest
from api.taking import take
from api.web.origins import check_origin
from api.web.visitors import visitor_of
from decisioning.catalog.strategy import Strategy
from decisioning.interactions import DAY_MS
from decisioning.respond import Response


async def respond_for_page(call: Call) -> dict[str, Any]:
    """Take what a page reports; all of it is understood before the first is written."""
    check_origin(call.origin, call.service, "origin")
    deployed = call.service.deployed()
    has_token = call.body.visitor_token is not msgspec.UNSET
    # An event token is good for 90 days, and a tab may stay open longer than a visitor token is.
    visitor_id = visitor_of(call, grace_ms=DAY_MS).customer_id if has_token else None
    responses = []
    for at, said in enumerate(call.body.responses):
        body = ResponseRequest(event_token=said.event_token, outcome=said.outcome)
        response = await understood(call, body, deployed, f"responses[{at}].")
        _check_may_say(response, visitor_id, deployed.strategy, f"responses[{at}].event_token")
        responses.append(response)
    return {"responses": [{"status": status} for status in await take(call.service, *responses)]}


def _check_may_say(response: Response, visitor_id: str | None, strategy: Strategy, where: str) -> None:
    """Raise Problem for what somebody else was shown, unless it is a click out of a mail."""
    if response.customer_key == visitor_id:
        return
    shown_in = strategy.channels.get(response.channel or "")
    if response.outcome == "clicked" and shown_in is not None and shown_in.direction == "outbound":
        return
    if visitor_id is None:
        raise Problem("unauthorised", "Send a visitor_token; POST /web/visitors makes one.", "visitor_token")
    raise Problem("forbidden", "This was shown to another customer than the token speaks for.", where)
