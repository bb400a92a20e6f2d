"""PUT /v1/customers/{id}/consents and POST /v1/consents: what customers permit and withdraw.

Every statement is understood before the first is written, so a fault refuses all. Then each customer is committed by
compare-and-set together with a log record of every new version: whoever decides at the same moment loses the race and
decides again on the new consent.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.changes import changed
from api.customers import answer_of, consent_answer, customer_key_in, customer_key_of
from api.endpoint import Call
from api.errors import Problem
from api.instants import ms_of, wall_ms
from api.schemas import ConsentStatement
from decisioning.catalog.strategy import Strategy
from decisioning.consent import Statement, records_of, stated_about, taken
from decisioning.customer import Consent, Snapshot
from decisioning.store.protocol import Change, Store

AT_ONCE_MAX = 32  # customers of one batch written at the same time


@dataclass(frozen=True, slots=True)
class Said:
    """One statement about one customer, and where in the body it stands."""

    customer_key: str
    statement: Statement
    where: str


async def put_consents(call: Call) -> dict[str, Any]:
    """PUT: state permissions and withdrawals of one customer; answers with the customer."""
    customer_key = customer_key_of(call)
    said = [_said(call, customer_key, body, f"[{at}].") for at, body in enumerate(call.body)]
    await _check(said, call.service.deployed().strategy, call.service.store)
    return answer_of(await _take(call.service.store, customer_key, [each.statement for each in said]))


async def post_consents(call: Call) -> dict[str, Any]:
    """POST: state permissions and withdrawals of up to 1,000 customers; answers what holds of each now."""
    said = [
        _said(call, customer_key_in(body.customer.id, where=f"{prefix}customer.id"), body, prefix)
        for prefix, body in ((f"statements[{at}].", body) for at, body in enumerate(call.body.statements))
    ]
    await _check(said, call.service.deployed().strategy, call.service.store)
    by_customer: dict[str, list[Statement]] = defaultdict(list)
    for each in said:
        by_customer[each.customer_key].append(each.statement)
    holding: dict[str, Sequence[Consent]] = {}
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def one_customer(customer_key: str, statements: Sequence[Statement]) -> None:
        async with gate:
            holding[customer_key] = (await _take(call.service.store, customer_key, statements)).state.consents

    await asyncio.gather(*(one_customer(key, statements) for key, statements in by_customer.items()))
    return {"consents": [_holds(each, holding) for each in said]}


def _said(call: Call, customer_key: str, body: ConsentStatement, prefix: str) -> Said:
    """What a body states; raises Problem for a time that cannot be."""
    at_ms = ms_of(body.at, now_ms=wall_ms(), where=f"{prefix}at") if isinstance(body.at, str) else None
    source = body.source if isinstance(body.source, str) else call.key.key_id
    statement = Statement(body.channel, body.purpose, body.granted, source, at_ms, body.basis)
    return Said(customer_key, statement, prefix)


async def _check(said: Sequence[Said], strategy: Strategy, store: Store) -> None:
    """Raise Problem for a channel or purpose that the strategy does not know.

    A withdrawal of what the customer once permitted is taken all the same: the channel may come back.
    """
    strange = [(each, problem) for each in said if (problem := _problem(each, strategy)) is not None]
    keys = sorted({each.customer_key for each, _ in strange})
    known = {each.customer_key: each.state.consents for each in await store.read(keys)} if keys else {}
    for each, problem in strange:
        stated = each.statement
        if stated.granted or stated_about(known[each.customer_key], stated.channel, stated.purpose) is None:
            raise problem


def _problem(said: Said, strategy: Strategy) -> Problem | None:
    if said.statement.channel not in strategy.channels:
        return Problem("unknown_channel", f"Known: {', '.join(sorted(strategy.channels))}.", f"{said.where}channel")
    if said.statement.purpose not in strategy.schema.purposes:
        message = f"Unknown purpose. Known: {', '.join(strategy.schema.purposes)}."
        return Problem("invalid_field", message, f"{said.where}purpose")
    return None


async def _take(store: Store, customer_key: str, statements: Sequence[Statement]) -> Snapshot:
    """The customer after these statements."""

    def change_of(snapshot: Snapshot) -> Change:
        before, now_ms = snapshot.state.consents, snapshot.now_ms
        after = taken(before, statements, now_ms=now_ms)
        if after == before:
            return Change(customer_key, snapshot.state_version, state=None)
        # What a channel shows beside the old consents need not be right any more.
        state = replace(snapshot.state, consents=after, holds={})
        records = records_of(before, after, snapshot.state, received_ms=now_ms)
        return Change(customer_key, snapshot.state_version, state, records=records)

    change, snapshot, _ = await changed(store, customer_key, change_of)
    return replace(snapshot, state=change.state or snapshot.state)


def _holds(said: Said, holding: Mapping[str, Sequence[Consent]]) -> dict[str, Any]:
    """What holds of one statement's permission now: another statement may be newer."""
    stated = stated_about(holding[said.customer_key], said.statement.channel, said.statement.purpose)
    assert stated is not None  # this statement, or a newer one
    return {"customer_id": said.customer_key, **consent_answer(stated)}
