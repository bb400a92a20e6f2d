"""Fail-over: which requests and records a cluster loses when one of its primaries is killed under load.

Real nodes, real serving processes and a worker. Four runs: a replica that keeps up; one whose link has been down for a
second before the kill, so that what was acknowledged in that second is lost; with two replicas each and
`min-replicas-to-write 1` the same second, in which commits are refused instead; and a primary that falls silent, and
comes back when it has been replaced. `--help` names the sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx

from decisioning.customer import PARTITION_COUNT, partition_of
from decisioning.history.reader import open_history
from decisioning.store.embedded import find_binary
from decisioning.store.redis import connect
from tests.service.conftest import CUSTOMER_COUNT, KEY, Installation, furnish, trained
from tests.store.nodes import ClusterOfNodes, Node

NODE_TIMEOUT_MS = 5_000
DEADLINE_MS = 1_000  # of the serving processes; a busy machine is no failure of the store
CLIENTS = 24
BATCH_S = 12  # the worker writes what it has after 5 s
LINK_DOWN_S = 1.0
REPLICATION_S = 0.1  # far more than what a sound link is behind
TAKEOVER_S = 5.0  # far more than what voting and looking up the map take, once the node counts as dead
OPTIONS = (
    *("--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
    *("--cluster-require-full-coverage", "no"),
    *("--appendonly", "yes"),
)
CAUTIOUS = "--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"


class Scene(NamedTuple):
    """One run."""

    title: str
    replicas: int = 3  # in all
    link_down_s: float = 0.0
    options: tuple[str, ...] = ()
    signal: int = signal.SIGKILL


SCENES = (
    Scene("the replica keeps up"),
    Scene(f"the replica's link is down for {LINK_DOWN_S:g} s before the kill", link_down_s=LINK_DOWN_S),
    Scene("the same with two replicas each and min-replicas-to-write 1", 6, LINK_DOWN_S, CAUTIOUS),
    Scene("the primary falls silent, and comes back later", signal=signal.SIGSTOP),
)


class Answer(NamedTuple):
    """What came of one request."""

    path: str  # decide or respond
    fared: str  # ok, degraded, or the status
    at_s: float  # when it was answered
    took_s: float
    was_held: bool  # by the primary that was killed
    record_id: str  # of what was acknowledged, else empty


@dataclass
class Load:
    """Clients that ask and answer at a steady rate, until told to stop."""

    base: str
    rate: float  # decisions a second, each followed by one response
    held: frozenset[str]  # customers of the primary that will be killed
    answers: list[Answer] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)  # of the last decision of each customer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        numbers, start_s = count(), time.monotonic()
        async with httpx.AsyncClient(base_url=self.base, headers=KEY, timeout=10) as http:
            clients = [asyncio.create_task(self._client(http, numbers, start_s)) for _ in range(CLIENTS)]
            try:
                yield
            finally:
                self.rate = 0.0
                await asyncio.gather(*clients)

    async def _client(self, http: httpx.AsyncClient, numbers: count[int], start_s: float) -> None:
        while self.rate:
            number = next(numbers)
            await asyncio.sleep(max(0.0, start_s + number / self.rate - time.monotonic()))
            customer = f"C-{number * 7 % CUSTOMER_COUNT + 1:05d}"
            body = {"customer": {"id": customer}, "channel": "web", "placements": ["web.hero"]}
            decided = await self._ask(http, "decide", customer, body)
            for placed in decided.get("placements", []):
                self.tokens[customer] = placed.get("event_token") or self.tokens.get(customer, "")
            if self.tokens.get(customer):  # also while its customer's decisions fail
                told = {"event_token": self.tokens[customer], "outcome": "clicked", "idempotency_key": f"k-{number}"}
                await self._ask(http, "respond", customer, told)

    async def _ask(self, http: httpx.AsyncClient, path: str, customer: str, body: dict) -> dict:
        start_s = time.monotonic()
        answer = await http.post({"decide": "/v1/decisions", "respond": "/v1/responses"}[path], json=body)
        end_s, told = time.monotonic(), answer.json()
        is_ok = answer.status_code == 200 and not told.get("degraded")
        fared = "ok" if is_ok else "degraded" if answer.status_code == 200 else str(answer.status_code)
        record_id = told["decision_id" if path == "decide" else "response_id"] if is_ok else ""
        self.answers.append(Answer(path, fared, end_s, end_s - start_s, customer in self.held, record_id))
        return told if is_ok else {}


async def play(scene: Scene, folder: Path, *, rate: float, before_s: float, after_s: float) -> bool:
    """One run; prints its figures and returns whether they are as promised."""
    print(f"\n{scene.title}")
    cluster = ClusterOfNodes.start(find_binary(), folder, replicas=scene.replicas, options=(*OPTIONS, *scene.options))
    installation = QuietInstallation(folder, cluster.url)
    try:
        victim = cluster.holder_of("nb:own:worker")  # the one on which the jobs and the strategy in force depend too
        installation.environment |= {
            "NEXTBEST_DEADLINE_MS": str(DEADLINE_MS),
            "NEXTBEST_MODELS_DIR": str(folder / "models"),
        }
        await furnish(cluster.url, trained(folder / "models"))
        installation.start("worker")
        _, base = await asyncio.to_thread(installation.serve, workers=2)
        load = Load(base, rate, held_by(cluster, victim))
        async with load.running():
            await asyncio.sleep(before_s)
            with links_down(cluster, victim) if scene.link_down_s else nullcontext():
                await asyncio.sleep(scene.link_down_s)
                killed_s = time.monotonic()
                victim.send(scene.signal)
            await asyncio.sleep(after_s / 2)
            victim.send(signal.SIGCONT)
            await asyncio.sleep(after_s / 2)
        await asyncio.sleep(BATCH_S)
        logged = await record_ids(cluster.url)
        return report(scene, load.answers, killed_s, logged, moved(folder / "history"))
    finally:
        installation.end()
        cluster.stop()


class QuietInstallation(Installation):
    """Keeps what its processes say in a file."""

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "api.cli", "--parent", str(os.getpid()), *words]
        with (self.data_dir / f"{words[0]}.log").open("wb") as log:
            self.processes.append(subprocess.Popen(command, env=self.environment, stderr=log, start_new_session=True))
        return self.processes[-1]


def held_by(cluster: ClusterOfNodes, node: Node) -> frozenset[str]:
    partitions = {p for p in range(PARTITION_COUNT) if cluster.holder_of(f"{{p{p:03d}}}") is node}
    keys = (f"C-{number:05d}" for number in range(1, CUSTOMER_COUNT + 1))
    return frozenset(key for key in keys if partition_of(key) in partitions)


@contextmanager
def links_down(cluster: ClusterOfNodes, primary: Node) -> Iterator[None]:
    """Keep the replicas from the primary, by a password that it does not have."""
    for replica in cluster.replicas:
        replica.ask("CONFIG", "SET", "masterauth", "wrong")
    primary.ask("CLIENT", "KILL", "TYPE", "replica")
    yield
    for replica in cluster.replicas:
        replica.ask("CONFIG", "SET", "masterauth", "")


async def record_ids(url: str) -> Counter[str]:
    """Every record in the logs, and how often."""
    store = connect(url, deadline_ms=10_000)
    logs = [await store.log(partition, after="0-0", limit=1_000_000) for partition in range(PARTITION_COUNT)]
    await store.close()
    return Counter(entry.record.record_id for log in logs for entry in log)


def moved(folder: Path) -> set[str]:
    """Every record in history."""
    with open_history(folder) as history:
        decisions = history.execute("SELECT decision_id FROM decisions").fetchall()
        responses = history.execute("SELECT response_id FROM responses").fetchall()
    return {record_id for (record_id,) in (*decisions, *responses)}


def report(scene: Scene, answers: list[Answer], killed_s: float, logged: Counter[str], moved: set[str]) -> bool:
    before = [each for each in answers if each.at_s < killed_s]
    refused = Counter(f"{each.path} {each.fared}" for each in before if each.fared != "ok")
    print(f"  before the kill: {len(before)} requests, failed: {dict(refused) or 'none'}")
    for was_held in (True, False):
        for path in ("decide", "respond"):
            after = [each for each in answers[len(before) :] if (each.path, each.was_held) == (path, was_held)]
            print(f"  {'its customers' if was_held else 'all others'}, {path}: {told(after, killed_s)}")
    missing = [each for each in answers if each.record_id and each.record_id not in logged]
    gone = [each for each in missing if each.record_id not in moved]
    held = [each for each in before if each.record_id and each.was_held]
    print(f"  acknowledged before the kill by that primary: {len(held)}; missing in its replica's log: {len(missing)}")
    print(f"  of these also not in history: {len(gone)}; records twice in a log: {sum(n > 1 for n in logged.values())}")
    if missing:
        print(f"  the oldest of them was acknowledged {killed_s - missing[0].at_s:.3f} s before the kill")

    lost_s = REPLICATION_S + (scene.link_down_s if not scene.options else 0)
    others = [each for each in answers[len(before) :] if not each.was_held and each.fared != "ok"]
    promises = {
        "customers of other primaries see no failure": not others,
        "the replica takes over": back_after_s(answers, killed_s) < NODE_TIMEOUT_MS / 1000 + TAKEOVER_S,
        "nothing is recorded twice": max(logged.values()) == 1,
        f"nothing older than {lost_s:g} s is lost": all(
            each.was_held and killed_s - lost_s < each.at_s <= killed_s + DEADLINE_MS / 1000 for each in missing
        ),
    }
    for promise, holds in promises.items():
        print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {promise}")
    return all(promises.values())


def told(after: list[Answer], killed_s: float) -> str:
    fared = Counter(each.fared for each in after)
    failed = [each for each in after if each.fared != "ok"]
    if not failed:
        return f"{fared['ok']} ok, none failed, the slowest in {1000 * max(each.took_s for each in after):.0f} ms"
    ways = ", ".join(f"{number} {way}" for way, number in sorted(fared.items()))
    slowest_ms = 1000 * max(each.took_s for each in failed)
    first_s, last_s = (each.at_s - killed_s for each in (failed[0], failed[-1]))
    return f"{ways}; failed from {first_s:.2f} to {last_s:.2f} s after the kill, the slowest in {slowest_ms:.0f} ms"


def back_after_s(answers: list[Answer], killed_s: float) -> float:
    """From the kill to the first good decision for a customer of the killed primary, after the last failure."""
    held = [each for each in answers if each.was_held and each.at_s > killed_s and each.path == "decide"]
    failed_s = max((each.at_s for each in held if each.fared != "ok"), default=killed_s)
    back_s = min((each.at_s for each in held if each.at_s > failed_s), default=float("inf")) - killed_s
    print(f"  the first good decision for its customers came {back_s:.2f} s after the kill")
    return back_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="decisions a second, each with a response")
    parser.add_argument("--before", type=float, default=10.0, help="seconds of load before the kill")
    parser.add_argument("--after", type=float, default=20.0, help="seconds of load after the kill")
    parser.add_argument("--scene", type=int, choices=range(len(SCENES)), help="only this run")
    sizes = parser.parse_args()
    held = True
    for scene in SCENES if sizes.scene is None else [SCENES[sizes.scene]]:
        with tempfile.TemporaryDirectory() as folder:
            run = play(scene, Path(folder), rate=sizes.rate, before_s=sizes.before, after_s=sizes.after)
            held &= asyncio.run(run)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
