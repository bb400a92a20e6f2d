"""Taking: a response of a person is counted now, or kept on this machine until the store answers.

For those who cannot send again: a browser's beacon, a mail's link, an agent who is on the telephone. A caller with an
API key gets a 503 instead and repeats by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from api.email.following import followed
from api.errors import Problem
from api.instants import wall_ms
from api.respond import counted
from api.service import Service
from decisioning.errors import StoreUnavailable
from decisioning.respond import UNDATED, Response

LOG = logging.getLogger("nextbest")
RESPONSE, FOLLOWED = "response", "followed"  # kinds of entries


async def take(service: Service, *responses: Response) -> list[str]:
    """Count responses in their order, else keep them: of each `counted`, `repeated` or `kept`.

    The deadline is for all of them: those that the store did not get to are kept. Raises Problem when one can be
    neither counted nor kept.
    """
    told: list[str] = []
    try:
        async with asyncio.timeout(service.settings.deadline_ms / 1000):
            for response in responses:
                told.append((await counted(service, response))["status"])
    except (StoreUnavailable, TimeoutError):
        # If the first of them was counted after all, the same response id makes the replay a repeat.
        late = responses[len(told) :]
        await asyncio.gather(*(_keep(service, response) for response in late))
        told += ["kept"] * len(late)
    return told


async def _keep(service: Service, response: Response) -> None:
    kept = replace(response, at_ms=wall_ms() if response.at_ms == UNDATED else response.at_ms)
    await service.journal.take(service.seals, RESPONSE, {**asdict(kept), "ends": sorted(kept.ends)})


async def count_kept(service: Service, kind: str, fields: Mapping[str, Any]) -> None:
    """Count one entry of the journal. Raises StoreUnavailable, and Problem for one that nobody can count."""
    try:
        if kind == RESPONSE:
            await counted(service, _response_of(fields))
        else:
            await followed(service, **fields)
    except Problem as problem:
        if problem.code == "not_ready":
            raise StoreUnavailable("no strategy is loaded yet") from None
        if problem.code != "erased":
            raise
        LOG.info("an entry of the journal counts no more: its customer was erased")


def _response_of(fields: Mapping[str, Any]) -> Response:
    caller_key = fields["caller_key"]
    told = {**fields, "ends": frozenset(fields["ends"]), "caller_key": tuple(caller_key) if caller_key else None}
    return Response(**told)
