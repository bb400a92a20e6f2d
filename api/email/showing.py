"""Showing: what a mail's token shows, read, decided and committed for whoever fetches it.

The way of `POST /v1/decisions` with one placement: one read, `decisioning/opening.py`, one commit, again on the newer
state after a lost race. Nothing is decided for somebody whom the store does not know, or no longer: a mail that is
still out brings nobody back who was erased, and what nobody records promises nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from api import metrics
from api.answer import event_token
from api.decide import count_outcomes, fetched_units, new_decision_id, shadow_of
from api.deployed import Deployed
from api.email.tokens import RenderToken
from api.errors import Problem
from api.respond import ONCE_TTL_S, identity_of
from api.service import Service
from decisioning.catalog.strategy import Placement, Strategy
from decisioning.customer import Render, Snapshot
from decisioning.errors import StoreUnavailable
from decisioning.opening import (
    PERSON,
    ClientClass,
    Opening,
    open_by_machine,
    open_by_person,
    render_of,
    seen_by_machine,
)
from decisioning.records import decision_record
from decisioning.request import Placed, Request
from decisioning.respond import Response, respond, response_record
from decisioning.sealing import fingerprint
from decisioning.store.packing import canonical
from decisioning.store.protocol import Change, Committed, Lost, Once, Outcome, Record, Repeated
from decisioning.volume import hoped

BY_MAIL = "mail"  # who asked, in records: nobody's API key


@dataclass(frozen=True, slots=True)
class Shown:
    """What a token shows, with what a response to it names."""

    placed: Placed
    render: Render
    event_token: str | None  # None where there is nothing to respond to


def placement_of(token: RenderToken, strategy: Strategy) -> Placement:
    """The token's placement. Raises Problem when the strategy has none of that name any more."""
    found = strategy.placements.get(token.placement)
    if found is None:
        raise Problem("invalid_token", "The placement of this token is gone.", "token")
    return found


def request_of(token: RenderToken, strategy: Strategy) -> Request:
    """The question a token asks."""
    return Request(token.customer_key, placement_of(token, strategy).channel, (token.placement,))


async def show(service: Service, token: RenderToken, client_class: ClientClass) -> Shown:
    """Decide what the token shows to a person, or to a machine that is no scanner. Raises StoreUnavailable, and Problem
    for somebody unknown.
    """
    deployed = service.deployed()
    request = request_of(token, deployed.strategy)
    (snapshot,) = await service.store.read([token.customer_key], quotas=bool(deployed.strategy.volume_constraints))
    for asked in (request, request, replace(request, offers_allowed=False)):
        if not snapshot.state_version:
            raise Problem("erased", "The customer of this token is not known, or no longer.", "token")
        decider = deployed.for_person(snapshot.state.assignment_key)
        if client_class != PERSON:  # it takes no units, so what it sees must not depend on where they lie
            snapshot.quotas = hoped(decider.strategy, snapshot.quotas, now_ms=snapshot.now_ms)
        opening = _opened(asked, snapshot, decider, token, client_class)
        if (
            client_class == PERSON
            and asked.offers_allowed
            and (fetched := await fetched_units(service, asked, snapshot, opening.decision, decider))
        ):
            snapshot.quotas = {**snapshot.quotas, **fetched}
            opening = _opened(asked, snapshot, decider, token, client_class)
        if opening.is_repeat:
            return _shown(service, opening, snapshot)
        outcome = await _noted(service, asked, snapshot, opening, decider, client_class)
        if isinstance(outcome, Committed):
            if client_class == PERSON:
                count_outcomes(opening.decision, is_challenged=decider is not deployed)
                service.restocker.notice(asked, snapshot, opening.decision, decider.strategy)
            return _shown(service, opening, snapshot)
        if isinstance(outcome, Repeated):  # opened again: what it shows is promised, seen and on record
            before = render_of(snapshot.state, token.token_id)
            return _shown(service, replace(opening, render=before or opening.render), snapshot)
        assert isinstance(outcome, Lost)
        metrics.RACES_LOST.inc()
        snapshot = outcome.snapshot
    raise StoreUnavailable("a mail's opening lost three races in a row")


async def _noted(
    service: Service,
    request: Request,
    snapshot: Snapshot,
    opening: Opening,
    decider: Deployed,
    client_class: ClientClass,
) -> Outcome:
    """Commit an opening. What this reader has seen before is not seen again, and is noted only where the token showed
    something else in between, because its link follows it.
    """
    change = _change(request, snapshot, opening, decider, client_class)
    (outcome,) = await service.store.commit([change])
    before = render_of(snapshot.state, opening.render.token_id)
    if isinstance(outcome, Repeated) and (before is None or before.action != opening.render.action):
        unseen = replace(change, state=opening.decision.state, records=change.records[:1], once=[])
        (outcome,) = await service.store.commit([unseen])
    return outcome


def token_for(service: Service, render: Render, snapshot: Snapshot, channel: str) -> str | None:
    """The event token of what a render shows."""
    if render.action is None:
        return None
    shown = render.decision_id, render.placement, render.action, channel
    person = snapshot.customer_key, snapshot.state.person_key
    return event_token(service.seals, person, shown, at_ms=snapshot.now_ms)


def _opened(
    request: Request, snapshot: Snapshot, decider: Deployed, token: RenderToken, client_class: ClientClass
) -> Opening:
    opens = open_by_person if client_class == PERSON else open_by_machine
    decision_id = new_decision_id(request, snapshot.now_ms)
    return opens(request, snapshot, decider.strategy, decider.scorer, token_id=token.token_id, decision_id=decision_id)


def _shown(service: Service, opening: Opening, snapshot: Snapshot) -> Shown:
    placed, render = opening.placed, opening.render
    channel = service.deployed().strategy.placements[render.placement].channel
    return Shown(placed, render, token_for(service, render, snapshot, channel))


def _change(
    request: Request, snapshot: Snapshot, opening: Opening, decider: Deployed, client_class: ClientClass
) -> Change:
    decision = opening.decision
    seen = snapshot if client_class == PERSON else seen_by_machine(snapshot, opening.render.token_id)
    shadow = shadow_of(request, snapshot, decision, decider.shadow) if client_class == PERSON else None
    record = decision_record(
        decision,
        request,
        seen,
        decider.strategy,
        decider.versions,
        key_id=BY_MAIL,
        shadow=shadow,
        client_class=client_class,
    )
    change = Change(
        snapshot.customer_key,
        snapshot.state_version,
        decision.state,
        records=[Record(decision.decision_id, record)],
        movements=decision.movements,
    )
    for response in _impressions(request, opening, client_class):
        change.state = respond(response, decision.state)
        body = response_record(response, change.state, received_ms=decision.at_ms, client_class=client_class)
        change.records.append(Record(response.response_id, canonical(body)))
        promise = opening.render.token_id, opening.placed.lease_of or decision.decision_id
        change.once.append(Once(fingerprint(change.state.sealing_key, "seen", *promise), "", ONCE_TTL_S))
    return change


def _impressions(request: Request, opening: Opening, client_class: ClientClass) -> Iterator[Response]:
    """That a person saw it, once for each promise: nobody reports that from a mail but the fetch of its picture."""
    render = opening.render
    if client_class == PERSON and render.action is not None:
        named = render.decision_id, render.placement, render.action
        yield Response(
            identity_of(*named, "impression"),
            request.customer_key,
            "impression",
            render.action,
            frozenset(),
            render.at_ms,
            request.channel,
            render.decision_id,
            render.placement,
        )
