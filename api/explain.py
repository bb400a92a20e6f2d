"""GET /v1/decisions/{id}: why. Decided again from the record, with the versions it names.

`nextbest explain` says the same of decisions that have left the store: history is read with a library that no serving
process carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from api.deployed import Deployed
from api.endpoint import Call
from api.errors import Problem
from api.instants import text_of
from decisioning.decide import prepare
from decisioning.explain import explain
from decisioning.people import person_of
from decisioning.records import Versions, core_of, open_record, replay
from decisioning.store.packing import canonical, parsed


async def explain_endpoint(call: Call) -> dict[str, Any]:
    """Every candidate of a recorded decision, with the gate or rank it met and the values that stopped it."""
    service = call.service
    service.deployed()
    decision_id = call.path["decision_id"]
    packed = await service.store.find_record(decision_id)
    if packed is None:
        message = "No such decision in the store, which keeps them for about a day. `nextbest explain` reads history."
        raise Problem("not_found", message, "decision_id")
    body = parsed(packed)
    person = await person_of(service.store, decision_id, body["person_key"])
    if person is None:
        raise Problem("erased", "The customer of this decision was erased.", "decision_id")
    deployed = await service.live.deployed(Versions(**body["versions"]))
    if deployed is None:
        raise Problem("not_found", "The strategy or model of this decision is not here any more.", "decision_id")
    return explanation_of(body, person.state.sealing_key, deployed)


def explanation_of(body: Mapping[str, Any], sealing_key: str, deployed: Deployed) -> dict[str, Any]:
    """A record decided again with what decided it then. Raises SealBroken when the key is not the customer's."""
    recorded = open_record(body, sealing_key, deployed.strategy)
    again = replay(recorded, deployed.strategy, deployed.scorer)
    filling = prepare(
        recorded.request, recorded.snapshot, deployed.strategy, deployed.scorer, decision_id=recorded.decision_id
    )
    return {
        "decision_id": recorded.decision_id,
        "at": text_of(recorded.snapshot.now_ms),
        "channel": recorded.request.channel,
        "versions": msgspec.to_builtins(recorded.versions),
        "reproduced": canonical(core_of(again.placements)) == canonical(recorded.core),
        "placements": recorded.core,
        "candidates": explain(filling, again),
        "shadow": body.get("shadow"),
    }
