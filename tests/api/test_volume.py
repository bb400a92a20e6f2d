"""Budgets over HTTP: spent by answers, reserved and kept by responses, restocked beside both, explained and shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from api.cli.volume import table_of
from decisioning.catalog.strategy import Strategy
from decisioning.customer import partition_of
from decisioning.restocking import Place, restock
from decisioning.store.memory import MemoryStore
from decisioning.store.packing import parsed
from decisioning.store.protocol import Block
from decisioning.volume import budgets_of
from tests.api.desk import Desk
from tests.decisioning.bank import GOLD, NOW_MS, SILVER
from tests.decisioning.test_volume import bank_with, constraint

HERE = partition_of("C-1")
MINUTE_MS = 60_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


class VolumeDesk(Desk):
    """With one budget for gold, of so many units in the customer's partition."""

    def __init__(self, *, units: int, **changes: Any) -> None:
        self.clock = Clock()
        self.limited: Strategy = bank_with(constraint(limit=units or 1, **changes), gold={"stock": 1})
        super().__init__(MemoryStore(self.clock), self.limited)
        self.units = units

    async def open(self) -> None:
        await self.know()
        if self.units:
            [stock] = budgets_of(self.limited, now_ms=NOW_MS)
            while (await self.block()).at_hand < self.units:
                await restock(self.store, [Place(HERE, stock)], {"stock": 1 << 40})

    async def block(self) -> Block:
        [blocks] = await self.store.blocks([HERE])
        return blocks.get("stock", Block())

    async def lapse(self) -> None:
        """Let the lease end, and what it reserved be free again."""
        self.clock.now_ms += 61 * MINUTE_MS
        await self.store.blocks([HERE])

    async def records(self) -> list[dict[str, Any]]:
        """What the customer's partition has logged."""
        return [parsed(entry.record.body) for entry in await self.store.log(HERE, after="0-0", limit=99)]

    async def placed(self, **more: Any) -> dict[str, Any]:
        [placed] = (await self.ask(**more))["placements"]
        return placed  # type: ignore[no-any-return]


async def test_an_answer_spends_once_and_a_dry_run_or_a_repeat_does_not() -> None:
    desk = VolumeDesk(units=5)
    await desk.open()

    dry = await desk.placed(dry_run=True)
    spent_dry = (await desk.block()).spent
    shown = [await desk.placed(idempotency_key="k") for _ in range(3)]

    assert [each["action"] for each in (dry, *shown)] == [GOLD] * 4
    assert (spent_dry, (await desk.block()).spent) == (0, 1)


async def test_the_first_of_a_partition_waits_and_has_its_blocks_restocked_for_the_next() -> None:
    desk = VolumeDesk(units=0)
    await desk.open()

    waiting = await desk.ask(explain=True)
    async with asyncio.timeout(10):
        while not (await desk.block()).at_hand:
            await asyncio.sleep(0)
    await desk.tell(event_token=waiting["placements"][0]["event_token"], outcome="rejected")

    [gold] = [each for each in waiting["explanation"] if each["action"] == GOLD]
    assert (waiting["placements"][0]["action"], gold["reason"]) == (SILVER, "volume_wait")
    assert gold["volume"] == [
        {
            "constraint": "stock",
            "where": gold["volume"][0]["where"],
            "budget": "stock",
            "needed": 1,
            "at_hand": 0,
            "limit": 1,
        }
    ]
    assert (await desk.placed())["action"] == GOLD


async def test_accepting_keeps_what_was_reserved_and_rejecting_frees_it() -> None:
    desk = VolumeDesk(units=2, spend_on="accepted")
    await desk.open()

    first = await desk.placed()
    reserved = await desk.block()
    await desk.tell(event_token=first["event_token"], outcome="rejected")
    freed = await desk.block()
    second = await desk.placed()
    await desk.tell(event_token=second["event_token"], outcome="accepted")
    await desk.tell(event_token=second["event_token"], outcome="accepted", idempotency_key="again")

    assert (reserved.reserved, freed.reserved, freed.at_hand) == (1, 0, 2)
    assert await desk.block() == Block(at_hand=1, received=2)


@pytest.mark.parametrize("outcomes", [("accepted", "accepted"), ("accepted", "converted"), ("converted", "accepted")])
async def test_what_comes_of_an_offer_after_its_lease_spends_anew_once(outcomes: tuple[str, str]) -> None:
    desk = VolumeDesk(units=2, spend_on="accepted")
    await desk.open()
    token = (await desk.placed())["event_token"]
    await desk.lapse()

    for key, outcome in zip(("once", "again"), outcomes, strict=True):
        await desk.tell(event_token=token, outcome=outcome, idempotency_key=key)

    assert await desk.block() == Block(at_hand=1, received=2)


async def test_an_acceptance_that_no_budget_can_pay_for_is_said() -> None:
    desk = VolumeDesk(units=1, spend_on="accepted")
    await desk.open()
    token = (await desk.placed())["event_token"]
    await desk.lapse()
    neighbour = next(f"N-{each}" for each in range(10_000) if partition_of(f"N-{each}") == HERE)
    await desk.know(neighbour)
    assert (await desk.placed(customer=neighbour))["action"] == GOLD
    before = REGISTRY.get_sample_value("overruns_total") or 0

    await desk.tell(event_token=token, outcome="accepted")

    [record] = [record for record in await desk.records() if record["kind"] == "response"]
    assert record["overrun"] == {"stock": 1}
    assert await desk.block() == Block(at_hand=0, received=1, reserved=1, overrun=1)
    assert REGISTRY.get_sample_value("overruns_total") == before + 1


async def test_a_decision_is_recorded_with_the_quotas_it_read() -> None:
    desk = VolumeDesk(units=3)
    await desk.open()

    await desk.placed()

    [record] = await desk.records()
    assert record["snapshot"]["quotas"] == {"stock": 3}


async def test_the_table_of_budgets_adds_up() -> None:
    desk = VolumeDesk(units=3, spend_on="accepted")
    await desk.open()
    await desk.placed()

    head, line = await table_of(desk.store, budgets_of(desk.limited, now_ms=NOW_MS))

    assert head.split() == ["budget", "limit", "spent", "reserved", "at", "hand", "left", "overrun"]
    assert line.split() == ["stock", "3", "0", "1", "2", "0", "0"]
