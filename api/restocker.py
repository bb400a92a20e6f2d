"""Restocker: a serving process keeps the partitions it serves supplied with budget units, beside its requests.

A decision that leaves a block low, or finds too little in it, starts a transfer and does not wait for it. Once every
few seconds one process of all does the upkeep, whichever holds the lease on that job.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping

from api import metrics
from api.live import Live
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Snapshot, partition_of
from decisioning.errors import StoreDamaged, StoreUnavailable
from decisioning.request import Decision, Request
from decisioning.restocking import Place, Upkeep, fetch, restock
from decisioning.store.protocol import Store
from decisioning.volume import Budget, Occasion, budgets_of, sought

LOG = logging.getLogger("nextbest")
FETCH_S = 0.05  # a decision waits no longer for units: the counter may lie on a server that is away
LOOK_S = 1.0  # until a new strategy's blocks are laid out
UPKEEP_S = 5.0
UPKEEP_SHARE_MAX = 0.05  # of a process's time; with hundreds of budgets it comes less often
LEASE_MS = 15_000  # after its owner died, the upkeep goes on elsewhere


class Restocker:
    """Of one serving process."""

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live
        self._owner = secrets.token_hex(8)
        self._left: dict[str, int] = {}  # what each counter had left when it was asked last
        self._wanted: dict[tuple[int, str], Budget] = {}  # blocks that are being restocked
        self._tasks: set[asyncio.Task[None]] = set()  # keeps them from being collected

    def notice(self, request: Request, snapshot: Snapshot, decision: Decision, strategy: Strategy) -> None:
        """See whether a decision took or missed units of blocks that are low now, and have those restocked."""
        if not strategy.volume_constraints:
            return
        interest = 0
        for drops in decision.stages:
            interest |= drops.get("volume_wait", 0) | drops.get("volume_constraint", 0)
        if not (interest or decision.movements):  # as of most answers: what only repeats takes nothing
            return
        for placed in decision.placements:
            interest |= 0 if placed.action is None else 1 << strategy.action_index[placed.action]
        occasion = Occasion(request.channel, snapshot.now_ms)
        partition = partition_of(snapshot.customer_key)
        low = sought(interest, strategy, snapshot.quotas, occasion, decision.movements, self._left)
        fresh = [budget for budget in low if (partition, budget.name) not in self._wanted]
        if fresh:
            self._wanted |= {(partition, budget.name): budget for budget in fresh}
            task = asyncio.get_running_loop().create_task(self._restock(partition, fresh))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def fetch(self, snapshot: Snapshot, strategy: Strategy, wanted: Mapping[str, int]) -> dict[str, int]:
        """Units for a decision that waits for them: the new quotas, none when the counter is late or away."""
        named = {each.name: each for each in budgets_of(strategy, now_ms=snapshot.now_ms)}
        asked = [(named[name], units) for name, units in wanted.items()]
        try:
            async with asyncio.timeout(FETCH_S):
                fetched = await fetch(self._store, partition_of(snapshot.customer_key), asked)
        except (StoreUnavailable, TimeoutError):
            metrics.RESTOCKS.labels("failed").inc()
            return {}
        metrics.RESTOCKS.labels("done").inc()
        return fetched

    async def keep(self) -> None:
        """Do the upkeep when it is this process's turn, until cancelled."""
        upkeep, version, due_s = Upkeep(self._store), "", 0.0
        while True:
            strategy = None if self._live.current is None else self._live.current.strategy
            started_s = time.monotonic()
            if strategy is not None and (started_s >= due_s or strategy.version != version):
                await self._in_turn(upkeep, strategy)
                version, took_s = strategy.version, time.monotonic() - started_s
                due_s = started_s + max(UPKEEP_S, took_s / UPKEEP_SHARE_MAX)
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Give up what is under way; whoever comes next finishes it."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _in_turn(self, upkeep: Upkeep, strategy: Strategy) -> None:
        if not strategy.volume_constraints:
            return
        try:
            if await self._store.own("volume", self._owner, ttl_ms=LEASE_MS):
                await upkeep.run(strategy)
        except (StoreUnavailable, StoreDamaged) as error:
            LOG.warning("upkeep of budgets put off: %s", error)

    async def _restock(self, partition: int, budgets: list[Budget]) -> None:
        try:
            left = await restock(self._store, [Place(partition, budget) for budget in budgets], self._left)
            self._left |= left
            metrics.RESTOCKS.labels("done").inc()
        except StoreUnavailable as error:
            metrics.RESTOCKS.labels("failed").inc()
            LOG.warning("a block was not restocked: %s", error)
        finally:
            for budget in budgets:
                del self._wanted[partition, budget.name]
