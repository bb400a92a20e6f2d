"""People: who is behind the person keys that records carry, for as long as they are customers.

Records name a person by a random key, and only the store knows whose it is. An erasure deletes that and the sealing
key, so that here is where every way from a record back to its customer ends. Who was erased and comes back has another
person key: nothing of before opens for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from decisioning.customer import Snapshot
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.protocol import Store

PAGE = 100  # read between two breaths: a serving process looks people up while customers wait for it


async def person_of(store: Store, decision_id: str, person_key: str) -> Snapshot | None:
    """The customer of a decision's record; None after an erasure."""
    where = whereabouts_of(decision_id)
    return None if where is None else (await living(store, [(where.partition, person_key)])).get(person_key)


async def sealing_keys(store: Store, people: Sequence[tuple[int, str]]) -> list[str | None]:
    """The sealing key of each (partition, person key), in order; None after an erasure."""
    found = await living(store, people)
    return [found[person].state.sealing_key if person in found else None for _, person in people]


async def living(store: Store, people: Sequence[tuple[int, str]]) -> dict[str, Snapshot]:
    """Those who are customers still, by person key; people are asked for as (partition, person key)."""
    pages = [people[first : first + PAGE] for first in range(0, len(people), PAGE)]
    snapshots = [snapshot for page in pages for snapshot in await _behind(store, page)]
    asked = {person for _, person in people}
    return {each.state.person_key: each for each in snapshots if each.state.person_key in asked}


async def _behind(store: Store, people: Sequence[tuple[int, str]]) -> list[Snapshot]:
    """Who is stored under the ids that once had these person keys."""
    by_partition: dict[int, list[str]] = {}
    for partition, person_key in dict.fromkeys(people):
        by_partition.setdefault(partition, []).append(person_key)
    found = await asyncio.gather(*(store.customers_of(each, keys) for each, keys in by_partition.items()))
    customers = [customer for several in found for customer in several if customer is not None]
    return await store.read(customers) if customers else []
