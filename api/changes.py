"""Changes: one customer's next state, by compare-and-set, computed again on the newer state after a lost race."""

from __future__ import annotations

from collections.abc import Callable

from api import metrics
from decisioning.customer import Snapshot
from decisioning.errors import StoreUnavailable
from decisioning.store.protocol import Change, Lost, Outcome, Store

ATTEMPTS_MAX = 20  # each lost race means that somebody else got through


async def changed(
    store: Store, customer_key: str, change_of: Callable[[Snapshot], Change], *, quotas: bool = False
) -> tuple[Change, Snapshot, Outcome]:
    """Commit what change_of makes of the newest snapshot; returns the change, its snapshot and the outcome.

    quotas: the snapshot has those of the customer's partition.
    """
    (snapshot,) = await store.read([customer_key], quotas=quotas)
    for _ in range(ATTEMPTS_MAX):
        change = change_of(snapshot)
        (outcome,) = await store.commit([change])
        if not isinstance(outcome, Lost):
            return change, snapshot, outcome
        metrics.RACES_LOST.inc()
        snapshot = outcome.snapshot
    raise StoreUnavailable(f"a change lost {ATTEMPTS_MAX} races in a row; send it again")
