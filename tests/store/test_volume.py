"""Budgets in a store: what is granted arrives once, what is spent is never more than what is at hand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from decisioning.customer import EXHAUSTED, PARTITION_COUNT, Snapshot, State, partition_of
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import (
    Block,
    Change,
    Claim,
    Committed,
    Counter,
    Delivery,
    Grant,
    Lost,
    Movement,
    Once,
    Record,
    Store,
)
from tests.store.once import left

BUDGET = "gold_stock"
HERE = partition_of("C-1")
STATE = State(person_key="person", assignment_key="assignment", sealing_key="")


def claim(partition: int = HERE, *, received: int = 0, returned: int = 0, limit: int = 100, wanted: int = 10) -> Claim:
    return Claim(partition, BUDGET, received, returned, limit, wanted, least=1)


async def stocked(store: Store, units: int) -> None:
    await store.deliver([Delivery(HERE, BUDGET, granted=units)])


async def block(store: Store) -> Block:
    [blocks] = await store.blocks([HERE])
    return blocks[BUDGET]


async def moved(store: Store, *movements: Movement, customer: str = "C-1") -> Snapshot | None:
    """None when the movements are committed, else what the loser was told."""
    [snapshot] = await store.read([customer])
    [outcome] = await store.commit([Change(customer, snapshot.state_version, snapshot.state, movements=movements)])
    assert isinstance(outcome, (Committed, Lost))
    return outcome.snapshot if isinstance(outcome, Lost) else None


def neighbour(of: str = "C-1") -> str:
    """Another customer of the same partition."""
    return next(f"N-{each}" for each in range(10_000) if partition_of(f"N-{each}") == partition_of(of))


async def test_quotas_come_with_the_snapshot_when_they_are_asked_for(any_store: Store) -> None:
    await stocked(any_store, 7)

    [with_quotas] = await any_store.read(["C-1"], quotas=True)
    [without] = await any_store.read(["C-1"])

    assert (with_quotas.quotas, without.quotas) == ({BUDGET: 7}, {})


async def test_a_commit_spends_what_is_at_hand(any_store: Store) -> None:
    await stocked(any_store, 5)

    lost = await moved(any_store, Movement("spend", BUDGET, 2), Movement("spend", BUDGET, 3))

    assert lost is None
    assert await block(any_store) == Block(at_hand=0, received=5)
    assert (await block(any_store)).spent == 5


async def test_movements_that_need_more_than_is_at_hand_together_apply_nothing(any_store: Store) -> None:
    await stocked(any_store, 4)
    [before] = await any_store.read(["C-1"])
    movements = [Movement("spend", BUDGET, 2), Movement("reserve", BUDGET, 3, "a", 1)]
    change = Change("C-1", 0, STATE, records=[Record("r", b"{}")], once=[Once("k", "v", 60)], movements=movements)

    [outcome] = await any_store.commit([change])

    assert isinstance(outcome, Lost) and outcome.snapshot.quotas == {BUDGET: 4}
    assert outcome.snapshot.state_version == before.state_version == 0
    assert await left(any_store, "C-1", "k") is None
    assert await any_store.log(HERE, after="0-0", limit=10) == []


async def test_two_customers_of_a_partition_cannot_both_have_the_last_unit(any_store: Store) -> None:
    await stocked(any_store, 1)

    lost = [await moved(any_store, Movement("spend", BUDGET, 1), customer=each) for each in ("C-1", neighbour())]

    assert [each is None for each in lost] == [True, False]
    assert (await block(any_store)).spent == 1


async def test_a_reservation_is_kept_or_released_once(any_store: Store) -> None:
    await stocked(any_store, 10)
    until_ms = time.time_ns() // 1_000_000 + 60_000
    first, second = (Movement("reserve", BUDGET, 3, name, until_ms) for name in ("d-1 a/b/c", "d-2 a/b/c"))
    await moved(any_store, first, second)
    assert await block(any_store) == Block(at_hand=4, received=10, reserved=6)

    assert await moved(any_store, replace(first, kind="keep"), replace(second, kind="release")) is None
    assert await moved(any_store, replace(second, kind="release")) is None
    kept_again = await moved(any_store, replace(first, kind="keep"))

    assert kept_again is not None  # nothing is left to keep: whoever says so decides anew
    assert await block(any_store) == Block(at_hand=7, received=10)


async def test_a_reservation_whose_time_is_over_is_released(any_store: Store) -> None:
    await stocked(any_store, 10)
    now_ms = time.time_ns() // 1_000_000
    await moved(any_store, Movement("reserve", BUDGET, 3, "early", 1), Movement("reserve", BUDGET, 2, "late", 1 << 50))

    seen = [await block(any_store) for _ in range(2)]

    assert seen == [Block(at_hand=8, received=10, reserved=2)] * 2
    assert now_ms < 1 << 50


async def test_an_overrun_is_counted_and_takes_nothing(any_store: Store) -> None:
    await stocked(any_store, 1)

    await moved(any_store, Movement("overrun", BUDGET, 5))

    assert await block(any_store) == Block(at_hand=1, received=1, overrun=5)


async def test_a_note_can_move_units_too(any_store: Store) -> None:
    await stocked(any_store, 2)
    await moved(any_store)
    [snapshot] = await any_store.read(["C-1"])

    [outcome] = await any_store.commit(
        [Change("C-1", snapshot.state_version, None, movements=[Movement("spend", BUDGET, 2)])]
    )

    assert isinstance(outcome, Committed) and (await block(any_store)).spent == 2


async def test_claims_are_guided_by_what_is_left_and_never_exceed_the_limit(any_store: Store) -> None:
    limit = 4 * PARTITION_COUNT * 10
    [first] = await any_store.claim([claim(1, limit=limit, wanted=3)])
    [second] = await any_store.claim([claim(2, limit=limit, wanted=limit)])
    [third] = await any_store.claim([claim(3, limit=limit, wanted=3)])

    assert [first.total, second.total, third.total] == [20, limit - 20, 0]
    [counter] = await any_store.counters([BUDGET])
    assert counter.outstanding == limit and third.left == 0
    assert abs(counter.exhausted_ms - time.time() * 1000) < 5_000


async def test_a_claim_repeats_what_has_not_arrived_and_grants_nothing_new(any_store: Store) -> None:
    [first] = await any_store.claim([claim()])
    again = await any_store.claim([claim(), claim(wanted=0)])
    [new] = await any_store.claim([claim(received=first.total)])

    assert again == [first, first] == [Grant(10, 90)] * 2
    assert new == Grant(20, 80)


async def test_a_grant_arrives_once(any_store: Store) -> None:
    seen = [(await any_store.deliver([Delivery(HERE, BUDGET, granted=total)]))[0].at_hand for total in (5, 5, 9, 5)]

    assert seen == [5, 5, 9, 9]


async def test_what_is_given_back_can_be_granted_again(any_store: Store) -> None:
    [granted] = await any_store.claim([claim(limit=10)])
    await stocked(any_store, granted.total)
    [left] = await any_store.deliver([Delivery(HERE, BUDGET, give_back=4)])
    assert left == Block(at_hand=6, received=10, returned=4)

    back = [(await any_store.claim([claim(received=10, returned=4, limit=10, wanted=0)]))[0] for _ in range(2)]
    [other] = await any_store.claim([claim(HERE + 1, limit=10)])

    assert back == [Grant(10, 4)] * 2
    assert other == Grant(4, 0)
    assert await any_store.counters([BUDGET, "other"]) == [
        Counter(10, {HERE: 10, HERE + 1: 4}, {HERE: 4}),
        Counter(),
    ]


async def test_a_counter_that_forgot_a_grant_in_a_failover_learns_it_from_the_partition(any_store: Store) -> None:
    [grant] = await any_store.claim([claim(received=30, limit=40)])

    assert grant == Grant(40, 0)  # what had arrived counts, and only the rest is there to grant


async def test_an_empty_counter_is_told_and_a_new_grant_takes_that_back(any_store: Store) -> None:
    await any_store.deliver([Delivery(HERE, BUDGET, is_exhausted=True)])
    [empty] = await any_store.read(["C-1"], quotas=True)
    await stocked(any_store, 1)
    [filled] = await any_store.read(["C-1"], quotas=True)

    assert abs(empty.quotas[EXHAUSTED + BUDGET] - time.time() * 1000) < 5_000
    assert filled.quotas == {BUDGET: 1}


async def test_dropped_blocks_are_gone(any_store: Store) -> None:
    await any_store.deliver([Delivery(HERE, BUDGET, granted=5), Delivery(HERE, "other", granted=1)])
    await any_store.deliver([Delivery(HERE, BUDGET, is_exhausted=True)])

    await any_store.drop_blocks(HERE, [BUDGET])

    assert await any_store.blocks([HERE]) == [{"other": Block(1, 1)}]


async def test_the_counter_of_a_day_is_forgotten_after_it(store: Store) -> None:
    await store.claim([replace(claim(), ttl_s=1)])
    assert (await store.counters([BUDGET]))[0].outstanding == 10

    async with asyncio.timeout(10):
        while (await store.counters([BUDGET]))[0].outstanding:
            await asyncio.sleep(0.1)


async def test_the_twin_forgets_it_too() -> None:
    now_ms = 1
    twin = MemoryStore(lambda: now_ms)
    await twin.claim([replace(claim(), ttl_s=1)])

    now_ms += 1_000

    assert await twin.counters([BUDGET]) == [Counter()]
