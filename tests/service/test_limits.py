"""Limits under fire: clients that ask, reject and die at any step select nobody too often and overspend nothing."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Snapshot, partition_of
from decisioning.decide import decide
from decisioning.records import Versions, decision_record
from decisioning.request import Decision, Request
from decisioning.respond import Response, movements_of, respond
from decisioning.restocking import Upkeep, fetch
from decisioning.scoring import StatedScorer
from decisioning.store.protocol import Change, Committed, Record, Store
from decisioning.store.redis import connect
from decisioning.volume import budgets_of
from tests.conftest import PATIENCE_MS
from tests.proofs.limits import PLACEMENTS, SELECTED_MAX, judged, strategy_files

BUDGET, CLIENT_COUNT, CUSTOMER_COUNT, DECISION_COUNT = 60, 16, 40, 25
GOLD = "grow/cards/gold"


@pytest.fixture
def limited() -> Strategy:
    return load_bundle(strategy_files(BUDGET))


class Client:
    """Asks for random customers, rejects what is offered, fetches units that are missing."""

    def __init__(self, url: str, strategy: Strategy, seed: int) -> None:
        self.store: Store = connect(url, deadline_ms=PATIENCE_MS)
        self.strategy, self.choice, self.seed = strategy, random.Random(seed), seed

    async def work(self) -> None:
        for turn in range(DECISION_COUNT):
            channel = self.choice.choice(list(PLACEMENTS))
            request = Request(f"P-{self.choice.randrange(CUSTOMER_COUNT)}", channel, (PLACEMENTS[channel],))
            await self.ask(request, f"{self.seed:03d}-{turn:x}-{self.choice.getrandbits(64):016x}")
        await self.store.close()

    async def ask(self, request: Request, decision_id: str) -> None:
        [snapshot] = await self.store.read([request.customer_key], quotas=True)
        decision = self.decide(request, snapshot, decision_id)
        if any("volume_wait" in drops or "volume_constraint" in drops for drops in decision.stages):
            [stock] = budgets_of(self.strategy, now_ms=0)
            snapshot.quotas = await fetch(self.store, partition_of(request.customer_key), [(stock, 1)])
            decision = self.decide(request, snapshot, decision_id)
        record = decision_record(decision, request, snapshot, self.strategy, Versions("s", "m"), key_id="test")
        change = Change(
            snapshot.customer_key,
            snapshot.state_version,
            decision.state,
            records=[Record(decision_id, record)],
            movements=decision.movements,
        )
        [outcome] = await self.store.commit([change])
        if isinstance(outcome, Committed) and decision.placements[0].action == GOLD:
            await self.reject(request.customer_key, decision_id)

    def decide(self, request: Request, snapshot: Snapshot, decision_id: str) -> Decision:
        scorer = StatedScorer(self.strategy, {GOLD: 0.5})
        return decide(request, snapshot, self.strategy, scorer, decision_id=decision_id)

    async def reject(self, customer_key: str, decision_id: str) -> None:
        [snapshot] = await self.store.read([customer_key])
        said = Response("r", customer_key, "rejected", GOLD, frozenset({GOLD}), snapshot.now_ms, "web", decision_id)
        after = respond(said, snapshot.state)
        movements = movements_of(said, snapshot, after, self.strategy)
        await self.store.commit([Change(customer_key, snapshot.state_version, after, movements=movements)])


async def killed(url: str, strategy: Strategy, seed: int) -> None:
    """A client that dies somewhere within its work, and another in its place."""
    first = asyncio.create_task(Client(url, strategy, seed).work())
    await asyncio.sleep(random.Random(seed).uniform(0.02, 0.3))
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await Client(url, strategy, seed + CLIENT_COUNT).work()


async def test_nobody_is_selected_too_often_and_no_budget_is_overspent(store_url: str, limited: Strategy) -> None:
    store = connect(store_url, deadline_ms=PATIENCE_MS)

    await asyncio.gather(*(killed(store_url, limited, seed) for seed in range(CLIENT_COUNT)))
    await Upkeep(store).run(limited)

    verdict = await judged(store)
    assert verdict.failures(BUDGET) == []
    assert verdict.most_of_one <= SELECTED_MAX
    assert verdict.logged > BUDGET * 0.6  # it was worth asking
    assert sum(block.received - block.returned for block in verdict.blocks) == verdict.outstanding
    await store.close()
