"""Responses: each counts once, whatever is sent again, killed or repeated.

    python -m tests.proofs.responses [RESPONSES] [KILLS]

First, offers are answered five times each, by five clients at once, through two serving processes that are killed with
-9 while they answer; whoever gets no reply sends again. Then so many responses are sent in batches, while the worker
that moves them to history is killed with -9 so many times.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from decisioning.customer import PARTITION_COUNT
from decisioning.history.reader import open_history
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.packing import parsed
from decisioning.store.redis import connect
from tests.history.test_killed import batch_count, start_worker
from tests.service.conftest import KEY, Installation, furnish, trained

CLIENT_COUNT = 5  # that send the same response
OUTCOMES = (
    "rendered", "impression", "machine_open", "clicked", "accepted",
    "rejected", "dismissed", "converted", "no_response", "undelivered",
)  # fmt: skip
SENDERS = 4
DECISIONS_A_BATCH = 50
PATIENCE_S = 300  # far beyond what is needed: only a loss gets there

Answer = dict[str, Any]


def main(response_count: int = 100_000, kill_count: int = 20) -> None:
    """Both parts, on a new installation each."""
    for part in (lambda: same_response(offer_count=200, kill_count=10), lambda: moved(response_count, kill_count)):
        if not part():
            sys.exit("FAILED")


@contextmanager
def installed() -> Iterator[Installation]:
    """A server with customers, a strategy and a model."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServer.start(Path(name) / "store") as server:
        model = trained(Path(name) / "models")
        asyncio.run(furnish(server.url, model))
        installation = Installation(Path(name), server.url)
        installation.environment["NEXTBEST_MODELS_DIR"] = str(Path(name) / "models")
        try:
            yield installation
        finally:
            installation.end()


def same_response(*, offer_count: int, kill_count: int) -> bool:
    """Five clients send each response; True when each is in the log once, and counted once for the customer."""
    with installed() as installation:
        replicas = Replicas(installation, 2)
        shown = decided(replicas, [f"C-{number:05d}" for number in range(1, offer_count + 1)])
        survived = threading.Event()
        with ThreadPoolExecutor(CLIENT_COUNT) as clients:
            told = clients.map(lambda number: _answer_all(replicas, shown, number, survived), range(CLIENT_COUNT))
            for _ in range(kill_count):  # here: a server ends with the thread that started it
                replicas.kill_one()
            survived.set()
        logged = Counter(each["response_id"] for each in asyncio.run(_responses(installation.url)))
        counted = [_accepted_count(replicas, each) for each in shown]
    answers = [answer for several in told for answer in several]
    statuses, acknowledged = Counter(each["status"] for each in answers), {each["response_id"] for each in answers}
    print(f"{len(shown)} responses, each sent by {CLIENT_COUNT} clients, {kill_count} serving processes killed")
    print(f"  acknowledged {statuses.total():,} times: {statuses['counted']} counted, {statuses['repeated']} repeated")
    print(f"  sent again for want of a reply: {replicas.repeats}")
    print(f"  in the log: {len(logged)} responses, most often {max(logged.values())} time")
    print(f"  of the customers: counted {min(counted)} to {max(counted)} times", flush=True)
    each_once = set(logged.values()) == {1} and logged.keys() == acknowledged and set(counted) == {1}
    return each_once and len(logged) == len(shown)


def moved(response_count: int, kill_count: int) -> bool:
    """Send responses while the worker is killed; True when all that were acknowledged are in history, once."""
    with installed() as installation:
        replicas, history = Replicas(installation, 2), installation.data_dir / "history"
        shown = decided(replicas, [f"R-{number:06d}" for number in range(-(-response_count // len(OUTCOMES)))])
        started_s = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as senders:
            starts = range(0, len(shown), DECISIONS_A_BATCH)
            batches = senders.map(lambda start: _batch(replicas, shown[start : start + DECISIONS_A_BATCH]), starts)
            for _ in range(kill_count):
                _kill_worker(installation.url, history)
            told = [answer for several in batches for answer in several]
        took_s = time.monotonic() - started_s
        acknowledged = {answer["response_id"] for answer in told if answer["status"] == "counted"}
        worker = start_worker(installation.url, history)
        found = _in_history(history, len(acknowledged), len(shown))
        worker.terminate()
        worker.wait()
    print(f"{len(acknowledged):,} responses acknowledged in {took_s:.0f} s, worker killed {kill_count} times")
    print(f"  in history: {found['rows']:,} rows, {found['responses']:,} different responses")
    print(f"  missing {len(acknowledged - found['ids'])}, more than acknowledged {len(found['ids'] - acknowledged)}")
    print(f"  decisions: {found['decisions']:,} rows of {len(shown):,}", flush=True)
    is_whole = found["ids"] == acknowledged and found["rows"] == found["responses"] == len(shown) * len(OUTCOMES)
    return is_whole and found["decisions"] == len(shown)


class Replicas:
    """Serving processes that may be killed at any moment; each comes back on a port of its own."""

    def __init__(self, installation: Installation, count: int) -> None:
        self.repeats = 0  # requests that were sent again
        self._installation = installation
        self._running = [installation.serve() for _ in range(count)]
        self._http = httpx.Client(headers=KEY, timeout=60, limits=httpx.Limits(max_connections=50))

    def kill_one(self) -> None:
        """Kill -9 one of them, and start another in its place."""
        at = random.randrange(len(self._running))
        process, _ = self._running[at]
        process.kill()
        process.wait()
        self._running[at] = self._installation.serve()

    def post(self, path: str, body: Answer) -> Answer:
        """An answer; without one, or while the service says so, the request goes again."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            _, base = random.choice(self._running)
            try:
                answer = self._http.post(f"{base}{path}", json=body)
                if answer.status_code == 200:
                    return answer.json()  # type: ignore[no-any-return]  # JSON is of any type
                assert answer.status_code in (429, 503), answer.text
            except httpx.TransportError:
                pass
            self.repeats += 1
            time.sleep(0.05)
        raise TimeoutError(path)

    def get(self, path: str) -> Answer:
        """What is there."""
        _, base = self._running[0]
        answer = self._http.get(f"{base}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]  # JSON is of any type


def decided(replicas: Replicas, customers: Sequence[str]) -> list[Answer]:
    """One decision for each customer, with what its placement shows."""

    def ask(customer: str) -> Answer:
        body = {"customer": {"id": customer}, "channel": "web", "placements": ["web.hero"], "idempotency_key": "once"}
        answer = replicas.post("/v1/decisions", body)
        [placed] = answer["placements"]
        assert placed["event_token"], "everybody is shown something"
        return {"customer": customer, "decision_id": answer["decision_id"], **placed}

    with ThreadPoolExecutor(SENDERS) as several:
        return list(several.map(ask, customers))


def _answer_all(replicas: Replicas, shown: Sequence[Answer], number: int, survived: threading.Event) -> list[Answer]:
    """One client's answers to everything, in an order of its own, and over again until the last kill was survived."""
    order, answers = random.Random(number).sample(shown, len(shown)), []
    while not answers or not survived.is_set():
        bodies = [{"event_token": each["event_token"], "outcome": "accepted"} for each in order]
        answers += [replicas.post("/v1/responses", body) for body in bodies]
    return answers


def _batch(replicas: Replicas, shown: Sequence[Answer]) -> list[Answer]:
    told = [{"event_token": each["event_token"], "outcome": outcome} for each in shown for outcome in OUTCOMES]
    answers: list[Answer] = replicas.post("/v1/responses", {"responses": told})["responses"]
    return answers


def _accepted_count(replicas: Replicas, shown: Answer) -> int:
    interactions = replicas.get(f"/v1/customers/{shown['customer']}")["interactions"]
    return sum(each["outcome"] == "accepted" for each in interactions)


async def _responses(url: str) -> list[Answer]:
    """Every response in the log of every partition."""
    store, found = connect(url, deadline_ms=30_000), []
    for partition in range(PARTITION_COUNT):
        entries = await store.log(partition, after="0-0", limit=1_000_000)
        found += [parsed(entry.record.body) for entry in entries]
    await store.close()
    return [each for each in found if each["kind"] == "response"]


def _kill_worker(url: str, history: Path) -> None:
    """Start a worker and kill it some moments after it has written a batch."""
    before = batch_count(history)
    worker = start_worker(url, history)
    deadline_s = time.monotonic() + 5  # nothing may be left to write
    while batch_count(history) == before and time.monotonic() < deadline_s:
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.5))
    worker.kill()
    worker.wait()


def _in_history(history: Path, response_count: int, decision_count: int) -> Answer:
    """What history holds once all should be there, or patience ends."""
    deadline_s, found = time.monotonic() + PATIENCE_S, {"rows": 0, "decisions": 0}
    while time.monotonic() < deadline_s:
        with closing(open_history(history)) as tables:
            ids = [row[0] for row in tables.execute("SELECT response_id FROM responses").fetchall()]
            decisions = tables.execute("SELECT count(*) FROM decisions").fetchall()[0][0]
        found = {"rows": len(ids), "responses": len(set(ids)), "ids": set(ids), "decisions": decisions}
        if found["rows"] >= response_count and found["decisions"] >= decision_count:
            break
        time.sleep(0.5)
    return found


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
