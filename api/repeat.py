"""Repeats: the stored decision of an idempotency key, rendered again through today's consent.

The commit of the repeat finds the key taken, so that two requests in flight at once cannot both be counted.
"""

from __future__ import annotations

import asyncio
from typing import Any

from api.answer import Facts, answer_of
from api.deployed import Deployed
from api.endpoint import Call
from api.errors import Problem
from decisioning.moment import moment_of
from decisioning.records import Versions
from decisioning.renders import render_again
from decisioning.request import Placed, Request
from decisioning.store.packing import parsed


async def repeated(
    call: Call, request: Request, deployed: Deployed, *, earlier: str, body_hash: str
) -> dict[str, Any] | None:
    """The answer to a key that was used before; None when its record has left the store.

    earlier is what its first use left: body hash and decision. The customer is read anew, because whoever was first may
    just have made them.
    """
    first_hash, _, decision_id = earlier.partition(":")
    if body_hash != first_hash:
        message = "This idempotency_key was used with another body. Use a new key for a new question."
        raise Problem("conflict", message, "idempotency_key")
    store = call.service.store
    packed, (snapshot,) = await asyncio.gather(store.find_record(decision_id), store.read([request.customer_key]))
    if packed is None:
        return None
    record = parsed(packed)
    if snapshot.state.person_key != record["person_key"]:
        message = "The customer of this key's decision was erased. Use a new key."
        raise Problem("erased", message, "idempotency_key")
    facts = Facts(
        decision_id,
        request.customer_key,
        record["person_key"],
        request.channel,
        record["at_ms"],
        record["profile_found"],
        record["holdout"],
        record["arms"],
        record["arm_probability"],
        Versions(**record["versions"]),
    )
    strategy = deployed.strategy
    moment = moment_of(request, snapshot, strategy, strategy.reads)
    placed = [render_again(Placed(**core), moment, snapshot, strategy) for core in record["placements"]]
    return answer_of(facts, placed, call.service.seals)
