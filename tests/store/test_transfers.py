"""Transfers: units of a budget are neither lost nor doubled, wherever between two steps a process dies."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from decisioning import restocking
from decisioning.catalog.strategy import Share, Strategy, VolumeConstraint
from decisioning.customer import EXHAUSTED, PARTITION_COUNT, Snapshot, partition_of
from decisioning.restocking import IDLE_MS, Place, Upkeep, fetch, give_back
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Block, Change, Claim, Committed, Delivery, Grant, Movement, Store
from decisioning.store.redis import connect
from decisioning.volume import Budget, budgets_of
from tests.conftest import PATIENCE_MS
from tests.decisioning.test_volume import bank_with, constraint

NAME = "stock"
HERE, THERE = partition_of("C-1"), partition_of("C-2")
STEPS = ("deliver", "claim")


def budget(limit: int, *, most: int = 1, least: int = 1) -> Budget:
    shares = (Share("", 1, ((most, 1),)),)
    stock = VolumeConstraint(NAME, limit, "number", "all", "total", "selected", None, 1, shares, "")
    return Budget(NAME, stock, most, least)


async def restock(store: Store, places: Sequence[Place]) -> dict[str, int]:
    """As if the counter had one spend for every block: with less, only those who want a unit fetch it."""
    left = {place.budget.name: 2 * PARTITION_COUNT * place.budget.most for place in places}
    return await restocking.restock(store, places, left)


def replace_most(place: Place, most: int) -> Place:
    """A place that wants nothing more: restocking it only finishes what is under way."""
    return Place(place.partition, replace(place.budget, most=most))


class Died(Exception):
    """The process is gone."""


class Mortal:
    """A store whose caller dies before, or right after, its n-th step."""

    def __init__(self, store: Store, steps: int, *, after: bool) -> None:
        self._store = store
        self._left = steps
        self._after = after

    def __getattr__(self, verb: str) -> Any:
        if verb not in STEPS:
            return getattr(self._store, verb)

        async def step(items: Sequence[Any]) -> Any:
            if not self._left and not self._after:
                raise Died
            done = await getattr(self._store, verb)(items)
            if not self._left:
                raise Died
            self._left -= 1
            return done

        return step


class Counting:
    """A store that remembers how much each call asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sizes: dict[str, list[int]] = {}

    def __getattr__(self, verb: str) -> Any:
        async def step(*items: Any) -> Any:
            self.sizes.setdefault(verb, []).append(len(items[-1]) if verb != "drop_blocks" else 0)
            return await getattr(self._store, verb)(*items)

        return step


class Between:
    """A store whose callers are overtaken between their claim and their delivery."""

    def __init__(self, store: Store, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    async def claim(self, claims: Sequence[Claim]) -> list[Grant]:
        granted = await self._store.claim(claims)
        await self._meanwhile()
        return granted


async def block(store: Store, partition: int = HERE) -> Block:
    [found] = await store.blocks([partition])
    return found.get(NAME, Block())


async def spend(store: Store, customer: str, units: int = 1) -> bool:
    [snapshot] = await store.read([customer])
    change = Change(customer, snapshot.state_version, snapshot.state, movements=[Movement("spend", NAME, units)])
    return isinstance((await store.commit([change]))[0], Committed)


async def totals(store: Store) -> tuple[int, int]:
    """Units in all blocks or spent, and what the counter says is out."""
    blocks = [found.get(NAME, Block()) for found in await store.blocks(range(PARTITION_COUNT))]
    [counter] = await store.counters([NAME])
    return sum(each.received - each.returned for each in blocks), counter.outstanding


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_whoever_restocks_next_finishes_what_a_dead_process_began(
    any_store: Store, steps: int, after: bool
) -> None:
    place = Place(HERE, budget(10, most=4))
    with suppress(Died):
        await restock(Mortal(any_store, steps, after=after), [place])  # type: ignore[arg-type]  # has the verbs it needs

    await restock(any_store, [place])

    assert await block(any_store) == Block(at_hand=4, received=4)
    assert await totals(any_store) == (4, 4)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", [0, 1])
async def test_what_a_dead_process_was_giving_back_can_be_had_by_others(
    any_store: Store, steps: int, after: bool
) -> None:
    here, there = Place(HERE, budget(4, most=4)), Place(THERE, budget(4, most=4))
    await restock(any_store, [here])
    with suppress(Died):
        await give_back(Mortal(any_store, steps, after=after), [here])  # type: ignore[arg-type]  # has the verbs it needs
    put_aside = (await block(any_store)).returned

    await restock(any_store, [replace_most(here, 0)])  # as the upkeep does
    await restock(any_store, [there])

    inside, outstanding = await totals(any_store)
    assert inside == outstanding == 4
    assert (await block(any_store, THERE)).at_hand + (await block(any_store)).at_hand == 4
    assert put_aside in (0, 4)


async def test_many_processes_restocking_at_once_take_one_block(any_store: Store) -> None:
    await asyncio.gather(*(restock(any_store, [Place(HERE, budget(100, most=3))]) for _ in range(20)))

    assert await block(any_store) == Block(at_hand=3, received=3)
    assert await totals(any_store) == (3, 3)


async def test_a_partition_whose_counter_is_empty_knows_it(any_store: Store) -> None:
    places = [Place(HERE, budget(1)), Place(THERE, budget(1))]

    left = await restock(any_store, places)

    [first, second] = await any_store.read(["C-1", "C-2"], quotas=True)
    assert (first.quotas, left) == ({NAME: 1}, {NAME: 0})
    assert list(second.quotas) == [EXHAUSTED + NAME]


async def test_a_counter_that_has_units_is_not_marked_empty_because_others_were_faster(any_store: Store) -> None:
    wanted = [(budget(10), 1)]

    async def others() -> None:
        await fetch(any_store, HERE, wanted)  # brings in both units
        assert await spend(any_store, "C-1", 2)

    found = await fetch(Between(any_store, others), HERE, wanted)  # type: ignore[arg-type]  # has the verbs it needs

    [snapshot] = await any_store.read(["C-1"], quotas=True)
    assert found == {NAME: 0}
    assert EXHAUSTED + NAME not in snapshot.quotas


async def test_whoever_fetches_from_an_empty_counter_marks_it(any_store: Store) -> None:
    wanted = [(budget(1), 1)]
    await fetch(any_store, THERE, wanted)

    await fetch(any_store, HERE, wanted)

    [snapshot] = await any_store.read(["C-1"], quotas=True)
    assert EXHAUSTED + NAME in snapshot.quotas


async def test_a_raised_limit_is_had_at_the_next_claim_and_a_lowered_one_stops_grants(any_store: Store) -> None:
    await restock(any_store, [Place(HERE, budget(2, most=2))])
    await restock(any_store, [Place(THERE, budget(1, most=2))])
    assert await totals(any_store) == (2, 2)

    await restock(any_store, [Place(THERE, budget(4, most=2))])

    assert await totals(any_store) == (4, 4)


def strategy(limit: int) -> Strategy:
    return bank_with(constraint(NAME, limit=limit), gold={NAME: 1})


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now_ms


async def test_upkeep_lays_out_blocks_everywhere_while_there_is_enough_for_all() -> None:
    plenty, little = MemoryStore(), MemoryStore()

    await Upkeep(plenty).run(strategy(10_000))
    await Upkeep(little).run(strategy(300))

    snapshots: list[Snapshot] = await plenty.read([f"C-{each}" for each in range(500)], quotas=True)
    assert all(each.quotas[NAME] > 0 for each in snapshots)
    assert await totals(little) == (0, 0)


async def test_a_counter_that_nobody_asked_yet_is_taken_to_have_its_limit() -> None:
    store = MemoryStore()

    await restocking.restock(store, [Place(HERE, budget(10_000))])

    assert (await block(store)).at_hand == 10_000 // (2 * PARTITION_COUNT)


async def test_a_changed_unit_begins_another_budget() -> None:
    store = MemoryStore()
    money = bank_with(constraint(NAME, unit="money"), gold={NAME: 20})
    pieces = bank_with(constraint(NAME, unit="number"), gold={NAME: 1})
    [stock] = budgets_of(money, now_ms=0)
    await restock(store, [Place(HERE, stock)])

    await Upkeep(store).run(pieces)

    [snapshot] = await store.read(["C-1"], quotas=True)
    assert snapshot.quotas == {stock.name: 20_000}
    assert stock.name not in {each.name for each in budgets_of(pieces, now_ms=0)}


async def test_upkeep_keeps_to_small_pages() -> None:
    counting = Counting(MemoryStore())
    names = [f"b{number}" for number in range(20)]
    many = bank_with("".join(constraint(name, limit=10_000) for name in names), gold=dict.fromkeys(names, 1))

    await Upkeep(counting).run(many)  # type: ignore[arg-type]  # has the verbs it needs

    assert max(counting.sizes["blocks"]) * len(names) <= restocking.BLOCKS_AT_ONCE
    assert max(counting.sizes["counters"]) == restocking.COUNTERS_AT_ONCE
    assert max(counting.sizes["deliver"]) == max(counting.sizes["claim"]) == restocking.PLACES_AT_ONCE
    assert sum(counting.sizes["blocks"]) == PARTITION_COUNT and sum(counting.sizes["counters"]) == len(names)


async def test_upkeep_fetches_idle_blocks_when_others_found_the_counter_empty() -> None:
    clock = Clock()
    store, few = MemoryStore(clock), strategy(5)
    upkeep = Upkeep(store)
    [stock] = budgets_of(few, now_ms=clock.now_ms)
    await restock(store, [Place(HERE, replace(stock, most=5))])
    await upkeep.run(few)
    clock.now_ms += IDLE_MS
    await upkeep.run(few)
    assert (await block(store)).at_hand == 5  # nobody asked for it

    await restock(store, [Place(THERE, stock)])
    await upkeep.run(few)
    await restock(store, [Place(THERE, stock)])

    assert (await block(store)).at_hand == 0
    assert (await block(store, THERE)).at_hand == 1


async def test_upkeep_fetches_everything_when_the_limit_was_lowered_below_what_is_out() -> None:
    store = MemoryStore()
    await restock(store, [Place(HERE, budget(9, most=9))])
    await spend(store, "C-1", 2)

    await Upkeep(store).run(strategy(1))

    assert await totals(store) == (2, 2)


async def test_upkeep_tells_a_counter_what_it_forgot_before_anybody_is_granted_more(any_store: Store) -> None:
    arrived = [Delivery(partition, NAME, granted=5_000) for partition in (HERE, THERE)]
    await any_store.deliver(arrived)  # as after a failover: the partitions have it, their counter knows of nothing
    assert await spend(any_store, "C-1", 5_000) and await spend(any_store, "C-2", 5_000)

    await Upkeep(any_store).run(strategy(10_000))
    await fetch(any_store, HERE, [(budget(10_000), 1)])

    assert await totals(any_store) == (10_000, 10_000)


async def test_what_was_granted_beyond_the_limit_while_a_counter_had_forgotten_goes_back(any_store: Store) -> None:
    await any_store.deliver([Delivery(HERE, NAME, granted=10)])
    await fetch(any_store, THERE, [(budget(10), 4)])
    assert await spend(any_store, "C-1", 7) and await spend(any_store, "C-2", 1)

    await Upkeep(any_store).run(strategy(10))

    assert await totals(any_store) == (8, 8)


async def test_upkeep_clears_old_days_and_releases_ended_reservations() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    daily = bank_with(constraint(NAME, period="day"), gold={NAME: 1})
    [today] = budgets_of(daily, now_ms=clock.now_ms)
    await restock(store, [Place(HERE, today)])
    reserve = Movement("reserve", today.name, 1, "d a/b/c", clock.now_ms + 1)
    [snapshot] = await store.read(["C-1"])
    await store.commit([Change("C-1", 0, snapshot.state, movements=[reserve])])

    clock.now_ms += 86_400_000
    await Upkeep(store).run(daily)
    [still] = await store.blocks([HERE])
    clock.now_ms += 86_400_000
    await Upkeep(store).run(daily)
    [later] = await store.blocks([HERE])

    assert still[today.name] == Block(at_hand=1, received=1)
    assert today.name not in later


class Transfers(RuleBasedStateMachine):
    """Takes, spends, returns and deaths in any order: what is spent and what is out never exceed the limit."""

    url = ""

    @initialize(limit=st.integers(0, 40), most=st.integers(1, 5))
    def begin(self, limit: int, most: int) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()
        self.limit, self.place = limit, [Place(each, budget(limit, most=most)) for each in (HERE, THERE)]
        self.runner = asyncio.Runner()
        self.store = connect(self.url, deadline_ms=PATIENCE_MS)
        self.spent = 0

    @rule(at=st.integers(0, 1), steps=st.integers(0, 3), after=st.booleans(), back=st.booleans())
    def move(self, at: int, steps: int, after: bool, back: bool) -> None:
        mortal: Any = Mortal(self.store, steps, after=after)
        with suppress(Died):
            self.runner.run((give_back if back else restock)(mortal, [self.place[at]]))

    @rule(customer=st.sampled_from(["C-1", "C-2"]), units=st.integers(1, 5))
    def use(self, customer: str, units: int) -> None:
        at_hand = self.runner.run(block(self.store, partition_of(customer))).at_hand
        committed = self.runner.run(spend(self.store, customer, units))

        assert committed == (units <= at_hand)
        self.spent += units * committed

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        inside, outstanding = self.runner.run(totals(self.store))

        assert self.spent <= inside <= outstanding <= self.limit

    def teardown(self) -> None:
        """Finished transfers leave no unit under way, and all that is left can be had."""
        if not hasattr(self, "store"):
            return
        self.runner.run(restock(self.store, [replace_most(each, 0) for each in self.place]))
        inside, outstanding = self.runner.run(totals(self.store))
        self.runner.run(self.store.close())
        self.runner.close()
        assert inside == outstanding


def test_the_garbage_collector_walks_no_blocks() -> None:
    """Hundreds of budgets have tens of thousands, and every request would wait for it."""
    assert not gc.is_tracked(Block(1, 2))


@pytest.fixture
def machine(store_url: str) -> Iterator[type[Transfers]]:
    Transfers.url = store_url
    yield Transfers


def test_no_unit_is_lost_or_doubled_in_any_order(machine: type[Transfers]) -> None:
    profile = settings(
        max_examples=20, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=profile)
