"""GET /v1/decisions/{id}: why. Decided again from the record, with the versions it names.

`nextbest explain` says the same of decisions that have left the store: history is read with a library that no serving
process carries.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from api.deployed import Deployed
from api.endpoint import Call
from api.errors import Problem
from api.instants import text_of
from api.live import Live
from decisioning.decide import prepare
from decisioning.errors import NextbestError, StateMissing, StoreUnavailable
from decisioning.explain import explain, explain_gates
from decisioning.people import person_of
from decisioning.records import Versions, core_of, open_record, replay
from decisioning.request import Placed
from decisioning.store.packing import canonical, parsed

LOG = logging.getLogger("nextbest")


async def explain_endpoint(call: Call) -> dict[str, Any]:
    """Every candidate of a recorded decision, with the gate or rank it met and the values that stopped it."""
    service = call.service
    service.deployed()
    decision_id = call.path["decision_id"]
    packed = await service.store.find_record(decision_id)
    if packed is None:
        message = "No such decision in the store, which keeps them for a day at most. `nextbest explain` reads history."
        raise Problem("not_found", message, "decision_id")
    body = parsed(packed)
    person = await person_of(service.store, decision_id, body["person_key"])
    if person is None:
        raise Problem("erased", "The customer of this decision was erased.", "decision_id")
    return await explained(body, person.state.sealing_key, partial(_recorded, service.live))


async def _recorded(live: Live, versions: Versions) -> Deployed:
    try:
        return await live.deployed(versions)
    except (StoreUnavailable, StateMissing):
        raise
    except NextbestError as error:
        LOG.warning("recorded versions not loaded: %s", error)
        message = "The strategy or model of this decision is not here any more."
        raise Problem("not_found", message, "decision_id") from error


async def explained(
    body: Mapping[str, Any], sealing_key: str, load: Callable[[Versions], Awaitable[Deployed]]
) -> dict[str, Any]:
    """A record decided again with what decided it then; where the model's state is gone, with what its gates said.

    Raises SealBroken when the key is not the customer's, and what load raises for versions that are gone.
    """
    versions = Versions(**body["versions"])
    try:
        deployed, has_state = await load(versions), True
    except StateMissing:  # gates ask no model
        deployed, has_state = await load(replace(versions, model_state=None)), False
    recorded = open_record(body, sealing_key, deployed.strategy)
    request, snapshot, strategy, scorer = recorded.request, recorded.snapshot, deployed.strategy, deployed.scorer
    filling = prepare(request, snapshot, strategy, scorer, decision_id=recorded.decision_id)
    if has_state:
        again = replay(recorded, strategy, scorer)
        is_same: bool | None = canonical(core_of(again.placements)) == canonical(recorded.core)
        candidates = explain(filling, again)
    else:
        is_same, candidates = None, explain_gates(filling, [Placed(**each) for each in recorded.core])
    return {
        "decision_id": recorded.decision_id,
        "at": text_of(snapshot.now_ms),
        "channel": request.channel,
        "versions": msgspec.to_builtins(versions),
        "reproduced": is_same,
        "placements": recorded.core,
        "candidates": candidates,
        "shadow": body.get("shadow"),
    }
