"""POST /web/decisions: a decision asked for by a page, and as much of its answer as a browser may see.

The visitor token says for whom. What decides is the same as behind /v1/decisions; numbers, reasons, names of actions
and arms of experiments stay here, since anybody can read what a browser gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.decide import decide_endpoint, fallback
from api.endpoint import Call
from api.errors import Problem
from api.schemas import CustomerRef, DecisionRequest
from api.web.images import image_path
from api.web.origins import is_allowed
from api.web.visitors import Visitor, visitor_of
from decisioning.catalog.strategy import Strategy

SEEN = ("placement", "outcome", "rank", "content", "event_token")


async def decide_for_page(call: Call) -> dict[str, Any]:
    """Answer a page."""
    asked = _asked(call)
    return _seen(await decide_endpoint(asked), call.service.deployed().strategy, is_fallback=False)


async def fallback_for_page(call: Call) -> dict[str, Any]:
    """Prepared content in trouble: a page that has content of its own keeps that."""
    return _seen(await fallback(_asked(call)), call.service.deployed().strategy, is_fallback=True)


def _asked(call: Call) -> Call:
    """The question as /v1/decisions would get it. Raises what makes it a 4xx."""
    visitor, body = visitor_of(call), call.body
    if isinstance(body.customer, CustomerRef) and body.customer.id != visitor.customer_id:
        raise Problem("forbidden", "The token speaks for another customer. Leave this out.", "customer.id")
    channel = _channel_of(call, visitor)
    request = DecisionRequest(
        customer=CustomerRef(id=visitor.customer_id), channel=channel, placements=body.placements, context=body.context
    )
    return Call(call.service, call.key, request, call.raw, call.path)


def _channel_of(call: Call, visitor: Visitor) -> str:
    """The channel of the asked placements; one that they do not belong to is named by whoever decides."""
    strategy = call.service.deployed().strategy
    known = [each for name in call.body.placements if (each := strategy.placements.get(name)) is not None]
    open_here = [
        channel.name
        for channel in strategy.channels.values()
        if is_allowed(visitor.origin, channel, demo=call.service.settings.demo)
    ]
    closed = [each.name for each in known if each.channel not in open_here]
    if closed:
        raise Problem("forbidden", f"Pages of this origin may not ask for {closed[0]!r}.", "placements")
    if not known:
        raise Problem("unknown_placement", f"Unknown placement {call.body.placements[0]!r}.", "placements")
    return known[0].channel


def _seen(answer: Mapping[str, Any], strategy: Strategy, *, is_fallback: bool) -> dict[str, Any]:
    """What of an answer a browser gets."""
    placements = []
    for each in answer["placements"]:
        declared = strategy.placements[each["placement"]].fields
        types = {name: declared[name].type for name in each["content"] or ()}
        files = {name: image_path(each["content"][name], strategy) for name, kind in types.items() if kind == "image"}
        seen = {name: each[name] for name in SEEN}
        if files:
            seen["content"] = {**each["content"], **files}
        placements.append({**seen, "types": types})
    return {"valid_until": answer["valid_until"], "fallback": is_fallback, "placements": placements}
