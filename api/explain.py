"""GET /v1/decisions/{id}: why. Decided again from the record, with the versions it names."""

from __future__ import annotations

from typing import Any

import msgspec

from api.endpoint import Call
from api.errors import Problem
from api.instants import text_of
from decisioning.decide import prepare
from decisioning.errors import SealBroken
from decisioning.explain import explain
from decisioning.records import Versions, core_of, open_record, replay
from decisioning.store.packing import canonical, parsed


async def explain_endpoint(call: Call) -> dict[str, Any]:
    """Every candidate of a recorded decision, with the gate or rank it met and the values that stopped it."""
    service = call.service
    service.deployed()
    packed = await service.store.find_record(call.path["decision_id"])
    if packed is None:
        raise Problem(
            "not_found",
            "No such decision in the store, which keeps them for about a day. Older ones are in history.",
            "decision_id",
        )
    body = parsed(packed)
    (customer_key,) = service.seals.open("owner", body["owner"], "decision_id")
    versions = Versions(**body["versions"])
    deployed = await service.live.deployed(versions)
    if deployed is None:
        raise Problem("not_found", "The strategy or model of this decision is not here any more.", "decision_id")
    (snapshot,) = await service.store.read([str(customer_key)])
    try:
        recorded = open_record(body, snapshot.state.sealing_key, deployed.strategy)
    except SealBroken:
        raise Problem("erased", "The customer of this decision was erased.", "decision_id") from None
    again = replay(recorded, deployed.strategy, deployed.scorer)
    filling = prepare(
        recorded.request, recorded.snapshot, deployed.strategy, deployed.scorer, decision_id=recorded.decision_id
    )
    return {
        "decision_id": recorded.decision_id,
        "at": text_of(recorded.snapshot.now_ms),
        "channel": recorded.request.channel,
        "versions": msgspec.to_builtins(versions),
        "reproduced": canonical(core_of(again.placements)) == canonical(recorded.core),
        "placements": recorded.core,
        "candidates": explain(filling, again),
        "shadow": body.get("shadow"),
    }
