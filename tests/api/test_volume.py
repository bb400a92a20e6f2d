"""Budgets over HTTP: spent by answers, reserved and kept by responses, restocked beside both, explained and shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import REGISTRY

import api.decide
from api.cli.volume import table_of
from decisioning.catalog.strategy import Strategy
from decisioning.customer import PARTITION_COUNT, partition_of
from decisioning.decide import decide
from decisioning.errors import StoreUnavailable
from decisioning.request import Decision, Request
from decisioning.restocking import Place, restock
from decisioning.store.memory import MemoryStore
from decisioning.store.packing import parsed
from decisioning.store.protocol import Block, Claim, Grant
from decisioning.volume import RETRY_MS, budgets_of
from tests.api.desk import Desk
from tests.decisioning.bank import GOLD, NOW_MS, SILVER, TIPS
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
        return placed  # type: ignore[no-any-return]  # JSON is of any type


async def test_an_answer_spends_once_and_a_dry_run_or_a_repeat_does_not() -> None:
    desk = VolumeDesk(units=5)
    await desk.open()

    dry = await desk.placed(dry_run=True)
    spent_dry = (await desk.block()).spent
    shown = [await desk.placed(idempotency_key="k") for _ in range(3)]

    assert [each["action"] for each in (dry, *shown)] == [GOLD] * 4
    assert (spent_dry, (await desk.block()).spent) == (0, 1)


async def test_a_small_budget_is_fetched_unit_by_unit_and_spent_to_the_last_one() -> None:
    desk = VolumeDesk(units=0)
    desk.limited = bank_with(constraint(limit=3), gold={"stock": 1})
    Desk.__init__(desk, desk.store, desk.limited)
    shown = []
    for number in range(5):  # of as many partitions
        await desk.know(f"C-{number}")
        shown.append(await desk.ask(customer=f"C-{number}", explain=True))
    blocks = await desk.store.blocks(range(PARTITION_COUNT))

    assert len({partition_of(f"C-{number}") for number in range(5)}) == 5
    assert [each["placements"][0]["action"] for each in shown] == [GOLD] * 3 + [SILVER] * 2
    assert [each.spent for here in blocks for each in here.values() if each.spent] == [1, 1, 1]
    [gold] = [each for each in shown[4]["explanation"] if each["action"] == GOLD]
    assert (gold["reason"], gold["volume"][0]["needed"], gold["volume"][0]["at_hand"]) == ("volume_wait", 1, 0)
    found_empty = await desk.ask(customer="C-4", explain=True)
    [gold] = [each for each in found_empty["explanation"] if each["action"] == GOLD]
    assert gold["reason"] == "volume_constraint"


async def test_what_is_used_up_does_not_make_every_decision_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = VolumeDesk(units=0)
    desk.limited = bank_with(constraint(limit=1), gold={"stock": 1})
    Desk.__init__(desk, desk.store, desk.limited)
    decided: list[str] = []

    def counted(request: Request, *given: Any, **named: Any) -> Decision:
        decided.append(request.customer_key)
        return decide(request, *given, **named)

    monkeypatch.setattr(api.decide, "decide", counted)
    customers = [f"C-{number}" for number in range(2000) if partition_of(f"C-{number}") == HERE]
    for customer in customers[:5]:
        await desk.know(customer)

    shown = [(await desk.ask(customer=customer))["placements"][0]["action"] for customer in customers[:4]]
    desk.clock.now_ms += RETRY_MS
    later = await desk.ask(customer=customers[4])

    assert (shown, later["placements"][0]["action"]) == ([GOLD, SILVER, SILVER, SILVER], SILVER)
    assert [decided.count(customer) for customer in customers[:5]] == [3, 3, 1, 1, 3]


@pytest.mark.parametrize("limit", [100, 5_000])
async def test_a_promise_fetches_what_a_further_channel_takes_though_the_placement_holds_a_message(limit: int) -> None:
    limited = bank_with(constraint("mails", limit=limit, channel="email"), gold={"mails": 1})
    desk = Desk(MemoryStore(), limited)
    mailed = await desk.ask("email.hero")  # before anything is known of the customer
    await desk.know()
    promised = await desk.ask("web.hero")

    again = await desk.ask("email.hero")

    assert [each["placements"][0]["action"] for each in (mailed, promised)] == [TIPS, GOLD]
    [shown] = again["placements"]
    assert (shown["action"], shown["reasons"]) == (GOLD, ["lease"])
    blocks = await desk.store.blocks([HERE])
    assert blocks[0]["mails"].spent == 1


class DeafCounters(MemoryStore):
    """The servers of the counters are away."""

    async def claim(self, claims: Sequence[Claim]) -> list[Grant]:
        raise StoreUnavailable("away")


async def test_while_a_counter_is_away_what_it_limits_waits_and_nothing_else_does() -> None:
    limited = bank_with(constraint(limit=3), gold={"stock": 1})
    desk = Desk(DeafCounters(), limited)
    await desk.know()

    answer = await desk.ask(explain=True)

    [gold] = [each for each in answer["explanation"] if each["action"] == GOLD]
    assert (answer["degraded"], answer["placements"][0]["action"]) == (False, SILVER)
    assert gold["reason"] == "volume_wait"
    assert gold["volume"] == [
        {
            "constraint": "stock",
            "where": gold["volume"][0]["where"],
            "budget": "stock",
            "needed": 1,
            "at_hand": 0,
            "limit": 3,
        }
    ]


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


async def test_money_is_shown_as_it_is_written_whatever_its_currency_divides_into() -> None:
    pots = constraint("dinars", limit=12_345.125, unit="money") + constraint("yen", limit=900_000_000, unit="money")
    budgets = budgets_of(bank_with(pots, gold={"dinars": 0.005, "yen": 1}), now_ms=NOW_MS)

    _, dinars, yen = await table_of(MemoryStore(), budgets)

    assert dinars.split() == ["dinars:money", "12345.125", "0", "0", "0", "12345.125", "0"]
    assert yen.split() == ["yen:money", "900000000", "0", "0", "0", "900000000", "0"]
