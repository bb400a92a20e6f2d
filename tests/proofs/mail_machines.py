"""Machines: what fetches mails and is nobody changes nothing for the person, and the person's own opening counts.

    python -m tests.proofs.mail_machines [ROUNDS]

The request patterns of tests/cases/machines.json meet one of two twins, who are the same person to every draw, over
HTTP on a real server. What stands of them, and of the budget, must be what stood before, but for what the mail's token
showed. Web and agent must then say the same to both, to the byte but for ids and times, and so must the opening and
the click of a person.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count, product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn

from api.app import assemble
from api.email.tokens import sealed
from api.instants import wall_ms
from decisioning.catalog.strategy import Strategy
from decisioning.customer import PARTITION_COUNT, Profile, SourceFacts, State, partition_of
from decisioning.restocking import Upkeep
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.packing import pack
from decisioning.store.protocol import Change
from decisioning.store.redis import connect
from tests.api.desk import KEY
from tests.decisioning.bank import FILES, strategy
from tests.email.post import BROWSER, PERSON, Post, mail_files
from tests.service.conftest import free_port

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "cases" / "machines.json").read_text())
ORDERS = ("others ask next", "the person opens next", "the web has promised something before")
STOCK = 100_000
HOUR_MS = 3_600_000
READER, OPENER, BACKEND = "127.7.0.1", "127.7.0.2", "127.0.0.1"  # whence people follow links, and open mails
COUNTED = {"impression", "clicked", "accepted", "rejected", "dismissed", "converted", "selected"}
NAMES = (  # what no two answers have in common
    (re.compile(rb"\d{3}-[0-9a-f]+-[0-9a-f]{16}"), b"DECISION"),
    (re.compile(rb"k\d+\.[\w-]{20,}"), b"TOKEN"),
    (re.compile(rb"20\d\d-\d\d-\d\dT[\d:.]+Z"), b"TIME"),
    (re.compile(rb"[CT]-\d+-\d+"), b"CUSTOMER"),
)


def bank() -> Strategy:
    """The small bank with mails, an agent, a limit on what is seen in mails and a budget for gold."""
    files = {**FILES, **mail_files(stock=STOCK)}
    call = 'call: {placements: [call.next], content: {headline: "Speak of it"}}'
    cards = re.sub(
        r"(?m)^ {6}email: \{placements: \[email\.hero\].*$", rf"\g<0>\n      {call}", files["actions/cards.yaml"]
    )
    files["actions/cards.yaml"] = cards.replace("contact_policies: [fatigue]", "contact_policies: [fatigue, seen]")
    more = {
        "contact_policies.yaml": "seen: {scope: action, channel: email, outcomes: [impression], "
        "limit: 1, window_days: 7, hold_days: 7}\n",
        "channels.yaml": "call: {direction: inbound, lease_minutes: 60, contact_cost: 0.0}\n",
        "placements.yaml": "call.next: {channel: call, nothing_value: 0.5, fields: {headline: {type: text}}, "
        "fallback: brand, default_url: 'https://bank.example/'}\n",
        "consents.yaml": "call: {marketing: {absent: granted, basis: legitimate_interest}}\n",
    }
    return strategy(files | {path: files[path] + text for path, text in more.items()})


@dataclass(slots=True)
class Found:
    """What was done, and every difference."""

    pairs: int = 0
    requests: Counter[str] = field(default_factory=Counter)  # of machines, by who they are
    left: Counter[str] = field(default_factory=Counter)  # records of their openings, by class
    answers: int = 0  # to web and agent, in pairs
    counted: Counter[str] = field(default_factory=Counter)  # what people did, of those whom machines had been at
    faults: list[str] = field(default_factory=list)


class Street:
    """An application that listens, and who speaks to it from which address."""

    def __init__(self, post: Post, base: str) -> None:
        self.post = post
        self.base = base
        self._clients: dict[str, httpx.AsyncClient] = {}

    def at(self, address: str) -> httpx.AsyncClient:
        """Somebody at an address of this machine's own network."""
        if address not in self._clients:
            transport = httpx.AsyncHTTPTransport(local_address=address)
            self._clients[address] = httpx.AsyncClient(base_url=self.base, transport=transport, timeout=30)
        return self._clients[address]

    async def mail(
        self, address: str, method: str, what: str, token: str, headers: Mapping[str, str]
    ) -> httpx.Response:
        """One request for what a mail holds."""
        path = f"/c/{token}" if what == "c" else f"/e/{token}.{what}"
        plain = httpx.Request(
            method.upper(), f"{self.base}{path}", headers=[("host", "mail.example"), *headers.items()]
        )
        return await self.at(address).send(plain)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()


@asynccontextmanager
async def street(url: str) -> AsyncIterator[Street]:
    """The application on an empty real server, its budget laid out."""
    served = bank()
    post = Post(connect(url, deadline_ms=10_000), served)
    post.service.settings = replace(post.service.settings, deadline_ms=10_000)
    await post.service.studio.prepare(served)
    await Upkeep(post.store).run(served)
    server = uvicorn.Server(
        uvicorn.Config(assemble(post.service), port=(port := free_port()), lifespan="off", log_level="critical")
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    here = Street(post, f"http://127.0.0.1:{port}")
    yield here
    await here.close()
    server.should_exit = True
    await serving
    post.service.studio.close()
    await post.store.close()


@dataclass(slots=True)
class Twin:
    """One of two customers who are the same to every draw."""

    street: Street
    key: str

    def token(self, *, age_ms: int) -> str:
        """The token of the one mail, as made so long ago."""
        now_ms, seals = wall_ms(), self.street.post.service.seals
        times = {"expires_ms": now_ms + HOUR_MS, "made_ms": now_ms - age_ms}
        return sealed(seals, self.key, "email.hero", message="spring", **times)

    async def state(self) -> State:
        return await self.street.post.state(self.key)

    async def asked(self, channel: str, placement: str) -> bytes:
        """What a channel is told, without ids and times."""
        body = {"customer": {"id": self.key}, "channel": channel, "placements": [placement], "explain": True}
        answer = await self.street.at(BACKEND).post("/v1/decisions", json=body, headers=KEY)
        text = answer.raise_for_status().content
        for pattern, name in NAMES:
            text = pattern.sub(name, text)
        return text

    async def opened(self) -> bytes:
        """A person opens the mail."""
        answer = await self.street.mail(OPENER, "get", "png", self.token(age_ms=HOUR_MS), PERSON)
        return answer.raise_for_status().content

    async def clicked(self) -> str:
        """The person follows its link, and the landing page says so."""
        answer = await self.street.mail(READER, "get", "c", self.token(age_ms=HOUR_MS), BROWSER)
        to = urlsplit(answer.headers["location"])
        told = {"event_token": parse_qs(to.query)["nextbest"][0], "outcome": "clicked"}
        (await self.street.at(BACKEND).post("/v1/responses", json=told, headers=KEY)).raise_for_status()
        return f"{to.hostname}{to.path}"


async def twins(here: Street, number: int) -> tuple[Twin, Twin]:
    """Two of one partition, one income and one key that decides draws."""
    store, one = here.post.store, f"C-{number}-0"
    other = next(key for each in count() if partition_of(key := f"T-{number}-{each}") == partition_of(one))
    for snapshot in await store.read([one, other]):
        facts = {"age": 40, "tier": "classic", "language": "en", "first_name": "Ann"}
        money = {"income": 500.0 + number % 7 * 400.0, "suspicious": False}
        profile = Profile({"crm": SourceFacts(snapshot.now_ms, facts), "core": SourceFacts(snapshot.now_ms, money)})
        state = replace(snapshot.state, assignment_key=f"pair {number}")
        await store.commit([Change(snapshot.customer_key, 0, state, profile)])
    return Twin(here, one), Twin(here, other)


async def spent(post: Post) -> int:
    """Units of all budgets that are gone or set aside."""
    blocks = await post.store.blocks(range(PARTITION_COUNT))
    return sum(block.spent + sum(each for each in _reserved(block)) for here in blocks for block in here.values())


def _reserved(block: Any) -> list[int]:
    reserved = block.reserved
    return list(reserved.values()) if isinstance(reserved, Mapping) else [int(reserved)]


async def machines_come(here: Street, case: Mapping[str, Any], twin: Twin, number: int, found: Found) -> None:
    """Everything that a case says is fetched, each from the vendor's own addresses."""
    token = twin.token(age_ms=case["age_s"] * 1000)
    addresses = [f"127.{1 + number // 200 % 100}.{number % 200}.{1 + each}" for each in range(case.get("addresses", 1))]
    for other in range(case.get("other_mails", 0)):
        bystander = Twin(here, f"B-{number}-{other}").token(age_ms=case["age_s"] * 1000)
        await here.mail(addresses[0], "get", "c", bystander, case["headers"])
    for at, request in enumerate(case["requests"]):
        [(method, what)] = request.items()
        answer = await here.mail(addresses[at % len(addresses)], method, what, token, case["headers"])
        found.requests[case["by"]] += 1
        if answer.status_code != (302 if what == "c" else 200):
            found.faults.append(f"{case['note']}: {method} {what} is a {answer.status_code}")


async def met(here: Street, case: Mapping[str, Any], order: str, number: int, found: Found) -> None:
    """One pair, one of whom machines are at."""
    one, other = await twins(here, number)
    if order == ORDERS[2]:
        await _same(one, other, found, case, ("web", "web.hero"))
    before, units = await one.state(), await spent(here.post)
    known = len(await here.post.records_of(one.key))
    await machines_come(here, case, one, number, found)
    after = await one.state()
    if pack(replace(after, renders=[])) != pack(before) or await spent(here.post) != units:
        found.faults.append(f"{case['note']}, {order}: something of the customer or of the budget has moved")
    for record in (await here.post.records_of(one.key))[known:]:
        found.left[record["client_class"]] += 1
        if record["client_class"] not in (case["class"], "unknown") or record.get("outcome") in COUNTED:
            found.faults.append(f"{case['note']}, {order}: left a record of {record['client_class']}")
    if order == ORDERS[0]:
        await _same(one, other, found, case, ("web", "web.hero"), ("call", "call.next"))
    await _persons_act(one, other, found, case, order)
    await _same(one, other, found, case, ("web", "web.hero"), ("call", "call.next"))


async def _same(one: Twin, other: Twin, found: Found, case: Mapping[str, Any], *asks: tuple[str, str]) -> None:
    for channel, placement in asks:
        found.answers += 1
        told = [await each.asked(channel, placement) for each in (one, other)]
        if told[0] != told[1]:
            found.faults.append(f"{case['note']}: {channel} says {told[0]!r} and to the twin {told[1]!r}")


async def _persons_act(one: Twin, other: Twin, found: Found, case: Mapping[str, Any], order: str) -> None:
    """Both open the mail and follow its link; it has to count, and as it does without machines."""
    before = len((await one.state()).interactions)
    pictures = [await each.opened() for each in (one, other)]
    ends = [await each.clicked() for each in (one, other)]
    states = [await each.state() for each in (one, other)]
    told = [[(each.outcome, each.action, each.channel) for each in state.interactions] for state in states]
    leases = [[(each.action, each.channels) for each in state.lease] for state in states]
    if pictures[0] != pictures[1] or ends[0] != ends[1] or told[0] != told[1] or leases[0] != leases[1]:
        found.faults.append(f"{case['note']}, {order}: people differ: {ends} {told} {leases}")
    done = [outcome for outcome, _, _ in told[0][before:]]
    found.counted.update(done)
    if done.count("impression") != 1 or done.count("clicked") != 1:
        found.faults.append(f"{case['note']}, {order}: a person's opening and click left {done}")


async def run(url: str, meetings: Iterable[tuple[Mapping[str, Any], str]]) -> Found:
    """These cases in these orders, each with a pair of its own."""
    found = Found()
    async with street(url) as here:
        for case, order in meetings:
            found.pairs += 1
            await met(here, case, order, found.pairs, found)
    return found


def main(rounds: int = 5) -> None:
    """Print what came out; exits with 1 when the claim does not hold."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder)) as server:
        found = asyncio.run(run(server.url, [*product(CASES, ORDERS)] * rounds))
    print(f"{len(CASES)} patterns in {len(ORDERS)} orders, {found.pairs:,} pairs of twins, "
          f"{time.monotonic() - started_s:.0f} s")  # fmt: skip
    print(f"requests of machines: {dict(found.requests)}; records they left: {dict(found.left)}")
    print(f"answers to web and agent compared: {found.answers:,}; counted of people afterwards: {dict(found.counted)}")
    print(f"customers or budgets that moved, twins that differ, people who were missed: {len(found.faults)}")
    if found.faults:
        sys.exit("\n".join(["FAILED", *found.faults[:20]]))


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
