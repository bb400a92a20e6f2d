"""Limits: nobody is selected a fourth time and no budget is overspent, by processes that are killed while they decide.

    python -m tests.proofs.limits [BUDGET] [CLIENTS] [PROCESSES]

Customers of all partitions are asked for by many clients at once, two for the same customer; whoever is offered
something rejects it, so that more is always wanted. Two serving processes are killed with -9, when a third and two
thirds of the budget are spent, and started again. What was selected is counted from the log, and from the counters.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.customer import EXHAUSTED, PARTITION_COUNT
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.packing import parsed
from decisioning.store.protocol import Block, Store
from decisioning.store.redis import connect
from tests.decisioning.bank import FILES
from tests.service.conftest import KEY, Installation, trained

BUDGET = "vouchers"
SELECTED_MAX = 3  # of each customer
PLACEMENTS = {"web": "web.hero", "email": "email.hero"}
SPENT_SHARE_MIN, SPENT_WITHIN_S = 0.99, 60.0
AFTERWARDS_S = 3.0  # demand goes on after the last unit
LOOK_S = 0.25
LOG_PAGE = 1_000

FROM_BANK = ("strategy.yaml", "channels.yaml", "schema.yaml", "placements.yaml", "consents.yaml", "content/blocks.yaml")
OFFER = """
issue: grow
group: cards
actions:
  gold:
    kind: offer
    action_value: 100.0
    purpose: marketing
    contact_policies: [thrice]
    volume_constraints: {vouchers: 1}
    treatments:
      web: {placements: [web.hero], content: {headline: "Gold"}}
      email: {placements: [email.hero], content: {headline: "Gold"}}
"""


def strategy_files(budget: int) -> dict[str, bytes]:
    """One offer in two channels for everybody, under a limit of selections and a budget."""
    limit = f"{{scope: customer, outcomes: [selected], limit: {SELECTED_MAX}, window_days: 30, hold_days: 30}}"
    spends = f"{{limit: {budget}, unit: number, scope: all, period: total, spend_on: selected}}"
    own = {
        "actions/cards.yaml": OFFER,
        "contact_policies.yaml": f"thrice: {limit}\n",
        "volume_constraints.yaml": f"{BUDGET}: {spends}\n",
    }
    return {path: text.encode() for path, text in {**{path: FILES[path] for path in FROM_BANK}, **own}.items()}


@dataclass(slots=True)
class Demand:
    """Many clients that ask for customers in turn until told to stop."""

    bases: list[str]  # of the serving processes, dead or alive
    customer_count: int
    turns: Iterator[int] = field(default_factory=count)
    is_over: bool = False
    asked: int = 0
    unanswered: int = 0
    degraded: int = 0

    async def client(self, http: httpx.AsyncClient, seed: int) -> None:
        """Ask, reject what is offered, ask again. Two clients in turn take the same customer, in two channels."""
        choice = random.Random(seed)
        while not self.is_over:
            turn = next(self.turns)
            customer, channel = f"P-{turn // 2 % self.customer_count}", ("web", "email")[turn % 2]
            question = {"customer": {"id": customer}, "channel": channel, "placements": [PLACEMENTS[channel]]}
            answer = await self._sent(http, choice, "/v1/decisions", question)
            if answer is None:
                continue
            self.asked += 1
            self.degraded += answer["degraded"]
            if (token := answer["placements"][0]["event_token"]) is not None:
                await self._sent(http, choice, "/v1/responses", {"event_token": token, "outcome": "rejected"})

    async def _sent(
        self, http: httpx.AsyncClient, choice: random.Random, path: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The answer of one process; None when it is down, or died before it answered."""
        try:
            reply = await http.post(choice.choice(self.bases) + path, json=body)
        except httpx.TransportError:
            self.unanswered += 1
            await asyncio.sleep(0.02)
            return None
        assert reply.status_code in (200, 409, 410, 503), reply.text
        return reply.json() if reply.status_code == 200 else None


@dataclass(slots=True)
class Course:
    """When how much of the budget was spent."""

    spent: list[tuple[float, int]] = field(default_factory=list)  # seconds, units
    restarted_s: float = 0.0  # the last restart

    def when(self, units: int) -> float | None:
        """Seconds until so many were spent."""
        return next((at_s for at_s, spent in self.spent if spent >= units), None)


async def watched(
    store: Store, installation: Installation, demand: Demand, servers: list[Server], budget: int
) -> Course:
    """Watch the counters, kill and restart two processes, and stop when all is spent or the time is over."""
    course, victims = Course(), list(enumerate(servers[: min(2, len(servers) - 1)], start=1))
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        spent = sum(block.spent for block in await blocks_of(store))
        now_s = time.monotonic() - started_s
        course.spent.append((now_s, spent))
        if victims and spent >= budget * victims[0][0] / 3:
            _, victim = victims.pop(0)
            victim.kill()
            print(f"  {now_s:5.1f} s: {spent:,} spent, a process is killed", flush=True)
            await asyncio.to_thread(victim.start, installation)
            course.restarted_s = time.monotonic() - started_s
        all_at_s = course.when(budget)
        if all_at_s is not None and now_s > all_at_s + AFTERWARDS_S:
            return course
        if not victims and now_s > course.restarted_s + SPENT_WITHIN_S:
            return course


class Server:
    """One serving process at an address that it keeps."""

    def __init__(self, installation: Installation) -> None:
        self.process, self.base = installation.serve()

    def kill(self) -> None:
        """As the kernel would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def start(self, installation: Installation) -> None:
        """Again, at the same address."""
        self.process = installation.start("serve", "--port", self.base.rpartition(":")[2])


async def blocks_of(store: Store) -> list[Block]:
    """The budget's blocks, of the partitions that have any."""
    return [found[BUDGET] for found in await store.blocks(range(PARTITION_COUNT)) if BUDGET in found]


async def decisions_of(store: Store) -> list[dict[str, Any]]:
    """The decision records in all partitions' logs, by time."""
    found = []
    for partition in range(PARTITION_COUNT):
        after = "0-0"
        while page := await store.log(partition, after=after, limit=LOG_PAGE):
            after = page[-1].position
            found += [record for entry in page if (record := parsed(entry.record.body))["kind"] == "decision"]
    return sorted(found, key=lambda record: record["at_ms"])


def selected(record: dict[str, Any]) -> bool:
    """True when the decision drew the offer, in place of showing it again."""
    (placed,) = record["placements"]
    return placed["action"] is not None and placed["lease_of"] is None


def waited(record: dict[str, Any]) -> bool:
    """True when the offer was wanted and its partition had no unit at hand, of a budget that was not known empty."""
    quotas, interactions = record["snapshot"]["quotas"], record["snapshot"]["state"]["interactions"]
    is_free = sum(each[1] == "selected" for each in interactions) < SELECTED_MAX
    is_drawn = record["placements"][0]["lease_of"] is None and not record["snapshot"]["state"]["lease"]
    return is_free and is_drawn and quotas.get(BUDGET, 0) < 1 and EXHAUSTED + BUDGET not in quotas


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found at the end."""

    most_of_one: int
    logged: int
    blocks: list[Block]
    outstanding: int
    wait_share: float

    @property
    def spent(self) -> int:
        """By the counters."""
        return sum(block.spent for block in self.blocks)

    def failures(self, budget: int) -> list[str]:
        """The promises that do not hold."""
        promises = {
            f"somebody was selected {self.most_of_one} times": self.most_of_one <= SELECTED_MAX,
            f"{self.logged:,} were selected": self.logged <= budget,
            f"the counters say {self.spent:,} and the log {self.logged:,}": self.spent == self.logged,
            f"{self.outstanding:,} units are out": sum(each.received - each.returned for each in self.blocks)
            <= self.outstanding
            <= budget,
        }
        return [said for said, holds in promises.items() if not holds]


async def judged(store: Store) -> Verdict:
    """Count from the log and from the counters."""
    records = await decisions_of(store)
    drawn = [record for record in records if selected(record)]
    until_ms = drawn[-1]["at_ms"] if drawn else 0
    waits = sum(waited(record) for record in records if record["at_ms"] <= until_ms)
    [counter] = await store.counters([BUDGET])
    most = max(Counter(record["person_key"] for record in drawn).values(), default=0)
    return Verdict(most, len(drawn), await blocks_of(store), counter.outstanding, waits / max(1, waits + len(drawn)))


@contextmanager
def installed(budget: int) -> Iterator[Installation]:
    """A server with the strategy and a model; customers come by themselves."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServer.start(Path(name) / "store") as server:
        model = trained(Path(name) / "models")
        asyncio.run(_furnish(server.url, model, strategy_files(budget)))
        installation = Installation(Path(name), server.url)
        installation.environment["NEXTBEST_MODELS_DIR"] = str(Path(name) / "models")
        try:
            yield installation
        finally:
            installation.end()


async def _furnish(url: str, model: str, files: dict[str, bytes]) -> None:
    store = connect(url, deadline_ms=5_000)
    await publish_strategy(store, files, load_bundle(files))
    await store.put("current", "model", model.encode())
    await store.close()


async def run(
    installation: Installation, *, budget: int, client_count: int, process_count: int
) -> tuple[Demand, Course, Verdict]:
    """Serve, ask, kill, and count."""
    servers = [Server(installation) for _ in range(process_count)]
    demand = Demand([server.base for server in servers], customer_count=max(PARTITION_COUNT * 4, budget * 4 // 5))
    store = connect(installation.url, deadline_ms=30_000)
    limits = httpx.Limits(max_connections=client_count)
    async with httpx.AsyncClient(headers=KEY, timeout=30, limits=limits) as http:
        clients = [asyncio.create_task(demand.client(http, seed)) for seed in range(client_count)]
        course = await watched(store, installation, demand, servers, budget)
        demand.is_over = True
        await asyncio.gather(*clients)
    verdict = await judged(store)
    await store.close()
    return demand, course, verdict


def main(budget: int = 10_000, client_count: int = 64, process_count: int = 4) -> None:
    """Run and print the figures; exits 1 when a promise is broken."""
    with installed(budget) as installation:
        demand, course, verdict = asyncio.run(
            run(installation, budget=budget, client_count=client_count, process_count=process_count)
        )
    nearly_s, all_s = course.when(int(budget * SPENT_SHARE_MIN)), course.when(budget)
    print(f"{demand.asked:,} answers, {demand.degraded:,} degraded, {demand.unanswered:,} requests met a dead process")
    print(f"most selections of one customer: {verdict.most_of_one}")
    print(f"selected by the log: {verdict.logged:,}, by the counters: {verdict.spent:,}, of {budget:,}")
    print(f"unspent: {budget - verdict.spent:,}; {verdict.outstanding - verdict.spent:,} of them in blocks")
    for share, at_s in ((SPENT_SHARE_MIN, nearly_s), (1.0, all_s)):
        told = "never" if at_s is None else f"{at_s:.1f} s, {at_s - course.restarted_s:+.1f} s from the last restart"
        print(f"{share:.0%} spent after: {told}")
    print(f"waited for units, of those who wanted one while there were any: {verdict.wait_share:.1%}")
    failures = verdict.failures(budget)
    if nearly_s is None or nearly_s > course.restarted_s + SPENT_WITHIN_S:
        failures.append(f"{SPENT_SHARE_MIN:.0%} of the budget were not spent within {SPENT_WITHIN_S:.0f} s")
    if failures:
        sys.exit("FAILED: " + "; ".join(failures))


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
