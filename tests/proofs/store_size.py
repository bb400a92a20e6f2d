"""Store size: what a customer takes, and what a decision costs with few customers and with many.

    python -m tests.proofs.store_size [--customers 1000000] [--few 10000] [--rounds 10]

Two embedded servers are loaded by the library function behind `nextbest load`, from Parquet that DuckDB makes up: 30
attributes of the example bank from its 4 sources, 2 consents. Then every customer gets 20 interactions and a lease that
has ended, so that each decision is a draw. One real serving process on either store decides over HTTP, rounds in turn,
every customer once; its CPU time and its store's are read from the kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import httpx
import numpy as np
import redis

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle, read_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.customer import PARTITION_COUNT, Interaction, LeaseEntry, State, partition_of
from decisioning.history.load import load_customers
from decisioning.interactions import DAY_MS
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.packing import pack
from decisioning.store.protocol import Change, Committed
from decisioning.store.redis import RedisStore, connect
from models import Feature, save_artifact
from models.train import train
from tests.service.conftest import KEY, Installation
from tests.store.test_packing import busiest_state

BYTES_MAX = 1_500  # of memory for one such customer, its key included
DEARER_MAX = 1.05  # the ratio of costs must not lie above this for certain
ROUND_DECISIONS = 1_000
CALLERS = 8
BATCH = 500
INTERACTION_COUNT = 20
EXAMPLE = Path("examples/retail_bank")
PLACEMENT = {"channel": "web", "placements": ["web.home.hero"]}

# Attribute of the example's schema -> SQL of its value for customer i; h(i, n) is a number that looks random.
ATTRIBUTES = {
    "first_name": "['Anna', 'Bence', 'Csilla', 'Dávid'][1 + h(i, 1) % 4]",
    "language": "['en', 'hu', 'de'][1 + h(i, 2) % 3]",
    "age": "18 + h(i, 3) % 70",
    "city": "['Budapest', 'Debrecen', 'Szeged', 'Pécs'][1 + h(i, 4) % 4]",
    "segment": "['student', 'mass', 'affluent', 'premium'][1 + h(i, 5) % 4]",
    "tenure_days": "h(i, 6) % 9000",
    "children_count": "h(i, 7) % 4",
    "home_owner": "h(i, 8) % 2 = 0",
    "complaints_open": "h(i, 9) % 2",
    "salary_account": "h(i, 10) % 2 = 0",
    "income_monthly": "500 + h(i, 11) % 600000 / 100",
    "balance_avg_3m": "h(i, 12) % 2000000 / 100",
    "card_tier": "['classic', 'gold', 'platinum'][1 + h(i, 13) % 3]",
    "has_credit_card": "h(i, 14) % 2 = 0",
    "credit_card_utilisation": "h(i, 15) % 1000 / 1000",
    "has_mortgage": "h(i, 16) % 5 = 0",
    "has_personal_loan": "h(i, 17) % 5 = 0",
    "has_savings": "h(i, 18) % 2 = 0",
    "has_investments": "h(i, 19) % 5 = 0",
    "has_insurance_travel": "h(i, 20) % 5 = 0",
    "has_insurance_home": "h(i, 21) % 5 = 0",
    "in_arrears": "h(i, 22) % 50 = 0",
    "travel_spend_3m": "h(i, 23) % 100000 / 100",
    "online_spend_3m": "h(i, 24) % 100000 / 100",
    "cash_withdrawals_3m": "h(i, 25) % 30",
    "loyalty_tier": "['blue', 'silver', 'gold'][1 + h(i, 26) % 3]",
    "loyalty_points": "h(i, 27) % 20000",
    "app_active_days_30d": "h(i, 28) % 31",
    "last_product_viewed": "['cards', 'loans', 'mortgages', 'savings'][1 + h(i, 29) % 4]",
    "last_login_at": "strftime(now() - to_days((h(i, 30) % 20)::int), '%Y-%m-%dT%H:%M:%SZ')",
    "consent.email.marketing": "h(i, 31) % 4 > 0",
    "consent.call_center.marketing": "h(i, 32) % 4 = 0",
}


@dataclass(slots=True)
class Site:
    """One store with its customers and, while it decides, its serving process."""

    customer_count: int
    folder: Path
    server: EmbeddedServer
    serving: int = 0  # process group
    base: str = ""

    def key(self, number: int) -> str:
        return f"C-{number:07d}"

    def store(self) -> RedisStore:
        return connect(self.server.url, deadline_ms=60_000)


@dataclass(slots=True)
class Cost:
    """CPU of one decision in microseconds."""

    serving_us: float
    server_us: float

    @property
    def both_us(self) -> float:
        return self.serving_us + self.server_us


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.store_size")
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(words)
    decisions = min(ROUND_DECISIONS, options.few // options.rounds)
    files = read_bundle(EXAMPLE)
    strategy = load_bundle(files)
    with tempfile.TemporaryDirectory() as folder, sites(Path(folder), options.few, options.customers) as (few, many):
        model = trained(Path(folder, "models"), strategy)
        for site in (few, many):
            asyncio.run(loaded(site, strategy))
            asyncio.run(lived(site, strategy))
            asyncio.run(publish(site, files, strategy, model))
        held = is_small(many)
        costs = measured(few, many, Path(folder, "models"), rounds=options.rounds, decisions=decisions)
        return 0 if is_unchanged(costs, few, many) and held else 1


@contextmanager
def sites(folder: Path, *counts: int) -> Iterator[list[Site]]:
    """A server for each count of customers, ended at the end."""
    found: list[Site] = []
    try:
        for count in counts:
            place = folder / f"{count}-{len(found)}"
            place.mkdir()
            found.append(Site(count, place, EmbeddedServer.start(place / "store")))
        yield found
    finally:
        for site in found:
            site.server.stop()


async def loaded(site: Site, strategy: Strategy) -> None:
    """Load the customers, and tell how long it took and what they take so far."""
    table = site.folder / "customers.parquet"
    columns = ", ".join(f'{sql} AS "{name}"' for name, sql in ATTRIBUTES.items())
    with duckdb.connect() as database:
        database.execute("CREATE MACRO h(i, n) AS (hash(i, n) % 1000000007)::bigint")
        rows = f"SELECT format('C-{{:07d}}', i) AS customer_id, {columns} FROM range({site.customer_count}) t(i)"
        database.execute(f"COPY ({rows}) TO '{table}' (FORMAT parquet)")
    store, started_s = site.store(), time.monotonic()
    summary = await load_customers(
        [table],
        strategy.schema,
        store,
        channels=strategy.channels,
        at_ms=time.time_ns() // 1_000_000,
        rejects_path=site.folder / "rejects.csv",
        progress=lambda done, total: None,
    )
    await store.close()
    took_s = time.monotonic() - started_s
    assert summary.loaded == site.customer_count, summary
    print(f"{summary.loaded:,} customers loaded in {took_s:.0f} s, {summary.loaded / took_s:,.0f} a second", flush=True)


async def lived(site: Site, strategy: Strategy) -> None:
    """Give every customer a past: 20 interactions of four actions, and a lease that has just ended."""
    store, chance = site.store(), random.Random(7)
    offers = [action.key for action in strategy.actions if action.kind == "offer"]
    for start in range(0, site.customer_count, BATCH):
        keys = [site.key(number) for number in range(start, min(start + BATCH, site.customer_count))]
        changes = []
        for snapshot in await store.read(keys):
            state = with_past(snapshot.state, snapshot.customer_key, offers, chance, now_ms=snapshot.now_ms)
            changes.append(Change(snapshot.customer_key, snapshot.state_version, state))
        assert all(isinstance(outcome, Committed) for outcome in await store.commit(changes))
    await store.close()
    with redis.Redis.from_url(site.server.url) as client:
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.5)  # it takes CPU and memory of its own, and ends when it ends
        memory = client.info("memory")
        logs = sum(client.memory_usage(f"nb:{{p{each:03d}}}:log", samples=0) or 0 for each in range(PARTITION_COUNT))
    used, resident = memory["used_memory"], memory["used_memory_rss"]
    each = (used - logs) / site.customer_count
    print(f"with 20 interactions, 2 consents and a lease each: {used / 1e9:.2f} GB, {resident / 1e9:.2f} GB resident;")
    print(f"without the log of the consents, which is {logs / 1e9:.2f} GB, {each:,.0f} bytes each", flush=True)


def with_past(state: State, customer_key: str, offers: Sequence[str], chance: random.Random, *, now_ms: int) -> State:
    actions, days = chance.sample(offers, 4), sorted(chance.uniform(1, 60) for _ in range(INTERACTION_COUNT))
    decision_id = f"{partition_of(customer_key):03d}-{now_ms - DAY_MS:x}-{chance.getrandbits(64):016x}"
    past = [
        Interaction(
            now_ms - int(day * DAY_MS),
            chance.choice(("selected", "impression", "impression", "clicked")),
            chance.choice(actions),
            chance.choice(("web", "email")),
        )
        for day in reversed(days)
    ]
    ended = LeaseEntry(actions[0], decision_id, now_ms - DAY_MS, now_ms - 1, ["web"])
    return replace(state, interactions=past, lease=[ended], draw_index=INTERACTION_COUNT)


def is_small(site: Site) -> bool:
    """Tell what single customers take, the busiest included."""
    with redis.Redis.from_url(site.server.url) as client:
        numbers = random.Random(3).sample(range(site.customer_count), min(1_000, site.customer_count))
        hashes = [f"nb:{{p{partition_of(key):03d}}}:c:{key}" for key in map(site.key, numbers)]
        taken = [client.memory_usage(name, samples=0) for name in hashes]
        state, profile = client.hmget(hashes[0], "s", "p")
        client.hset("busiest", mapping={"v": 1 << 50, "s": pack(busiest_state()), "p": profile})
        busiest = client.memory_usage("busiest", samples=0)
        client.delete("busiest")
    mean = statistics.fmean(taken)
    print(f"a customer takes {mean:,.0f} bytes (MEMORY USAGE of {len(taken)}: {min(taken):,} to {max(taken):,})")
    print(f"of which packed: state {len(state):,}, attributes {len(profile):,}; with all bounds full {busiest:,} bytes")
    if mean > BYTES_MAX:
        print(f"more than {BYTES_MAX:,}")
    return mean <= BYTES_MAX


async def publish(site: Site, files: dict[str, bytes], strategy: Strategy, model: str) -> None:
    store = site.store()
    await publish_strategy(store, files, strategy)
    await store.put("current", "model", model.encode())
    await store.close()


def trained(folder: Path, strategy: Strategy) -> str:
    """A model that has learnt something from a few attributes; returns its version."""
    rng, count = np.random.default_rng(1), 4_000
    offers = [action.key for action in strategy.actions if action.kind == "offer"]
    names = ("customer.balance_avg_3m", "customer.tenure_days", "customer.app_active_days_30d", "customer.age")
    columns = {name: list(rng.uniform(0, 100, count)) for name in names}
    columns["channel"] = list(rng.choice(["web", "email", "call_center"], count))
    features = [Feature(name, "numeric") for name in names] + [Feature("channel", "categorical")]
    labels = (rng.random(count) < 0.1).astype(float)
    fitted = train(columns, actions=list(rng.choice(offers, count)), labels=labels, features=features)
    return save_artifact(fitted.model, folder)


def measured(few: Site, many: Site, models: Path, *, rounds: int, decisions: int) -> list[tuple[Cost, Cost]]:
    """The cost of a decision on both sites, round by round in turn; a first round warms up."""
    installations = []
    try:
        for site in (few, many):
            installed = Installation(site.folder, site.server.url)
            installations.append(installed)
            installed.environment["NEXTBEST_MODELS_DIR"] = str(models)
            process, site.base = installed.serve()
            site.serving = process.pid
        asyncio.run(asked(few, range(CALLERS)))
        asyncio.run(asked(many, range(CALLERS)))
        found = []
        for index in range(rounds):
            costs = [cost_of(site, index, decisions) for site in ((few, many) if index % 2 else (many, few))]
            found.append((costs[0], costs[1]) if index % 2 else (costs[1], costs[0]))
        return found
    finally:
        for installed in installations:
            installed.end()


def cost_of(site: Site, index: int, decisions: int) -> Cost:
    """The cost of one round: customers that no round before has asked for, spread over all there are."""
    numbers = range(index, site.customer_count, site.customer_count // decisions)[:decisions]
    serving_us, server_us = serving_cpu_us(site.serving), server_cpu_us(site)
    asyncio.run(asked(site, numbers))
    serving_us, server_us = serving_cpu_us(site.serving) - serving_us, server_cpu_us(site) - server_us
    return Cost(serving_us / decisions, server_us / decisions)


async def asked(site: Site, numbers: Sequence[int]) -> None:
    """Ask for these customers, some callers at a time; every answer must be a sound one."""
    waiting = iter(numbers)

    async def caller(http: httpx.AsyncClient) -> None:
        for number in waiting:
            answer = await http.post("/v1/decisions", json={"customer": {"id": site.key(number)}, **PLACEMENT})
            assert answer.status_code == 200 and not answer.json()["degraded"], answer.text

    async with httpx.AsyncClient(base_url=site.base, headers=KEY, timeout=30) as http:
        await asyncio.gather(*(caller(http) for _ in range(CALLERS)))


def serving_cpu_us(group: int) -> float:
    """CPU time of a process group's living processes, in ticks of the kernel: 10 ms."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == group:
                user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
                ticks += int(user) + int(system)
        except OSError:
            continue  # it ended meanwhile
    return ticks * 1e6 / os.sysconf("SC_CLK_TCK")


def server_cpu_us(site: Site) -> float:
    """CPU time of a server, from its own books."""
    with redis.Redis.from_url(site.server.url) as client:
        spent = client.info("cpu")
    return float(spent["used_cpu_user"] + spent["used_cpu_sys"]) * 1e6


def is_unchanged(costs: Sequence[tuple[Cost, Cost]], few: Site, many: Site) -> bool:
    """Tell the costs and their ratio, with a 95 % interval over the rounds."""
    for site, found in zip((few, many), zip(*costs, strict=True), strict=True):
        serving_us, server_us = (statistics.median(getattr(each, name) for each in found) for name in Cost.__slots__)
        print(f"{site.customer_count:,} customers: a decision costs {serving_us:.0f} µs of CPU in the serving process")
        print(f"and {server_us:.0f} µs in its store")
    logs = [math.log(after.both_us / before.both_us) for before, after in costs]
    margin = 1.96 * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.fmean(logs)
    ratio, low, high = (math.exp(each) for each in (middle, middle - margin, middle + margin))
    print(f"many against few, both together: {ratio:.3f} ({low:.3f} to {high:.3f})")
    return low <= DEARER_MAX


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
