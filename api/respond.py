"""POST /v1/responses: what came of an action, one or up to a thousand at a time.

Every item is understood before the first is written, so a fault refuses all and loses nothing. Then each is committed
on its customer by compare-and-set together with its log record; a repeat finds its once-key taken and is counted no
second time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import msgspec

from api import metrics
from api.changes import changed
from api.deployed import Deployed
from api.endpoint import Call
from api.errors import Problem
from api.instants import ms_of, wall_ms
from api.schemas import ResponseBatch, ResponseRequest
from api.service import Service
from decisioning.claim import CLAIMING_OUTCOMES, claim, units_wanted
from decisioning.customer import Snapshot, State
from decisioning.identifiers import checked_customer_id
from decisioning.people import person_of
from decisioning.respond import (
    UNDATED,
    Response,
    answered_otherwise,
    converted_action,
    ended_by,
    movements_of,
    respond,
    response_record,
)
from decisioning.sealing import fingerprint
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.packing import canonical, parsed
from decisioning.store.protocol import Change, Committed, Once, Record, Repeated
from decisioning.volume import overrun_of

ONCE_TTL_S = 7 * 86_400  # what is told once more later than this is another response
AT_ONCE_MAX = 32  # customers of one batch written at the same time


async def respond_endpoint(call: Call) -> dict[str, Any]:
    """Take one response, or a batch."""
    deployed = call.service.deployed()
    fields = msgspec.json.decode(call.raw, type=dict[str, msgspec.Raw])
    if "responses" not in fields:
        response = await understood(call, msgspec.json.decode(call.raw, type=ResponseRequest), deployed, "")
        return await counted(call.service, response)
    batch = msgspec.json.decode(call.raw, type=ResponseBatch)
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(at: int, item: ResponseRequest) -> Response:
        async with gate:
            return await understood(call, item, deployed, f"responses[{at}].")

    try:
        async with asyncio.TaskGroup() as group:  # the first fault ends the search for all others' records
            tasks = [group.create_task(one(at, item)) for at, item in enumerate(batch.responses)]
    except ExceptionGroup as faults:  # a task group wraps even one; the caller is told one as the problem it is
        raise faults.exceptions[0] from None
    return {"responses": await _all_counted(call.service, [task.result() for task in tasks])}


async def understood(call: Call, body: ResponseRequest, deployed: Deployed, prefix: str) -> Response:
    """The response a body means; raises Problem saying which field is missing or wrong."""
    now_ms = wall_ms()  # only to refuse what cannot be; a response's own time is the store's
    at_ms = ms_of(body.at, now_ms=now_ms, where=f"{prefix}at") if isinstance(body.at, str) else UNDATED
    stated = {name: getattr(body, name) for name in body.__struct_fields__ if getattr(body, name) is not msgspec.UNSET}
    if "event_token" in stated:
        named = _by_token(call.service, stated, prefix)
    elif "decision_id" in stated:
        named = await _by_decision(call.service, stated, prefix)
    elif "customer" in stated:
        named = await _by_customer(call.service, body, stated, deployed, prefix)
    else:
        raise Problem(
            "invalid_field",
            "Say what this answers: event_token, decision_id, or customer with action or product.",
            f"{prefix}event_token",
        )
    caller_key = (call.key.key_id, stated["idempotency_key"]) if "idempotency_key" in stated else None
    return Response(
        _identity(named, stated) if caller_key is None else "",
        caller_key=caller_key,
        meaning="" if caller_key is None else _meaning(named, stated),
        outcome=body.outcome,
        ends=ended_by(body.outcome, named["action"], deployed.strategy),
        at_ms=at_ms,
        value=stated.get("value"),
        reason=stated.get("reason"),
        **named,
    )


def _by_token(service: Service, stated: dict[str, Any], prefix: str) -> dict[str, Any]:
    implied = {"decision_id", "placement", "customer", "action", "product", "channel"}
    _refuse(stated, implied, "event_token says it already", prefix)
    return named_by_token(service, stated["event_token"], f"{prefix}event_token")


def named_by_token(service: Service, token: str, where: str) -> dict[str, Any]:
    """What an event token says a response is about, without asking the store. Raises Problem, blaming `where`."""
    customer_key, person_key, decision_id, placement, action, channel, expires_ms = service.seals.open(
        "event", token, where
    )
    if not isinstance(expires_ms, int) or expires_ms < wall_ms():
        raise Problem("invalid_token", "This token has expired. Report by customer and action instead.", where)
    return {
        "customer_key": customer_key,
        "person_key": person_key,
        "decision_id": decision_id,
        "placement": placement,
        "action": action,
        "channel": channel,
    }


async def _by_decision(service: Service, stated: dict[str, Any], prefix: str) -> dict[str, Any]:
    _refuse(stated, {"customer", "product", "channel"}, "decision_id says it already", prefix)
    packed = await service.store.find_record(stated["decision_id"])
    if packed is None:
        raise Problem(
            "not_found",
            "No such decision in the store; it keeps them for a day at most. Use the event_token.",
            f"{prefix}decision_id",
        )
    record = parsed(packed)
    placement, action = _shown(record["placements"], stated, prefix)
    person = await person_of(service.store, stated["decision_id"], record["person_key"])
    if person is None:
        raise Problem("erased", "The customer of this decision was erased.", f"{prefix}decision_id")
    return {
        "customer_key": person.customer_key,
        "person_key": record["person_key"],
        "decision_id": stated["decision_id"],
        "placement": placement,
        "action": action,
        "channel": record["channel"],
    }


def _shown(placements: Sequence[Mapping[str, Any]], stated: dict[str, Any], prefix: str) -> tuple[str, str]:
    """The one placement and action of a decision that are meant."""
    shown = [(each["placement"], each["action"]) for each in placements if each["action"] is not None]
    meant = [
        each
        for each in shown
        if stated.get("placement", each[0]) == each[0] and stated.get("action", each[1]) == each[1]
    ]
    if len(meant) != 1:
        named = ", ".join(f"{placement} showed {action}" for placement, action in shown) or "none did"
        where = "action" if meant and "placement" in stated else "placement"
        raise Problem(
            "invalid_field", f"Name a placement that showed an action, and which: {named}.", f"{prefix}{where}"
        )
    return meant[0]


async def _by_customer(
    service: Service, body: ResponseRequest, stated: dict[str, Any], deployed: Deployed, prefix: str
) -> dict[str, Any]:
    if body.outcome != "converted":
        raise Problem(
            "invalid_field", "Only 'converted' may come without a decision. Send the event_token.", f"{prefix}outcome"
        )
    _refuse(stated, {"placement"}, "a conversion without a decision has none", prefix)
    if ("action" in stated) == ("product" in stated):
        raise Problem("invalid_field", "Name either the action or the product.", f"{prefix}action")
    if stated.get("channel", next(iter(deployed.strategy.channels))) not in deployed.strategy.channels:
        raise Problem("unknown_channel", f"Known: {', '.join(sorted(deployed.strategy.channels))}.", f"{prefix}channel")
    customer_key = checked_customer_id(stated["customer"].id)
    action = stated.get("action")
    if action is None:
        (snapshot,) = await service.store.read([customer_key])
        sold = converted_action(stated["product"], snapshot, deployed.strategy)
        action = sold.key if sold is not None else None
    if action not in deployed.strategy.action_index:
        raise Problem(
            "not_found",
            "The strategy has no such action or product.",
            f"{prefix}{'action' if 'action' in stated else 'product'}",
        )
    return {"customer_key": customer_key, "action": action, "channel": stated.get("channel")}


def _refuse(stated: dict[str, Any], names: set[str], why: str, prefix: str) -> None:
    for name in sorted(names & stated.keys()):
        raise Problem("invalid_field", f"Leave this out: {why}.", f"{prefix}{name}")


def _identity(named: dict[str, Any], stated: dict[str, Any]) -> str:
    """What makes two reports the same response: decision, placement, action and outcome; else nothing can."""
    if "decision_id" in named:
        return identity_of(named["decision_id"], named["placement"], named["action"], stated["outcome"])
    return _digest("single", secrets.token_hex(16))


def identity_of(decision_id: str, placement: str, action: str, outcome: str) -> str:
    """The response id of an outcome of what a decision showed: the same, whoever reports it and how often."""
    return _digest("decision", decision_id, placement, action, outcome)


def _digest(*parts: str) -> str:
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def _meaning(named: dict[str, Any], stated: dict[str, Any]) -> str:
    """What a caller's key stands for, as text.

    Any token of a decision means the same as its id. A product stays a product: tomorrow it may be another action that
    it belongs to.
    """
    told = {name: stated.get(name) for name in ("outcome", "value", "at")}
    return canonical({**named, **told, "action": stated.get("product", named["action"])}).decode()


async def _all_counted(service: Service, responses: Sequence[Response]) -> list[dict[str, str]]:
    """Count a batch: customers side by side, the responses of one customer in order."""
    by_customer: dict[str, list[int]] = {}
    for at, response in enumerate(responses):
        by_customer.setdefault(response.customer_key, []).append(at)
    answers: list[dict[str, str]] = [{}] * len(responses)
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def one_customer(positions: list[int]) -> None:
        async with gate:
            for at in positions:
                answers[at] = await counted(service, responses[at], f"responses[{at}].")

    await asyncio.gather(*(one_customer(positions) for positions in by_customer.values()))
    return answers


async def counted(service: Service, response: Response, prefix: str = "") -> dict[str, str]:
    """Count one response; its time is the store's when the caller stated none."""
    strategy = service.deployed().strategy

    def change_of(snapshot: Snapshot) -> Change:
        if response.person_key not in (None, snapshot.state.person_key):
            raise Problem("erased", "The customer of this decision was erased.", "event_token")
        dated = _identified(response, snapshot)
        is_live = dated.api_key is not None and response.at_ms == UNDATED  # what was kept meanwhile was told it counts
        if is_live and (ended := answered_otherwise(dated, snapshot.state)) is not None:
            raise Problem("conflict", f"Answered meanwhile: {ended}. Nothing was noted.", f"{prefix}outcome")
        claimed = claim(dated, snapshot, strategy)
        standing = snapshot if claimed is None else replace(snapshot, state=claimed.state)
        after = respond(dated, standing.state)
        movements = [*(claimed.movements if claimed else ()), *movements_of(dated, standing, after, strategy)]
        record = response_record(
            dated,
            snapshot.state,
            received_ms=snapshot.now_ms,
            overrun=overrun_of(movements),
            claim=claimed.verdict if claimed else None,
        )
        return Change(
            response.customer_key,
            snapshot.state_version,
            after,
            records=[Record(dated.response_id, canonical(record))],
            once=[_once(dated, snapshot.state)],
            movements=movements,
        )

    async def stock(snapshot: Snapshot) -> dict[str, int]:
        wanted = units_wanted(_identified(response, snapshot), snapshot, strategy)
        fetched = await service.restocker.fetch(snapshot, strategy, wanted) if wanted else {}
        return {**snapshot.quotas, **fetched}

    is_spending = bool(strategy.volume_constraints) and response.outcome in CLAIMING_OUTCOMES
    change, _, outcome = await changed(
        service.store, response.customer_key, change_of, stock=stock if is_spending else None
    )
    if isinstance(outcome, Repeated) and outcome.values[0] != change.once[0].value:
        message = "This idempotency_key was used with another response. Use a new key for a new response."
        raise Problem("conflict", message, f"{prefix}idempotency_key")
    status = "counted" if isinstance(outcome, Committed) else "repeated"
    if isinstance(outcome, Committed) and overrun_of(change.movements):
        metrics.OVERRUNS.inc()
    metrics.RESPONSES.labels(response.outcome, status).inc()
    return {"response_id": change.records[0].record_id, "status": status}


def _once(response: Response, state: State) -> Once:
    """The step that counts a response once. A caller's key stands for one body; what is told by its decision may come
    again with another time or value and is the same response all the same.
    """
    value = fingerprint(state.sealing_key, "meaning", response.meaning) if response.meaning else ""
    return Once(fingerprint(state.sealing_key, "respond", response.response_id), value, ONCE_TTL_S)


def _identified(response: Response, snapshot: Snapshot) -> Response:
    """The response with its time and its id, as this snapshot of the customer gives them where they are open."""
    response_id = response.response_id
    if response.caller_key is not None:
        response_id = fingerprint(snapshot.state.sealing_key, "response", *response.caller_key)
    now_ms = snapshot.now_ms
    at_ms = now_ms if response.at_ms == UNDATED else min(response.at_ms, now_ms)  # a replica's clock may be fast
    answered = whereabouts_of(response.decision_id or "")
    if (
        answered is not None
    ):  # or slow, a day may be all that was stated, and the store's own clock may have stepped back
        at_ms = max(at_ms, answered.from_ms)
    return replace(response, response_id=response_id, at_ms=at_ms)
