"""The agent's screen: find a customer, see who they are and what to say next, report the answer, ask why not.

Works without scripts by full pages; htmx fetches the same addresses and puts the answer's part into the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from api.console.advice import Advice, advise, key_of, places_of, prepared
from api.console.page import Visit
from api.console.portrait import Portrait, in_titles, mark_of, named, portrait_of, promises_of, title_of
from api.console.users import ANSWERS, SEES_PERSONAL
from api.console.views import record_view
from api.errors import Problem
from api.respond import identity_of, named_by_token
from api.taking import take
from api.why import accounts
from decisioning.catalog.strategy import Strategy
from decisioning.errors import InvalidAttribute, InvalidIdentifier, StoreUnavailable
from decisioning.identifiers import checked_customer_id
from decisioning.respond import UNDATED, ended_by
from decisioning.respond import Response as Answered

OUTCOMES = {"accepted": "Accepted", "rejected": "Said no", "dismissed": "Later"}
REASONS = {  # code in the record -> what the agent picks
    "not_needed": "Does not need it",
    "too_expensive": "Too expensive",
    "has_it_elsewhere": "Has it elsewhere",
    "bad_moment": "Bad moment",
    "no_trust": "Does not trust it",
    "other": "Another reason",
}
CONTEXT = "context."  # before a form's name for what the moment adds


async def agent_page(visit: Visit) -> Response:
    """GET: the screen, empty or for one customer."""
    visit.service.deployed()
    asked = visit.asked("customer")
    if not asked or visit.is_from_elsewhere:  # a link on another site must not decide in the agent's name
        return visit.show("agent.html", customer=asked, choices=_choices(visit), screen=None, notice=None)
    try:
        customer_key = checked_customer_id(asked)
    except InvalidIdentifier as error:
        return _shown(visit, asked, 422, notice=str(error))
    return await _customer(visit, customer_key)


async def agent_pulse(visit: Visit) -> Response:
    """GET: tells an open screen when its customer changed elsewhere, in whatever channel."""
    (snapshot,) = await visit.service.store.read([checked_customer_id(visit.asked("customer"))])
    is_same = visit.asked("seen") == mark_of(snapshot)
    return Response(status_code=204, headers={} if is_same else {"hx-trigger": "customer-changed"})


async def answer(visit: Visit) -> Response:
    """POST: what the customer said; the next best action is in the answer."""
    outcome, reason = visit.form.get("outcome", ""), visit.form.get("reason", "")
    customer_key = checked_customer_id(visit.form.get("customer", ""))
    if outcome not in OUTCOMES or (reason and reason not in REASONS):
        raise Problem("invalid_field", f"Known: {', '.join(OUTCOMES)}; reasons: {', '.join(REASONS)}.", "outcome")
    try:
        (status,) = await take(visit.service, _response(visit, customer_key, outcome, reason))
    except Problem as problem:
        if problem.code != "conflict":
            raise
        return await _customer(visit, customer_key, status=409, notice=problem.message)
    if status == "kept":
        return await _without_store(visit, customer_key, told=f"{OUTCOMES[outcome]}. It is kept here and counted later")
    if not visit.wants_fragment:
        return RedirectResponse(f"/console/agent?{urlencode({'customer': customer_key, **_stated(visit)})}", 303)
    return await _customer(visit, customer_key, told=OUTCOMES[outcome])


async def why_not(visit: Visit) -> Response:
    """GET: why this customer gets, or does not get, an action in the agent's channel now."""
    deployed = visit.service.deployed()
    strategy = deployed.strategy
    customer_key, key = checked_customer_id(visit.asked("customer")), visit.asked("action")
    if key not in strategy.action_index:
        raise Problem("not_found", "The strategy has no such action.", "action")
    action, channel = strategy.actions[strategy.action_index[key]], places_of(strategy)[0].channel
    treatment = action.treatments.get(channel)
    if visit.is_from_elsewhere:
        raise Problem("forbidden", "This was asked by another site's page. Ask again here.", "page")
    await record_view(visit.service, visit.signed_in.user, customer_key)
    (snapshot,) = await visit.service.store.read([customer_key], quotas=True)
    told = [f"{title_of(key)} has no talking points: it is not said in this channel."]
    if treatment is not None:
        places = {channel: list(treatment.placements)}
        decider = deployed.for_person(snapshot.state.assignment_key)
        context = _typed(visit, strategy)
        said = accounts(decider, snapshot, action, places, context, hidden=_hidden(visit, strategy))
        told = [in_titles(each, strategy) for each in said]
    told += [
        f"{each.title} is promised too, until {each.until}: it stands beside the first promise where a page has room "
        "for both, and takes its place when that one ends."
        for each in promises_of(snapshot, strategy)[1:]
        if each.action == key
    ]
    template = "why_part.html" if visit.wants_fragment else "why.html"
    return visit.show(template, title=title_of(key), told=told, customer=customer_key)


def _response(visit: Visit, customer_key: str, outcome: str, reason: str) -> Answered:
    """What the form says was answered. Raises Problem for a token of somebody else."""
    named = named_by_token(visit.service, visit.form.get("event_token", ""), "event_token")
    if named["customer_key"] != customer_key:
        raise Problem("forbidden", "This was shown to another customer.", "event_token")
    return Answered(
        identity_of(named["decision_id"], named["placement"], named["action"], outcome),
        outcome=outcome,
        api_key=key_of(visit.signed_in.user).key_id,
        ends=ended_by(outcome, named["action"], visit.service.deployed().strategy),
        at_ms=UNDATED,
        reason=reason if outcome == "rejected" and reason else None,
        **named,
    )


async def _customer(
    visit: Visit, customer_key: str, status: int = 200, *, told: str | None = None, notice: str | None = None
) -> Response:
    """One customer, or what can be said to anybody while the store is down."""
    try:
        return await visit.in_time(_known(visit, customer_key, status, told=told, notice=notice))
    except StoreUnavailable:
        return await _without_store(visit, customer_key, told=told)


async def _without_store(visit: Visit, customer_key: str, *, told: str | None) -> Response:
    advice = await prepared(visit.service, visit.signed_in.user, customer_key)
    notice = "The store does not answer. This can be said to anybody."
    return _shown(visit, customer_key, 503, notice=notice, advice=advice, told=told, seen="nothing")


async def _known(visit: Visit, customer_key: str, status: int, *, told: str | None, notice: str | None) -> Response:
    """A look is recorded before anything is shown. Raises StoreUnavailable."""
    service, user = visit.service, visit.signed_in.user
    strategy = service.deployed().strategy
    try:
        await record_view(service, user, customer_key)
    except Problem as problem:
        return _shown(visit, customer_key, problem.status, notice=problem.message)
    advice = await advise(service, user, customer_key, _stated_context(visit, strategy))
    (snapshot,) = await service.store.read([customer_key])
    portrait = portrait_of(snapshot, strategy, hidden=_hidden(visit, strategy))
    seen = portrait.mark
    return _shown(visit, customer_key, status, notice=notice, advice=advice, portrait=portrait, told=told, seen=seen)


def _shown(
    visit: Visit,
    customer: str,
    status: int = 200,
    *,
    notice: str | None = None,
    advice: Advice | None = None,
    portrait: Portrait | None = None,
    told: str | None = None,
    seen: str = "",
) -> Response:
    """seen: of what the open screen is to notice a change; empty where there is nothing to wait for."""
    strategy = visit.service.deployed().strategy
    channel = places_of(strategy)[0].channel
    screen = {
        "advice": advice,
        "portrait": portrait,
        "told": told,
        "seen": seen,
        "reasons": REASONS,
        "may_answer": visit.signed_in.user.role in ANSWERS,
        "actions": [(each.key, title_of(each.key)) for each in strategy.actions if channel in each.treatments],
        "stated": _stated(visit),
    }
    template = "agent_part.html" if visit.wants_fragment else "agent.html"
    return visit.show(template, status, customer=customer, choices=_choices(visit), notice=notice, screen=screen)


def _hidden(visit: Visit, strategy: Strategy) -> frozenset[str]:
    """The attributes whose values this role may not see."""
    return frozenset() if visit.signed_in.user.role in SEES_PERSONAL else strategy.schema.personal


def _choices(visit: Visit) -> list[dict[str, Any]]:
    """What the agent may say about the moment: the context's attributes that have a list of values."""
    stated = _stated(visit)
    return [
        {
            "name": f"{CONTEXT}{each.short_name}",
            "text": named(each.short_name),
            "values": sorted(each.enum),
            "chosen": stated.get(f"{CONTEXT}{each.short_name}", ""),
        }
        for each in visit.service.deployed().strategy.schema.attributes.values()
        if each.name.startswith(CONTEXT) and each.enum
    ]


def _stated(visit: Visit) -> dict[str, str]:
    """What was said about the moment, as a form's fields."""
    fields = {**visit.request.query_params, **visit.form}
    return {name: value for name, value in fields.items() if name.startswith(CONTEXT) and value}


def _stated_context(visit: Visit, strategy: Strategy) -> dict[str, Any]:
    """The same as a request's context; what the schema does not know, or types otherwise, is left out."""
    return dict(_sound(_stated(visit), strategy))


def _sound(stated: dict[str, str], strategy: Strategy) -> Iterator[tuple[str, str]]:
    for name, value in stated.items():
        try:
            strategy.schema.context_of({name.removeprefix(CONTEXT): value})
        except InvalidAttribute:
            continue
        yield name.removeprefix(CONTEXT), value


def _typed(visit: Visit, strategy: Strategy) -> Any:
    return strategy.schema.context_of(_stated_context(visit, strategy))
