"""POST /v1/decisions: one awaited read, `decide`, one awaited commit.

A commit that meets a newer state decides again on it; if that loses too, the third try places no offer but what the
newest state leases. One that loses even then is answered unrecorded. When the store is late or anything inside breaks,
the customer still sees the placement's prepared brand content. Both are marked `degraded`. An answer that would be
another one with more of a budget fetches units first and is decided again on what came.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from api import metrics
from api.answer import Facts, answer_of
from api.deployed import Deployed
from api.endpoint import Call
from api.errors import Problem
from api.instants import wall_ms
from api.repeat import repeated
from api.schemas import DecisionRequest
from api.service import Service
from decisioning.customer import Snapshot, State, partition_of
from decisioning.decide import candidates_for, decide, prepare
from decisioning.errors import InvalidAttribute, StoreUnavailable
from decisioning.explain import explain
from decisioning.identifiers import checked_customer_id
from decisioning.records import decision_record
from decisioning.request import MESSAGE, Decision, Placed, Request
from decisioning.sealing import fingerprint
from decisioning.shadow import shadowed
from decisioning.store.packing import canonical
from decisioning.store.protocol import Change, Committed, Lost, Once, Outcome, Record, Repeated
from decisioning.volume import Occasion, hoped, may_be_met, missing

LOG = logging.getLogger("nextbest")
IDEMPOTENCY_TTL_S = 86_400


async def decide_endpoint(call: Call, *, person_key: str = "") -> dict[str, Any]:
    """Answer a decision request. person_key: the one person whom it may be about; empty: whoever has the id."""
    deployed = call.service.deployed()
    request = request_of(call.body, deployed)
    deadline_ms = call.service.settings.deadline_ms
    try:
        return await call.service.deadlines.keep(
            deadline_ms / 1000, _until_committed(call, request, deployed, person_key)
        )
    except TimeoutError:
        raise StoreUnavailable(f"no decision within {deadline_ms} ms") from None


def request_of(body: DecisionRequest, deployed: Deployed) -> Request:
    """The typed request behind a body. Raises what makes it a 4xx."""
    if len(set(body.placements)) < len(body.placements):
        raise Problem("invalid_field", "A placement is named twice. Name each once.", "placements")
    try:
        context = deployed.strategy.schema.context_of(body.context)
    except InvalidAttribute as error:
        raise Problem("invalid_attribute", str(error), "context") from None
    customer_key, placements = checked_customer_id(body.customer.id), tuple(body.placements)
    request = Request(customer_key, body.channel, placements, context, sending=body.sending)
    candidates_for(request, deployed.strategy)
    if body.sending and deployed.strategy.channels[body.channel].direction != "outbound":
        raise Problem("invalid_field", "Nothing is sent in an inbound channel. Leave it out.", "sending")
    return request


async def _until_committed(call: Call, request: Request, deployed: Deployed, person_key: str) -> dict[str, Any]:
    """The answer of the first decision whose commit wins; of three at most. The decider is the pair for this person."""
    store = call.service.store
    (snapshot,) = await store.read([request.customer_key], quotas=bool(deployed.strategy.volume_constraints))
    for is_last in (False, False, True):
        if person_key not in ("", snapshot.state.person_key):  # who is not stored has a fresh one
            raise Problem("erased", "The customer of this token was erased. Ask for a new one.", "visitor_token")
        asked = replace(request, offers_allowed=False) if is_last else request
        decider = deployed.for_person(snapshot.state.assignment_key)
        decision = _decision(asked, snapshot, decider)
        if call.body.dry_run:
            return _answer(call, asked, snapshot, decider, decision)
        if asked.offers_allowed and (fetched := await fetched_units(call.service, asked, snapshot, decision, decider)):
            snapshot.quotas = {**snapshot.quotas, **fetched}
            decision = _decision(asked, snapshot, decider)
        outcome = await _commit(call, asked, snapshot, decision, decider)
        if isinstance(outcome, Committed):
            count_outcomes(decision, is_challenged=decider is not deployed)
            call.service.restocker.notice(asked, snapshot, decision, decider.strategy)
            return _answer(call, asked, snapshot, decider, decision, is_recorded=True)
        if isinstance(outcome, Repeated):
            earlier = outcome.values[0] or ""
            body_hash = _body_hash(call, snapshot.state)
            stored = await repeated(call, request, deployed, earlier=earlier, body_hash=body_hash)
            return stored or _leased_only(call, request, snapshot, deployed, cause="record_gone")
        assert isinstance(outcome, Lost)
        metrics.RACES_LOST.inc()
        snapshot = outcome.snapshot
    return _leased_only(call, request, snapshot, deployed, cause="races_lost")


async def fetched_units(
    service: Service, request: Request, snapshot: Snapshot, decision: Decision, decider: Deployed
) -> dict[str, int]:
    """New quotas, when the answer would be another one if its partition had the units that it has not."""
    occasion = Occasion(request.channel, snapshot.now_ms)
    if not may_be_met(decision.stages, decider.strategy, snapshot.quotas, occasion):
        return {}
    hopes = replace(snapshot, quotas=hoped(decider.strategy, snapshot.quotas, now_ms=snapshot.now_ms))
    wanted = missing(_decision(request, hopes, decider).movements, snapshot.quotas)
    return await service.restocker.fetch(snapshot, decider.strategy, wanted) if wanted else {}


def _leased_only(call: Call, request: Request, snapshot: Snapshot, deployed: Deployed, *, cause: str) -> dict[str, Any]:
    """What can be said without a commit: the offer that is promised, else a message or nothing."""
    metrics.DEGRADED.labels(cause).inc()
    leased_only, decider = replace(request, offers_allowed=False), deployed.for_person(snapshot.state.assignment_key)
    return _answer(call, leased_only, snapshot, decider, _decision(leased_only, snapshot, decider), degraded=True)


def _decision(request: Request, snapshot: Snapshot, decider: Deployed) -> Decision:
    decision_id = new_decision_id(request, snapshot.now_ms)
    return decide(request, snapshot, decider.strategy, decider.scorer, decision_id=decision_id)


def new_decision_id(request: Request, now_ms: int) -> str:
    """An id nobody can guess, naming the partition and the moment, by which the record is found again."""
    return f"{partition_of(request.customer_key):03d}-{now_ms:x}-{os.urandom(8).hex()}"


async def _commit(call: Call, request: Request, snapshot: Snapshot, decision: Decision, decider: Deployed) -> Outcome:
    record = decision_record(
        decision,
        request,
        snapshot,
        decider.strategy,
        decider.versions,
        key_id=call.key.key_id,
        shadow=shadow_of(request, snapshot, decision, decider.shadow),
    )
    change = Change(
        snapshot.customer_key,
        snapshot.state_version,
        decision.state if decision.changes_state else None,
        records=[Record(decision.decision_id, record)],
        movements=decision.movements,
        once=_once(call, snapshot.state, decision),
    )
    return (await call.service.store.commit([change]))[0]


def shadow_of(
    request: Request, snapshot: Snapshot, decision: Decision, shadow: Deployed | None
) -> dict[str, Any] | None:
    """What the shadow would have made of a decision, for its record; None without one, or where it fails."""
    if shadow is None:
        return None
    try:
        filling = prepare(request, snapshot, shadow.strategy, shadow.scorer, decision_id=decision.decision_id)
        return {"versions": asdict(shadow.versions), "placements": shadowed(filling, decision)}
    except Exception as error:  # a model on trial may fail in ways of its own, and must not touch the answer
        metrics.SHADOW_ERRORS.inc()
        _tell_once(shadow.versions.model, f"{type(error).__name__}: {error}")
        return None


@lru_cache(maxsize=64)
def _tell_once(model: str, trouble: str) -> None:
    """A shadow that fails in one request fails in the next thousand."""
    LOG.error("shadow %s not scored: %s", model[:12], trouble)


def _once(call: Call, state: State, decision: Decision) -> list[Once]:
    """The idempotency step of a request, scoped to the API key and the customer; none without a key."""
    key = call.body.idempotency_key
    if not isinstance(key, str):
        return []
    name = fingerprint(state.sealing_key, "decide", call.key.key_id, key)
    return [Once(name, f"{_body_hash(call, state)}:{decision.decision_id}", IDEMPOTENCY_TTL_S)]


def _body_hash(call: Call, state: State) -> str:
    """Of what was understood: the order and spaces of a body mean nothing.

    Made with the customer's key, because a body names them and this stays for a day after their erasure.
    """
    return fingerprint(state.sealing_key, "body", canonical(call.body).decode())


def count_outcomes(decision: Decision, *, is_challenged: bool) -> None:
    """Count what a recorded answer holds, what dropped out on the way, and whether the challenger decided."""
    if is_challenged:
        metrics.CHALLENGED.inc()
    for placed in decision.placements:
        metrics.PLACEMENTS.labels(placed.outcome, "draw" if placed.is_trial else placed.reasons[0]).inc()
    for drops in decision.stages:
        for reason, mask in drops.items():
            metrics.DROPS.labels(reason).inc(mask.bit_count())


def _answer(
    call: Call,
    request: Request,
    snapshot: Snapshot,
    decider: Deployed,
    decision: Decision,
    *,
    is_recorded: bool = False,
    degraded: bool = False,
) -> dict[str, Any]:
    facts = Facts(
        decision.decision_id,
        request.customer_key,
        snapshot.state.person_key,
        request.channel,
        decision.at_ms,
        snapshot.profile is not None,
        decision.holdout,
        decision.arms,
        decision.arm_probability,
        decider.versions,
        degraded,
    )
    answer = answer_of(facts, decision.placements, call.service.seals if is_recorded else None)
    if call.body.explain:
        filling = prepare(request, snapshot, decider.strategy, decider.scorer, decision_id=decision.decision_id)
        answer["explanation"] = explain(filling, decision, hidden=decider.strategy.schema.personal)
    return answer


async def fallback(call: Call) -> dict[str, Any]:
    """Prepared brand content for every placement asked: what a customer sees when something inside is in trouble."""
    deployed = call.service.deployed()
    request = request_of(call.body, deployed)
    now_ms = wall_ms()  # the store's clock is out of reach
    metrics.DEGRADED.labels("trouble_inside").inc()
    metrics.PLACEMENTS.labels(MESSAGE, "fallback").inc(len(request.placements))
    placements, languages = deployed.strategy.placements, deployed.strategy.languages
    placed = []
    for name in request.placements:
        content = placements[name].fallback.render(languages[0], {})
        placed.append(Placed(name, MESSAGE, ["fallback"], content=content, valid_until_ms=now_ms))
    facts = Facts(
        new_decision_id(request, now_ms),
        request.customer_key,
        person_key="",
        channel=request.channel,
        at_ms=now_ms,
        profile_found=False,
        holdout=False,
        arms={},
        arm_probability=None,
        versions=deployed.versions,
        degraded=True,
    )
    return answer_of(facts, placed, None)
