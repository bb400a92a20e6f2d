"""Restocking: how units of a budget come from its counter to the partitions that spend them, and back.

A counter and a partition lie on different servers of a cluster, so nothing moves in one step. Each names running totals
to the other: the partition what it has received and put aside, the counter what it has granted. Every step can be
repeated, by any process; one that dies between two steps leaves units under way, and whoever comes next brings them in.
Spent units and outstanding ones are therefore never more than the limit, at any instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from decisioning.catalog.strategy import Strategy
from decisioning.customer import PARTITION_COUNT
from decisioning.store.protocol import Block, Claim, Counter, Delivery, Store
from decisioning.volume import Budget, budgets_of, day_of_budget, is_low, local_day

IDLE_MS = 60_000  # a block nobody touched for so long goes back, when others found the counter empty meanwhile
AHEAD_MS = 300_000  # before midnight the blocks of the next day are laid out
EVERYTHING = 1 << 52  # more units than any budget has
DAY_MS = 86_400_000

# A process that serves requests does not keep them waiting: no step of the work below takes more than a few
# milliseconds of its event loop.
PLACES_AT_ONCE = 32
BLOCKS_AT_ONCE = 256
COUNTERS_AT_ONCE = 2  # each has two totals of each partition

Item = TypeVar("Item")


class Place(NamedTuple):
    """One partition's block of one budget."""

    partition: int
    budget: Budget


class _Seen(NamedTuple):
    """The blocks of a budget as they were seen last, by partition, and since when each is so."""

    blocks: list[Block | None]
    since_ms: list[int]


async def restock(store: Store, places: Sequence[Place], left: Mapping[str, int] | None = None) -> dict[str, int]:
    """Bring in what is under way, and more where a block is low; returns what each counter has left.

    left: what the counters had left when last asked, by which a block is judged low or not.
    """
    found: dict[str, int] = {}
    for page in _pages(places, PLACES_AT_ONCE):
        found |= await _restock(store, page, left or {})
    return found


async def fetch(store: Store, partition: int, wanted: Sequence[tuple[Budget, int]]) -> dict[str, int]:
    """Units for somebody who waits for them, in two round trips; returns the partition's new quotas of these budgets.

    A counter that has too few for any action leaves the mark that says so, one more round trip away. A block alone says
    nothing of its counter: whoever was faster may have spent what arrived.
    """
    claims = [
        Claim(partition, budget.name, None, 0, budget.constraint.limit, units, min(units, budget.least), budget.ttl_s)
        for budget, units in wanted
    ]
    grants = await store.claim(claims)
    blocks = await store.deliver(
        [Delivery(partition, each.budget, granted=grant.total) for each, grant in zip(claims, grants, strict=True)]
    )
    empty = [
        Delivery(partition, budget.name, is_exhausted=True)
        for (budget, _), block, grant in zip(wanted, blocks, grants, strict=True)
        if max(block.at_hand, grant.left) < budget.least
    ]
    if empty:
        await store.deliver(empty)
    return {claim.budget: block.at_hand for claim, block in zip(claims, blocks, strict=True)}


async def give_back(store: Store, places: Sequence[Place]) -> None:
    """Return what these blocks have at hand to their counters."""
    for page in _pages(places, PLACES_AT_ONCE):
        fetched = [Delivery(place.partition, place.budget.name, give_back=EVERYTHING) for place in page]
        blocks = await store.deliver(fetched)
        await store.claim([_settlement(place, block) for place, block in zip(page, blocks, strict=True)])


class Upkeep:
    """What somebody has to do from time to time, whether or not anybody asks; budgets hold without it too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, _Seen] = {}  # by budget

    async def run(self, strategy: Strategy) -> None:
        """End reservations, finish transfers, lay out blocks where there were none, fetch idle ones, clear old days."""
        [clock] = await self._store.read([""])  # nobody's snapshot, for the store's time
        now_ms = clock.now_ms
        budgets = budgets_of(strategy, now_ms=now_ms, ahead_ms=AHEAD_MS)
        blocks = await self._look(len(budgets), yesterday=local_day(strategy, now_ms - DAY_MS))
        for page in _pages(budgets, COUNTERS_AT_ONCE):
            counters = await self._store.counters([budget.name for budget in page])
            for budget, counter in zip(page, counters, strict=True):
                here = [Place(partition, budget) for partition in range(PARTITION_COUNT)]
                held = [found.get(budget.name, Block()) for found in blocks]
                counter = await self._reminded(here, held, counter)
                await self._supply(here, held, counter)
                await self._fetch_idle(here, held, counter, now_ms=now_ms)
        named = {budget.name for budget in budgets}
        self._seen = {name: seen for name, seen in self._seen.items() if name in named}

    async def _look(self, budget_count: int, *, yesterday: str) -> list[dict[str, Block]]:
        """Every partition's blocks, without those of days before yesterday of which nothing is reserved any more."""
        found: list[dict[str, Block]] = []
        for page in _pages(range(PARTITION_COUNT), max(1, BLOCKS_AT_ONCE // max(1, budget_count))):
            for partition, blocks in zip(page, await self._store.blocks(page), strict=True):
                over = [name for name, block in blocks.items() if _is_over(name, block, yesterday)]
                await self._store.drop_blocks(partition, over)
                found.append(blocks)
        return found

    async def _reminded(self, places: Sequence[Place], blocks: Sequence[Block], counter: Counter) -> Counter:
        """The counter, told of grants that arrived and that it does not know of: a failover of its server forgot them.

        By all partitions before any of them is supplied. It takes what it forgot for units nobody has, and would grant
        those again to the first that asks beside telling.
        """
        forgotten = [
            _settlement(place, block)
            for place, block in zip(places, blocks, strict=True)
            if counter.granted.get(place.partition, 0) < block.received
        ]
        for page in _pages(forgotten, PLACES_AT_ONCE):
            await self._store.claim(page)
        return (await self._store.counters([places[0].budget.name]))[0] if forgotten else counter

    async def _supply(self, places: Sequence[Place], blocks: Sequence[Block], counter: Counter) -> None:
        """Finish what is under way; a first block for everybody while there is enough for all."""
        budget = places[0].budget
        left = budget.constraint.limit - counter.outstanding
        share = left // (2 * PARTITION_COUNT)
        wanting = [
            place
            for place, block in zip(places, blocks, strict=True)
            if counter.granted.get(place.partition, 0) > block.received
            or counter.returned.get(place.partition, 0) < block.returned
            or (not block.received and share >= budget.most)
        ]
        if wanting:
            await restock(self._store, wanting, {budget.name: left})

    async def _fetch_idle(
        self, places: Sequence[Place], blocks: Sequence[Block], counter: Counter, *, now_ms: int
    ) -> None:
        """Idle blocks, while others look for units; all of them, when the limit was lowered below what is out."""
        idle = [place for place, block in zip(places, blocks, strict=True) if self._is_idle(place, block, now_ms)]
        if counter.outstanding > places[0].budget.constraint.limit:
            await give_back(self._store, places)
        elif counter.exhausted_ms > now_ms - IDLE_MS:
            await give_back(self._store, idle)

    def _is_idle(self, place: Place, block: Block, now_ms: int) -> bool:
        seen = self._seen.get(place.budget.name)
        if seen is None:
            seen = self._seen[place.budget.name] = _Seen([None] * PARTITION_COUNT, [now_ms] * PARTITION_COUNT)
        if seen.blocks[place.partition] != block:
            seen.blocks[place.partition], seen.since_ms[place.partition] = block, now_ms
            return False
        return block.at_hand > 0 and now_ms - seen.since_ms[place.partition] >= IDLE_MS


async def _restock(store: Store, places: Sequence[Place], left: Mapping[str, int]) -> dict[str, int]:
    blocks = await store.deliver([Delivery(place.partition, place.budget.name) for place in places])
    claims = [_claim(*both, left) for both in zip(places, blocks, strict=True)]
    grants = await store.claim(claims)
    deliveries = []
    for claim, block, grant in zip(claims, blocks, grants, strict=True):
        if grant.total > block.received:
            deliveries.append(Delivery(claim.partition, claim.budget, granted=grant.total))
        elif claim.wanted:
            deliveries.append(Delivery(claim.partition, claim.budget, is_exhausted=True))
    if deliveries:
        await store.deliver(deliveries)
    return {claim.budget: grant.left for claim, grant in zip(claims, grants, strict=True)}


def _pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _is_over(budget: str, block: Block, yesterday: str) -> bool:
    return "" < day_of_budget(budget) < yesterday and not block.reserved


def _claim(place: Place, block: Block, left: Mapping[str, int]) -> Claim:
    """What a block asks for: nothing while it is not low, else at least what the dearest spend is short of."""
    budget, claim = place.budget, _settlement(place, block)
    if not is_low(budget, block.at_hand, left):
        return claim
    shortage = max(1, budget.most - block.at_hand)
    return replace(claim, wanted=shortage, least=min(shortage, max(1, budget.least - block.at_hand)))


def _settlement(place: Place, block: Block) -> Claim:
    """A claim that asks for nothing and tells the counter what came back."""
    budget = place.budget
    limit = budget.constraint.limit
    return Claim(place.partition, budget.name, block.received, block.returned, limit, ttl_s=budget.ttl_s)
