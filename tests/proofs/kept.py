"""Kept: what people did while the store was down is counted once when it is back, whoever is killed when.

    python -m tests.proofs.kept [COUNT]

Clicks in mails, beacons of pages and answers of agents, COUNT in all, come through the real doors of a server with two
worker processes while its store is silent. In the middle of it the server is killed with -9; then the store comes back,
and the next server is killed in the middle of counting what was kept. The store falls silent again, the rest comes
through two servers that share the data directory, and is counted. What was acknowledged has to be in the log once.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from api.email.tokens import opened
from api.tokens import installation_sealer
from decisioning.customer import PARTITION_COUNT
from decisioning.store.packing import parsed
from decisioning.store.redis import connect
from tests.console.office import token_in
from tests.email.post import BROWSER
from tests.every_channel import SITE
from tests.proofs.failover import QuietInstallation
from tests.proofs.store_down import customer, installed, mails
from tests.service.conftest import CUSTOMER_COUNT, KEY, free_port
from tests.store.nodes import Node

DEADLINE_MS = 500
SENDERS = 40
PATIENCE_S = 60  # far beyond what is needed: only a loss gets there
KINDS = ("click", "beacon", "answer")
OUTCOMES = ("followed", "clicked", "dismissed")  # in records, of each kind
PACE = {"click": 200.0, "beacon": 40.0, "answer": 15.0}  # a second: below what an address or a user may send


@dataclass
class Deeds:
    """What people do, and what of it a server has acknowledged."""

    clicks: list[str]  # mail tokens
    beacons: list[dict[str, str]]  # visitor token and event token
    answers: list[dict[str, str]]  # customer and event token
    acknowledged: set[tuple[str, int]] = field(default_factory=set)
    tried: set[tuple[str, int]] = field(default_factory=set)

    def rest(self, kind: str) -> list[int]:
        """What is still to do. A link that got no answer is not followed again: that would be a second click."""
        done = self.tried if kind == "click" else self.acknowledged
        return [number for number in range(len(getattr(self, f"{kind}s"))) if (kind, number) not in done]


async def prepared(base: str, url: str, count: int) -> Deeds:
    """Mails that were opened, and what pages and agents show, of which something will be said."""
    third = count // 3
    tokens: list[str] = []
    while len(tokens) < count + SENDERS:  # more than needed: a link that got no answer is not followed again
        tokens += await mails(url, CUSTOMER_COUNT)
    gate = asyncio.Semaphore(SENDERS)
    async with httpx.AsyncClient(base_url=base, timeout=60) as http:

        async def shown(channel: str, placement: str, number: int) -> dict[str, str]:
            named = {"customer": {"id": customer(number % CUSTOMER_COUNT)}}
            async with gate:
                body = {**named, "channel": channel, "placements": [placement]}
                while (decided := (await http.post("/v1/decisions", json=body, headers=KEY)).json())["degraded"]:
                    await asyncio.sleep(0.1)
                token = await http.post("/v1/visitor-tokens", json={**named, "origin": SITE}, headers=KEY)
            shows = {"decision_id": decided["decision_id"], "event_token": decided["placements"][0]["event_token"]}
            return {"customer": named["customer"]["id"], **shows, **token.json()}

        async def open_mail(token: str) -> None:
            async with gate:
                while (await http.get(f"/e/{token}.json")).json()["degraded"]:  # a busy machine was late
                    await asyncio.sleep(0.1)

        beacons = await asyncio.gather(*(shown("web", "web.hero", number) for number in range(third)))
        answers = await asyncio.gather(*(shown("call", "call.next", number) for number in range(third)))
        await asyncio.gather(*(open_mail(token) for token in tokens[: count + SENDERS]))
    return Deeds(tokens[: count + SENDERS], list(beacons), list(answers))


async def do(bases: Sequence[str], deeds: Deeds, goals: dict[str, int], is_open: Callable[[], bool]) -> None:
    """Do of each kind until so many are acknowledged, as long as it is open."""

    async def one_kind(kind: str) -> None:
        async with httpx.AsyncClient(timeout=30) as http:
            csrf = await _agent(http, bases[0]) if kind == "answer" else ""
            waiting = iter(deeds.rest(kind)[: goals[kind] - sum(each == kind for each, _ in deeds.acknowledged)])
            start_s, numbers = time.monotonic(), iter(range(1_000_000))

            async def send() -> None:
                for number in waiting:
                    await asyncio.sleep(max(0.0, start_s + next(numbers) / PACE[kind] - time.monotonic()))
                    if not is_open():
                        return
                    deeds.tried.add((kind, number))
                    if await _is_kept(http, random.choice(bases), deeds, kind, number, csrf):
                        deeds.acknowledged.add((kind, number))

            await asyncio.gather(*(send() for _ in range(SENDERS)))

    await asyncio.gather(*(one_kind(kind) for kind in KINDS))


async def _agent(http: httpx.AsyncClient, base: str) -> str:
    """Sign in as the demo's agent, on whatever server; the token for forms."""
    form = token_in((await http.get(f"{base}/console/sign-in")).text)
    answer = await http.post(f"{base}/console/sign-in", data={"csrf": form, "role": "agent"})
    assert answer.status_code == 303, answer.text
    return token_in((await http.get(f"{base}/console/agent?customer=C-00001")).text)


async def _is_kept(http: httpx.AsyncClient, base: str, deeds: Deeds, kind: str, number: int, csrf: str) -> bool:
    """Do one; True when the server has acknowledged it."""
    try:
        if kind == "click":
            answer = await http.get(f"{base}/c/{deeds.clicks[number]}", headers=BROWSER)
            return answer.status_code == 302
        if kind == "beacon":
            said = deeds.beacons[number]
            told: Any = [{"event_token": said["event_token"], "outcome": "clicked"}]
            body = {"visitor_token": said["visitor_token"], "responses": told}
            answer = await http.post(f"{base}/web/responses", json=body, headers={"origin": SITE})
            return answer.status_code == 200
        said = deeds.answers[number]
        form = {"csrf": csrf, "outcome": "dismissed", **{name: said[name] for name in ("customer", "event_token")}}
        answer = await http.post(f"{base}/console/agent/answers", data=form, headers={"hx-request": "true"})
        return "Noted: Later" in answer.text
    except httpx.TransportError:
        return False


async def counted(url: str) -> Counter[str]:
    """How often each click, beacon and answer stands in the log, by the decision that it answers."""
    store, found = connect(url, deadline_ms=10_000), []
    for partition in range(PARTITION_COUNT):
        found += [parsed(each.record.body) for each in await store.log(partition, after="0-0", limit=100_000)]
    await store.close()
    told = [each for each in found if each["kind"] == "response" and each["outcome"] in OUTCOMES]
    return Counter(f"{each['outcome']} {each['decision_id']}" for each in told)


async def expected(url: str, deeds: Deeds) -> set[str]:
    """What stands in the log once all that was acknowledged is counted."""
    store = connect(url, deadline_ms=10_000)
    sealer = await installation_sealer(store)
    snapshots = await store.read([customer(number) for number in range(CUSTOMER_COUNT)])
    await store.close()
    shown = {each.token_id: each.decision_id for snapshot in snapshots for each in snapshot.state.renders}
    decisions = {
        "click": lambda number: shown[opened(sealer, deeds.clicks[number]).token_id],
        "beacon": lambda number: deeds.beacons[number]["decision_id"],
        "answer": lambda number: deeds.answers[number]["decision_id"],
    }
    outcomes = dict(zip(KINDS, OUTCOMES, strict=True))
    return {f"{outcomes[kind]} {decisions[kind](number)}" for kind, number in deeds.acknowledged}


def play(installation: QuietInstallation, store: Node, count: int, *, processes: int = 2) -> list[str]:
    """All of it, with so many serving processes at a time; what is wrong."""
    journal, faults = installation.data_dir / "journal", []
    server, base = installation.serve(workers=processes)
    deeds = asyncio.run(prepared(base, store.url, count))
    goals = {"click": count - 2 * (count // 3), "beacon": count // 3, "answer": count // 3}

    store.send(signal.SIGSTOP)
    asyncio.run(_killed_while_taking([base], deeds, goals, server, count // 2))
    first, raw = len(deeds.acknowledged), b"".join(path.read_bytes() for path in journal.iterdir())
    if re.search(rb"C-\d{5}", raw):  # as a whole: what is sealed is spelled in letters that make any three by chance
        faults.append("the journal names a customer")
    store.send(signal.SIGCONT)
    counted_then = _killed_while_counting(installation, store, count // 8, processes)
    if not any(journal.iterdir()):
        faults.append("the second server had counted all before it was killed")

    servers = [installation.serve() for _ in range(processes)]
    _await_empty(journal)
    store.send(signal.SIGSTOP)
    asyncio.run(do([base for _, base in servers], deeds, goals, lambda: True))
    store.send(signal.SIGCONT)
    _await_empty(journal)
    faults += _verdict(store.url, deeds)
    by_kind = dict(Counter(kind for kind, _ in deeds.acknowledged))
    print(
        f"{len(deeds.acknowledged)} taken while the store was silent: {by_kind}; {first} of them before kill -9 of the"
    )
    print(f"  server ({processes} processes); the next one was killed when it had counted about {counted_then}")
    if len(deeds.acknowledged) != count:
        faults.append(f"{len(deeds.acknowledged)} of {count} were acknowledged")
    return faults


async def _killed_while_taking(
    bases: Sequence[str], deeds: Deeds, goals: dict[str, int], server: subprocess.Popen[bytes], after: int
) -> None:
    """Kill the server once so much is acknowledged."""

    async def kill() -> None:
        while len(deeds.acknowledged) < after:
            await asyncio.sleep(0.01)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()

    await asyncio.gather(do(bases, deeds, goals, lambda: server.poll() is None), kill())


def _killed_while_counting(installation: QuietInstallation, store: Node, after: int, processes: int) -> int:
    """Start a server, and kill it when it has counted about so many; how many by then."""
    with redis.Redis(port=store.port, socket_timeout=PATIENCE_S) as client:
        client.config_resetstat()
        server = installation.start("serve", "--port", str(free_port()), "--workers", str(processes))
        steps = 0
        while steps < 2 * after:  # each is a read and a commit
            steps = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    return steps // 2


def _await_empty(journal: Path) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while any(journal.iterdir()):
        assert time.monotonic() < until_s, "the journal was not counted within a minute"
        time.sleep(0.05)


def _verdict(url: str, deeds: Deeds) -> list[str]:
    """What was acknowledged and is not there, what is there twice, and what nobody did."""
    found, wanted = asyncio.run(counted(url)), asyncio.run(expected(url, deeds))
    lost, twice = wanted - found.keys(), [each for each, times in found.items() if times > 1]
    unheard = len(found) - len(wanted)  # kept or counted, and its answer lost with the server
    missing = f"{len(lost)} of {len(wanted)} acknowledged missing"
    print(f"{len(found)} in the log: {missing}, {len(twice)} twice, {unheard} unheard")
    return [f"lost: {each}" for each in sorted(lost)] + [f"twice: {each}" for each in twice]


def main(count: int = 1_000) -> None:
    """Fails for a loss or a repeat."""
    with tempfile.TemporaryDirectory() as name, installed(Path(name), deadline_ms=DEADLINE_MS) as (installation, store):
        faults = play(installation, store, count)
    print("\n".join(faults))
    sys.exit("FAILED" if faults else None)


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
