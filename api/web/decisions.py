"""POST /web/decisions: a decision asked for by a page, and as much of its answer as a browser may see.

The visitor token says for whom. What decides is the same as behind /v1/decisions; numbers, reasons, names of actions
and arms of experiments stay here, since anybody can read what a browser gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.decide import decide_endpoint, fallback
from api.endpoint import Call
from api.errors import Problem
from api.schemas import CustomerRef, DecisionRequest
from api.web.images import image_path
from api.web.origins import is_allowed
from api.web.visitors import Visitor, visitor_of

ANSWERED_MAX = 20  # placements of one decision, as for /v1/decisions
SEEN = ("placement", "outcome", "rank", "content", "event_token")


@dataclass(frozen=True, slots=True)
class Asked:
    """The question as /v1/decisions would get it, of whom, and why it leaves out some of the placements, by name."""

    call: Call
    person_key: str
    refused: Mapping[str, str]


async def decide_for_page(call: Call) -> dict[str, Any]:
    """Answer a page."""
    asked = _asked(call)
    return _seen(await decide_endpoint(asked.call, person_key=asked.person_key), asked, is_fallback=False)


async def fallback_for_page(call: Call) -> dict[str, Any]:
    """Prepared content in trouble: a page that has content of its own keeps that."""
    asked = _asked(call)
    return _seen(await fallback(asked.call), asked, is_fallback=True)


def _asked(call: Call) -> Asked:
    """What is asked, without the placements that are refused. Raises what makes it a 4xx, as when all of them are."""
    visitor, body = visitor_of(call), call.body
    if isinstance(body.customer, CustomerRef) and body.customer.id != visitor.customer_id:
        raise Problem("forbidden", "The token speaks for another customer. Leave this out.", "customer.id")
    strategy = call.service.deployed().strategy
    for name in body.context:
        if f"context.{name}" not in strategy.schema.attributes:  # without the names nearby that /v1/decisions tells
            raise Problem("invalid_attribute", f"context.{name}: unknown attribute.", "context")
    problems = dict(_problems(call, visitor))
    placements = [name for name in body.placements if name not in problems]
    if not placements:
        raise next(iter(problems.values()))
    request = DecisionRequest(
        customer=CustomerRef(id=visitor.customer_id),
        channel=strategy.placements[placements[0]].channel,
        placements=placements,
        context=body.context,
    )
    refused = {name: problem.message for name, problem in problems.items()}
    return Asked(Call(call.service, call.key, request, call.raw, call.path), visitor.person_key, refused)


def _problems(call: Call, visitor: Visitor) -> Iterator[tuple[str, Problem]]:
    """The placements that cannot be answered: one that is wrong leaves the rest of a page as it is."""
    strategy = call.service.deployed().strategy
    answered: list[str] = []
    for name in dict.fromkeys(call.body.placements):
        placement = strategy.placements.get(name)
        if placement is None:
            yield name, Problem("unknown_placement", f"Unknown placement {name!r}.", "placements")
        elif not is_allowed(visitor.origin, strategy.channels[placement.channel], demo=call.service.settings.demo):
            yield name, Problem("forbidden", f"Pages of this origin may not ask for {name!r}.", "placements")
        elif answered and placement.channel != strategy.placements[answered[0]].channel:
            yield name, Problem("invalid_field", f"{name!r} is of another channel than {answered[0]!r}.", "placements")
        elif len(answered) == ANSWERED_MAX:
            yield name, Problem("invalid_field", f"One page gets {ANSWERED_MAX} placements.", "placements")
        else:
            answered.append(name)


def _seen(answer: Mapping[str, Any], asked: Asked, *, is_fallback: bool) -> dict[str, Any]:
    """What of an answer a browser gets."""
    strategy = asked.call.service.deployed().strategy
    placements = []
    for each in answer["placements"]:
        declared = strategy.placements[each["placement"]].fields
        types = {name: declared[name].type for name in each["content"] or ()}
        files = {name: image_path(each["content"][name], strategy) for name, kind in types.items() if kind == "image"}
        seen = {name: each[name] for name in SEEN}
        if files:
            seen["content"] = {**each["content"], **files}
        placements.append({**seen, "types": types})
    return {
        "valid_until": answer["valid_until"],
        "fallback": is_fallback,
        "placements": placements,
        "refused": asked.refused,
    }
