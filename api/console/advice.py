"""Advice: what the agent should say next, decided like any other channel's answer.

An agent reads out placements that have talking points, a field of type `texts`; the channel of the first such placement
is the agent's. The decision itself is `decide_endpoint`'s. Its content is rendered again in the agent's language,
because that is who reads it. A role that sees no personal values only looks: nothing is recorded or promised, and the
talking points are those of somebody of whom these values are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from api.console.portrait import in_titles, title_of
from api.console.users import SEES_PERSONAL, User
from api.decide import decide_endpoint, fallback
from api.deployed import Deployed
from api.endpoint import Call
from api.errors import Problem
from api.keys import ApiKey
from api.schemas import CustomerRef, DecisionRequest
from api.service import Service
from decisioning.catalog.strategy import Placement, Strategy
from decisioning.customer import Profile, Snapshot
from decisioning.decide import prepare
from decisioning.request import Request
from decisioning.sentences import account_of

POINTS, ACCEPT, REJECT = "texts", "accept_label", "reject_label"
OTHERS_MAX = 4  # of those that stood behind the one that was chosen


@dataclass(frozen=True, slots=True)
class Advised:
    """One placement's outcome in words."""

    outcome: str
    action: str | None
    title: str
    points: tuple[str, ...]
    accept_label: str
    reject_label: str
    account: str  # why it is this one; empty where nothing was decided
    event_token: str | None  # None: nobody can answer it


@dataclass(frozen=True, slots=True)
class Other:
    """An action that stood behind."""

    action: str
    title: str
    account: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What to say, and what comes behind it."""

    placed: tuple[Advised, ...]
    others: tuple[Other, ...]
    degraded: bool
    language: str  # of the talking points


def key_of(user: User) -> ApiKey:
    """A user as the caller of the service: records name them by it."""
    return ApiKey(f"console:{user.user_id}", ("decide", "respond"), float("inf"))


def places_of(strategy: Strategy) -> list[Placement]:
    """The placements that an agent reads out, all of one channel. Raises Problem for a strategy that has none."""
    spoken = [each for each in strategy.placements.values() if _points_field(each)]
    if not spoken:
        message = "The strategy has no placement with talking points, a field of type `texts`, for agents to read out."
        raise Problem("not_found", message, "placements")
    return [each for each in spoken if each.channel == spoken[0].channel]


async def advise(service: Service, user: User, customer_key: str, context: Mapping[str, Any]) -> Advice:
    """Decide, and put it into words. Raises StoreUnavailable; `prepared` is what can be said then."""
    deployed = service.deployed()
    answer = await decide_endpoint(_call(service, user, customer_key, context))
    (snapshot,) = await service.store.read([customer_key], quotas=True)
    decider = deployed.for_person(snapshot.state.assignment_key)
    if user.role not in SEES_PERSONAL:
        snapshot = replace(snapshot, profile=_masked(snapshot.profile, decider.strategy))
        answer["placements"] = [{**each, "content": {}} if each["action"] else each for each in answer["placements"]]
    language = _language(user.language, decider.strategy)
    contents = _in_language(answer, snapshot, decider, context, language)
    entries = answer.get("explanation", [])
    placed = [
        _advised(each, content, deployed.strategy, _account(each, entries, deployed.strategy))
        for each, content in zip(answer["placements"], contents, strict=True)
    ]
    return Advice(tuple(placed), tuple(_others(entries, deployed.strategy)), answer["degraded"], language)


async def prepared(service: Service, user: User, customer_key: str) -> Advice:
    """What can be said while the store is down: the placements' fallback."""
    answer = await fallback(_call(service, user, customer_key, {}))
    strategy = service.deployed().strategy
    placed, language = [], _language(user.language, strategy)
    for each in answer["placements"]:
        content = strategy.placements[each["placement"]].fallback.render(language, {})
        placed.append(_advised(each, content, strategy, ""))
    return Advice(tuple(placed), (), True, language)


def _call(service: Service, user: User, customer_key: str, context: Mapping[str, Any]) -> Call:
    places = places_of(service.deployed().strategy)
    body = DecisionRequest(
        customer=CustomerRef(id=customer_key),
        channel=places[0].channel,
        placements=[each.name for each in places],
        context=dict(context),
        explain=True,
        dry_run=user.role not in SEES_PERSONAL,
    )
    return Call(service, key_of(user), body, b"", {})


def _in_language(
    answer: Mapping[str, Any], snapshot: Snapshot, deployed: Deployed, context: Mapping[str, Any], language: str
) -> list[Mapping[str, Any]]:
    """Each outcome's content as the agent reads it; as decided where it cannot be said in the agent's language."""
    strategy = deployed.strategy
    names = tuple(each["placement"] for each in answer["placements"])
    channel = strategy.placements[names[0]].channel
    request = Request(snapshot.customer_key, channel, names, strategy.schema.context_of(dict(context)))
    filling = prepare(request, snapshot, strategy, deployed.scorer, decision_id="console")
    filling.language = language
    return [
        (filling.content(strategy.action_index[each["action"]]) or each["content"])
        if each["action"] is not None
        else each["content"] or _quiet(strategy.placements[each["placement"]], language)
        for each in answer["placements"]
    ]


def _masked(profile: Profile | None, strategy: Strategy) -> Profile | None:
    """The profile without personal values."""
    if profile is None:
        return None
    return Profile(
        {
            name: replace(
                facts,
                attributes={
                    attribute: value
                    for attribute, value in facts.attributes.items()
                    if f"customer.{attribute}" not in strategy.schema.personal
                },
            )
            for name, facts in profile.sources.items()
        }
    )


def _quiet(placement: Placement, language: str) -> Mapping[str, Any]:
    """What the placement shows of nothing."""
    return {} if placement.quiet is None else placement.quiet.render(language, {})


def _language(language: str | None, strategy: Strategy) -> str:
    return language or strategy.languages[0]


def _advised(placed: Mapping[str, Any], content: Mapping[str, Any], strategy: Strategy, account: str) -> Advised:
    field = _points_field(strategy.placements[placed["placement"]])
    return Advised(
        placed["outcome"],
        placed["action"],
        title_of(placed["action"]) if placed["action"] else "",
        tuple(content.get(field or "") or ()),
        content.get(ACCEPT) or "Accepts",
        content.get(REJECT) or "Says no",
        account,
        placed["event_token"],
    )


def _points_field(placement: Placement) -> str | None:
    return next((name for name, field in placement.fields.items() if field.type == POINTS), None)


def _account(placed: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], strategy: Strategy) -> str:
    zone = ZoneInfo(strategy.timezone)
    for entry in entries:
        if entry["status"] == "placed" and (entry["placement"], entry["action"]) == (
            placed["placement"],
            placed["action"],
        ):
            return in_titles(account_of(entry, place="this call", zone=zone), strategy)
    return ""


def _others(entries: Sequence[Mapping[str, Any]], strategy: Strategy) -> list[Other]:
    """The best of those that passed every gate and were not chosen."""
    zone = ZoneInfo(strategy.timezone)
    ranked = [each for each in entries if each["status"] == "ranked"]
    return [
        Other(
            each["action"],
            title_of(each["action"]),
            in_titles(account_of(each, place="this call", zone=zone), strategy),
        )
        for each in ranked[:OTHERS_MAX]
    ]
