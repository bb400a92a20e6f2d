"""POST /v1/decisions: one awaited read, `decide`, one awaited commit.

A commit that meets a newer state decides again on it, once; if that loses too, the answer places only what the newest
state leases. When the store is late or anything inside breaks, the customer still sees the placement's prepared brand
content, marked `degraded`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import msgspec

from api import metrics
from api.endpoint import Call
from api.errors import Problem
from api.instants import text_of
from api.live import Deployed
from api.schemas import DecisionRequest
from api.service import Service
from decisioning.consent import is_granted
from decisioning.customer import Snapshot, partition_of
from decisioning.decide import candidates_for, decide, prepare
from decisioning.errors import StoreUnavailable
from decisioning.explain import explain
from decisioning.identifiers import checked_customer_id
from decisioning.placement import render
from decisioning.records import record_of
from decisioning.request import MESSAGE, NOTHING, Decision, Placed, Request
from decisioning.store.packing import parsed
from decisioning.store.protocol import Change, Committed, Once, Record, Repeated

TOKEN_DAYS = 90  # how long a response may name a decision by its token
IDEMPOTENCY_TTL_S = 86_400
ATTEMPTS_MAX = 3  # two decisions on fresh state, then one that places no new offer and is not committed


async def decide_endpoint(call: Call) -> dict[str, Any]:
    """Answer a decision request."""
    started_s = time.perf_counter()
    service, body = call.service, call.body
    deployed = service.deployed()
    request = question(body, deployed)
    try:
        async with asyncio.timeout(service.settings.deadline_ms / 1000):
            answer = await _decided(call, request, deployed)
    except TimeoutError:
        raise StoreUnavailable(f"no decision within {service.settings.deadline_ms} ms") from None
    metrics.DECISION_LATENCY.observe(time.perf_counter() - started_s)
    return answer


def question(body: DecisionRequest, deployed: Deployed) -> Request:
    """The typed question behind a request body. Raises what makes it a 4xx."""
    if len(set(body.placements)) < len(body.placements):
        raise Problem(
            "invalid_field",
            "A placement is named twice. Name each once; `count` in placements.yaml asks for several.",
            "placements",
        )
    context = deployed.strategy.schema.context_of(body.context)
    request = Request(checked_customer_id(body.customer.id), body.channel, tuple(body.placements), context)
    candidates_for(request, deployed.strategy)
    return request


async def _decided(call: Call, request: Request, deployed: Deployed) -> dict[str, Any]:
    service, body = call.service, call.body
    once = _once(call)
    if once is not None and (earlier := await service.store.once(request.customer_key, once.key)) is not None:
        return await _repeat(call, request, deployed, earlier)
    snapshot = (await service.store.read([request.customer_key]))[0]
    for attempt in range(ATTEMPTS_MAX):
        is_last = attempt == ATTEMPTS_MAX - 1
        asked = replace(request, offers_allowed=not is_last)
        decision_id = new_decision_id(snapshot)
        decision = decide(asked, snapshot, deployed.strategy, deployed.scorer, decision_id=decision_id)
        if body.dry_run or is_last:
            break
        outcome = await _commit(call, asked, snapshot, decision, deployed, once)
        if isinstance(outcome, Committed):
            break
        if isinstance(outcome, Repeated):
            return await _repeat(call, request, deployed, outcome.values[0] or "")
        metrics.RACES_LOST.inc()
        snapshot = outcome.snapshot
    _count(decision, is_last)
    answer = _answer(
        service,
        decision,
        snapshot,
        deployed,
        channel=request.channel,
        committed=not (body.dry_run or is_last),
        degraded=is_last,
    )
    if body.explain:
        answer["explanation"] = explain(
            request, snapshot, deployed.strategy, deployed.scorer, decision_id=decision.decision_id
        )
    return answer


def new_decision_id(snapshot: Snapshot) -> str:
    """An id nobody can guess, naming the partition and the moment, by which the record is found again."""
    return f"{partition_of(snapshot.customer_key):03d}-{snapshot.now_ms:x}-{secrets.token_hex(8)}"


async def _commit(
    call: Call, request: Request, snapshot: Snapshot, decision: Decision, deployed: Deployed, once: Once | None
) -> Any:
    assert call.service.sealer is not None
    owner = call.service.sealer.seal("owner", [snapshot.customer_key])
    record = record_of(
        decision, request, snapshot, deployed.strategy, deployed.versions, key_id=call.key.key_id, owner=owner
    )
    steps = [] if once is None else [replace(once, value=f"{once.value}:{decision.decision_id}")]
    change = Change(
        snapshot.customer_key,
        snapshot.state_version,
        decision.state,
        records=[Record(decision.decision_id, record)],
        once=steps,
    )
    return (await call.service.store.commit([change]))[0]


def _count(decision: Decision, is_last: bool) -> None:
    for placed in decision.placements:
        metrics.PLACEMENTS.labels(placed.outcome, "draw" if placed.is_trial else placed.reasons[0]).inc()
    for reason, mask in decision.drops.items():
        metrics.DROPS.labels(reason).inc(mask.bit_count())
    if is_last:
        metrics.DEGRADED.labels("races_lost").inc()


def _answer(
    service: Service,
    decision: Decision,
    snapshot: Snapshot,
    deployed: Deployed,
    *,
    channel: str,
    committed: bool,
    degraded: bool = False,
) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "customer_id": snapshot.customer_key,
        "profile_found": snapshot.profile is not None,
        "valid_until": text_of(min(placed.valid_until_ms for placed in decision.placements)),
        "degraded": degraded,
        "holdout": decision.holdout,
        "arms": decision.arms,
        "versions": msgspec.to_builtins(deployed.versions),
        "placements": [
            _placement(service, placed, decision, snapshot.customer_key, channel, committed)
            for placed in decision.placements
        ],
    }


def _placement(
    service: Service, placed: Placed, decision: Decision, customer_key: str, channel: str, committed: bool
) -> dict[str, Any]:
    token = None
    if committed and placed.action is not None and service.sealer is not None:
        expires_ms = decision.at_ms + TOKEN_DAYS * 86_400_000
        token = service.sealer.seal(
            "event", [customer_key, decision.decision_id, placed.placement, placed.action, channel, expires_ms]
        )
    return {
        "placement": placed.placement,
        "outcome": placed.outcome,
        "action": placed.action,
        "treatment": placed.treatment,
        "rank": placed.rank,
        "content": placed.content,
        "reasons": placed.reasons,
        "propensity": placed.propensity,
        "priority": placed.priority,
        "expected_value": placed.expected_value,
        "selection_probability": placed.selection_probability,
        "lease_of": placed.lease_of,
        "event_token": token,
    }


async def fallback(call: Call) -> dict[str, Any]:
    """Prepared brand content for every placement asked: what a customer sees when something inside is in trouble."""
    deployed = call.service.deployed()
    request = question(call.body, deployed)
    now_ms = time.time_ns() // 1_000_000
    metrics.DEGRADED.labels("trouble_inside").inc()
    placements = [
        Placed(
            name,
            MESSAGE,
            ["fallback"],
            content=deployed.strategy.placements[name].fallback.render(deployed.strategy.languages[0], {}),
            valid_until_ms=now_ms,
        )
        for name in request.placements
    ]
    snapshot = Snapshot(request.customer_key, now_ms, 0, None, None)  # type: ignore[arg-type]
    decision = Decision(new_decision_id(snapshot), now_ms, False, {}, placements, {}, None, {})  # type: ignore[arg-type]
    return _answer(call.service, decision, snapshot, deployed, channel=request.channel, committed=False, degraded=True)


def _once(call: Call) -> Once | None:
    """The idempotency step of a request, scoped to the API key (the store scopes it to the customer); its value is the
    body's hash.
    """
    if isinstance(call.body.idempotency_key, str) and not call.body.dry_run:
        return Once(
            f"decide:{call.key.key_id}:{call.body.idempotency_key}",
            sha256(call.raw).hexdigest()[:32],
            IDEMPOTENCY_TTL_S,
        )
    return None


async def _repeat(call: Call, request: Request, deployed: Deployed, earlier: str) -> dict[str, Any]:
    """The stored decision, rendered again through today's consent."""
    body_hash, _, decision_id = earlier.partition(":")
    once = _once(call)
    if once is not None and body_hash != once.value:
        raise Problem(
            "conflict",
            "This idempotency_key was used with another body. Use a new key for a new question.",
            "idempotency_key",
        )
    packed = await call.service.store.find_record(decision_id)
    if packed is None:
        raise StoreUnavailable("the stored decision of this key is not in the store")
    record: Mapping[str, Any] = parsed(packed)
    snapshot = (await call.service.store.read([request.customer_key]))[0]
    filling = prepare(request, snapshot, deployed.strategy, deployed.scorer, decision_id=decision_id)
    placements = []
    for core in record["placements"]:
        placed = Placed(**core, valid_until_ms=snapshot.now_ms)
        action = (
            deployed.strategy.actions[deployed.strategy.action_index[placed.action]]
            if placed.action in deployed.strategy.action_index
            else None
        )
        if action is not None and is_granted(
            deployed.strategy, snapshot.state.consents, channel=request.channel, purpose=action.purpose
        ):
            placed.content = render(filling, deployed.strategy.placements[placed.placement], action.index)
        if placed.action is not None and placed.content is None:
            placed = Placed(
                placed.placement, NOTHING, ["consent"], lease_of=decision_id, valid_until_ms=snapshot.now_ms
            )
        placements.append(placed)
    decision = Decision(
        decision_id, record["at_ms"], record["holdout"], record["arms"], placements, {}, snapshot.state, {}
    )
    return _answer(call.service, decision, snapshot, deployed, channel=request.channel, committed=True)
