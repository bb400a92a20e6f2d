"""Changes: one customer's next state, by compare-and-set, computed again on the newer state after a lost race."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from api import metrics
from decisioning.customer import Snapshot
from decisioning.errors import StoreUnavailable
from decisioning.store.protocol import Change, Lost, Outcome, Store

ATTEMPTS_MAX = 20  # each lost race means that somebody else got through


async def changed(
    store: Store,
    customer_key: str,
    change_of: Callable[[Snapshot], Change],
    *,
    stock: Callable[[Snapshot], Awaitable[dict[str, int]]] | None = None,
) -> tuple[Change, Snapshot, Outcome]:
    """Commit what change_of makes of the newest snapshot; returns the change, its snapshot and the outcome.

    stock: for a change that may take units of budgets: the quotas of the customer's partition, as far as it needs them.
    """
    (snapshot,) = await store.read([customer_key], quotas=stock is not None)
    for _ in range(ATTEMPTS_MAX):
        if stock is not None:
            snapshot.quotas = await stock(snapshot)
        change = change_of(snapshot)
        (outcome,) = await store.commit([change])
        if not isinstance(outcome, Lost):
            return change, snapshot, outcome
        metrics.RACES_LOST.inc()
        snapshot = outcome.snapshot
    raise StoreUnavailable(f"a change lost {ATTEMPTS_MAX} races in a row; send it again")
