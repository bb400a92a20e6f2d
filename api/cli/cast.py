"""Cast: whom the demo's switcher offers.

An answer in one channel is seen in the others where all of them show the same offer, so those customers come first for
whom they do, and of these the ones who read the strategy's first language.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import orjson

from api.deployed import Deployed
from decisioning.customer import Snapshot
from decisioning.decide import decide
from decisioning.moment import moment_of
from decisioning.request import OFFER, Request
from decisioning.store.protocol import Store
from decisioning.volume import hoped

CAST_MAX, CANDIDATES_MAX, ROWS_MAX = 6, 300, 5_000
CONSENTS_MIN = 3  # a customer who was asked about every channel shows most


def consenting(customers: Path | None) -> list[str]:
    """The first customers of a table of JSON lines who permit everything that is asked; none of another kind."""
    if customers is None or customers.suffix != ".jsonl":
        return []
    found: list[str] = []
    with customers.open("rb") as lines:
        for line in islice(lines, ROWS_MAX):
            row = orjson.loads(line)
            stated = [value for name, value in row.items() if name.startswith("consent.")]
            if len(stated) >= CONSENTS_MIN and all(stated) and isinstance(row.get("customer_id"), str):
                found.append(row["customer_id"])
    return found[:CANDIDATES_MAX]


async def cast(candidates: list[str], store: Store, deployed: Deployed) -> list[str]:
    """The candidates to begin with, best first; nothing is written."""
    snapshots = await store.read(candidates) if candidates else []
    return [each.customer_key for each in sorted(snapshots, key=lambda each: _rank(each, deployed))][:CAST_MAX]


def _rank(snapshot: Snapshot, deployed: Deployed) -> tuple[bool, int]:
    strategy = deployed.strategy
    asked: dict[str, list[str]] = {}
    for placement in strategy.placements.values():
        asked.setdefault(placement.channel, []).append(placement.name)
    requests = [Request(snapshot.customer_key, channel, tuple(names)) for channel, names in asked.items()]
    is_telling = all(_meets_one_offer(snapshot, order, deployed) for order in (requests, requests[::-1]))
    moment = moment_of(requests[0], snapshot, strategy, strategy.reads)
    return not is_telling, strategy.languages.index(strategy.language_of(moment.attributes))


def _meets_one_offer(snapshot: Snapshot, requests: list[Request], deployed: Deployed) -> bool:
    """True when one offer would stand in every channel, were they to ask in this order, and budgets had units."""
    strategy, scorer, shown = deployed.strategy, deployed.scorer, []
    quotas = hoped(strategy, {}, now_ms=snapshot.now_ms)
    for request in requests:
        decision = decide(request, replace(snapshot, quotas=quotas), strategy, scorer, decision_id="cast")
        shown.append({each.action for each in decision.placements if each.outcome == OFFER})
        snapshot = replace(snapshot, state=decision.state)
    return bool(set.intersection(*shown))
