"""Past: what simulated customers did before, put straight into a store that runs.

`python -m decisioning.simulated.past STRATEGY DATA` takes generated/interactions.jsonl of the strategy into the store
that runs on the data directory. Only states change: nothing is recorded and nothing learnt, because a response needs a
decision that it answers, and there was none.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from decisioning.customer import Interaction
from decisioning.errors import NextbestError
from decisioning.interactions import append
from decisioning.store.embedded import connect_url
from decisioning.store.protocol import Change, Committed, Store
from decisioning.store.redis import connect

BATCH = 200  # customers read and committed in one round trip each
DEADLINE_MS = 60_000
DAY_MS = 86_400_000

Rows = Sequence[Mapping[str, Any]]


def main(strategy: Path, data: Path) -> None:
    """Put all of it into the store."""
    asyncio.run(_put(strategy / "generated/interactions.jsonl", connect_url(data / "store")))


async def _put(path: Path, url: str) -> None:
    store = connect(url, deadline_ms=DEADLINE_MS)
    try:
        with path.open() as lines:
            customers = ((key, list(rows)) for key, rows in groupby(map(json.loads, lines), itemgetter("customer_id")))
            while batch := dict(islice(customers, BATCH)):
                await remember(store, batch, now_ms=time.time_ns() // 1_000_000)
    finally:
        await store.close()


async def remember(store: Store, rows: Mapping[str, Rows], *, now_ms: int) -> None:
    """Add to what is remembered of customers. Raises NextbestError when others change them at the same time."""
    changes = []
    for snapshot in await store.read(list(rows)):
        state = snapshot.state
        for interaction in _in_order(rows[snapshot.customer_key], now_ms):
            append(state, interaction)
        changes.append(Change(snapshot.customer_key, snapshot.state_version, state))
    for change, outcome in zip(changes, await store.commit(changes), strict=True):
        if not isinstance(outcome, Committed):
            raise NextbestError(f"{change.customer_key} was changed meanwhile; nobody else may use the store")


def _in_order(rows: Rows, now_ms: int) -> Iterator[Interaction]:
    """Oldest first, as they would have come."""
    for row in sorted(rows, key=itemgetter("days_ago"), reverse=True):
        at_ms = now_ms - round(row["days_ago"] * DAY_MS)
        yield Interaction(at_ms, row["outcome"], row["action"], row["channel"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
