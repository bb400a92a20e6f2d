"""Consent: withdrawn through each way it can arrive, obeyed by the next request on each path.

    python -m tests.proofs.consent [TRIES]

Two serving processes answer. Each try shows a customer something in the email channel first, then withdraws the
consent for it, and asks again as soon as the withdrawal is acknowledged, while others keep asking about, changing and
answering for the same customer at both processes. Whatever was asked after the acknowledgement counts, theirs too.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.history.load import load_customers
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.redis import RedisStore, connect
from tests.any_order.operations import READERS
from tests.decisioning.bank import FILES as PLAIN_FILES
from tests.email.post import BROWSER, mail_files
from tests.proofs.mailroom import Mailroom
from tests.service.conftest import KEY, Installation, trained

FILES = PLAIN_FILES | mail_files()
HOME = "https://bank.example/"  # where a link leads that stands for nothing
NO = {"channel": "email", "purpose": "marketing", "granted": False}
LONG_AGO = {**NO, "granted": True, "at": "2020-01-01T00:00:00Z"}  # what traffic keeps stating, and what must lose
REFUSING = {
    **FILES,
    "consents.yaml": FILES["consents.yaml"].replace(
        "email: {marketing: {absent: granted, basis: legitimate_interest}",
        "email: {marketing: {absent: refused, basis: consent}",
    ),
}
BANK = load_bundle({path: text.encode() for path, text in FILES.items()})
TRIES_A_BATCH = 70
DEADLINE_S = 60  # far beyond what anything here takes

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AskPath:
    """A way to come by something to show: what is asked before the withdrawal, and after it."""

    name: str
    before: Sequence[Body]  # each must show something; the last one in email
    after: Body
    age: int = 40  # below 18 there are only messages
    is_busy: bool = True  # False: traffic asks for nothing that would be leased


MAIL: Body = {"channel": "email", "placements": ["email.hero"]}
PAGE: Body = {"channel": "web", "placements": ["web.hero"]}
OPENED, FETCHED, WRITTEN, CLICK = ({"door": each} for each in ("person", "proxy", "json", "click"))  # of one mail
PATHS = (
    AskPath("fresh decision", [{**MAIL, "dry_run": True}], MAIL, is_busy=False),
    AskPath("leased offer, same channel", [MAIL], MAIL),
    AskPath("leased offer, another channel", [PAGE, {**MAIL, "dry_run": True}], MAIL),
    AskPath("held message", [MAIL], MAIL, age=17),
    AskPath("stored answer of a key", [{**MAIL, "idempotency_key": "k"}], {**MAIL, "idempotency_key": "k"}),
    AskPath("answer with explanation", [MAIL], {**MAIL, "explain": True}),
    AskPath("what is sent", [MAIL], {**MAIL, "sending": True}),
    AskPath("mail's picture, opened by a person", [OPENED], OPENED),
    AskPath("mail's picture, fetched by a proxy", [FETCHED], FETCHED, is_busy=False),
    AskPath("mail's content as JSON", [WRITTEN], WRITTEN),
    AskPath("mail's link", [FETCHED], CLICK, is_busy=False),
)


@dataclass(slots=True)
class Tally:
    """What happened, and every answer that should not have been."""

    tries: Counter[tuple[str, str]] = field(default_factory=Counter)  # way and path
    elsewhere: int = 0  # tries answered by another process than took the withdrawal
    traffic: int = 0  # answers of others to what they asked after a withdrawal
    degraded: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Trial:
    """One customer on one path, and the others who are about."""

    customer: str
    path: AskPath
    here: int  # the process that takes the withdrawal, and the one that is asked next
    there: int
    withdrawn_s: float = float("inf")  # when its withdrawal was acknowledged
    heard: list[tuple[float, Body]] = field(default_factory=list)  # when others asked in email, and what came


class Desk:
    """Both serving processes, the store behind them, and the strategies."""

    def __init__(self, bases: Sequence[str], store: RedisStore, mailroom: Mailroom) -> None:
        # A connection is given up well before the server does it, which would break what is on its way.
        limits = httpx.Limits(max_connections=100, keepalive_expiry=2.0)
        self.clients = [
            httpx.AsyncClient(base_url=base, headers=KEY, timeout=DEADLINE_S, limits=limits) for base in bases
        ]
        self.store = store
        self._mailroom = mailroom
        self._mails: dict[str, str] = {}  # a token by customer
        self._published: Mapping[str, str] = {}

    async def send(self, at: int, method: str, path: str, body: Any = None) -> httpx.Response:
        """An answer; where a connection broke, all requests here can be sent again."""
        try:
            return await self.clients[at].request(method, path, json=body)
        except httpx.TransportError:
            return await self.clients[at].request(method, path, json=body)

    async def ask(self, at: int, customer: str, body: Body) -> httpx.Response:
        if "door" in body:
            return await self._open_mail(at, customer, body["door"])
        return await self.send(at, "POST", "/v1/decisions", {"customer": {"id": customer}, **body})

    async def _open_mail(self, at: int, customer: str, door: str) -> httpx.Response:
        """What the customer's one mail shows or leads to, as an answer; quiet strip and brand show nothing."""
        token = self._mails.setdefault(customer, self._mailroom.token(customer))
        is_brand = False
        if door == "click":
            answer = await self.clients[at].get(f"/c/{token}", headers=BROWSER)
            is_shown = answer.headers["location"] != HOME
        elif door == "json":
            answer = await self.clients[at].get(f"/e/{token}.json")
            is_shown, is_brand = answer.json()["outcome"] != "nothing", answer.json()["degraded"]
        else:
            answer = await self.clients[at].get(f"/e/{token}.png", headers=READERS[door])
            quiet = await self.clients[at].get(f"/e/{token}.png", headers=READERS["scanner"])
            brand = await self.clients[at].get("/e/forged.png", headers=READERS["person"])
            is_shown, is_brand = answer.content != quiet.content, answer.content == brand.content
        placed = {"action": "shown" if is_shown and not is_brand else None, "event_token": None}
        return httpx.Response(200, json={"placements": [placed], "degraded": is_brand})

    async def publish(self, files: Mapping[str, str]) -> None:
        """Publish, and return when both processes answer by it: a strategy is taken up within about a second."""
        if files is self._published:
            return
        self._published = files
        bundle = {path: text.encode() for path, text in files.items()}
        strategy = load_bundle(bundle)
        await publish_strategy(self.store, bundle, strategy)
        for at in range(len(self.clients)):
            while (await self.ask(at, "nobody", {**PAGE, "dry_run": True})).json()["versions"][
                "strategy"
            ] != strategy.version:
                await asyncio.sleep(0.02)

    async def load(self, text: str) -> int:
        """Load a file; how many of its rows were taken."""
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "customers.csv").write_text(text)
            summary = await load_customers(
                [Path(name) / "customers.csv"],
                BANK.schema,
                self.store,
                channels=BANK.channels,
                at_ms=time.time_ns() // 1_000_000,
                rejects_path=Path(name) / "rejects.csv",
                progress=lambda done, total: None,
            )
        return summary.loaded


async def by_put(desk: Desk, trials: Sequence[Trial]) -> None:
    await _each(trials, lambda trial: desk.send(trial.here, "PUT", f"/v1/customers/{trial.customer}/consents", [NO]))


async def by_erasure(desk: Desk, trials: Sequence[Trial]) -> None:
    await _each(trials, lambda trial: desk.send(trial.here, "DELETE", f"/v1/customers/{trial.customer}"))


async def by_batch(desk: Desk, trials: Sequence[Trial]) -> None:
    """One body for all of them."""
    statements = [{"customer": {"id": trial.customer}, **NO} for trial in trials]
    answer = await desk.send(trials[0].here, "POST", "/v1/consents", {"statements": statements})
    assert answer.status_code == 200, answer.text
    _acknowledge(trials)


async def by_load(desk: Desk, trials: Sequence[Trial]) -> None:
    """Half of the files say when the customer withdrew, the others are of now."""
    now = datetime.now(UTC).isoformat()
    is_dated = random.random() < 0.5
    head, tail = (",consent.email.marketing.time", f",{now}") if is_dated else ("", "")
    rows = "".join(f"{trial.customer},no{tail}\n" for trial in trials)
    assert await desk.load(f"customer_id,consent.email.marketing{head}\n{rows}") == len(trials)
    _acknowledge(trials)


async def by_strategy(desk: Desk, trials: Sequence[Trial]) -> None:
    """The strategy refuses where the customer said nothing."""
    await desk.publish(REFUSING)
    _acknowledge(trials)


WAYS = {
    "PUT consents": by_put,
    "POST /v1/consents": by_batch,
    "nextbest load": by_load,
    "erasure": by_erasure,
    "consents.yaml": by_strategy,
}


async def _each(trials: Sequence[Trial], send: Callable[[Trial], Awaitable[httpx.Response]]) -> None:
    async def one(trial: Trial) -> None:
        answer = await send(trial)
        assert answer.status_code == 200, answer.text
        _acknowledge([trial])

    await asyncio.gather(*map(one, trials))


def _acknowledge(trials: Sequence[Trial]) -> None:
    for trial in trials:
        trial.withdrawn_s = time.monotonic()


async def attempt(desk: Desk, way: str, trials: Sequence[Trial], tally: Tally) -> None:
    """A batch of tries: known, shown something, withdrawn amid traffic, asked again."""
    relies_on_default = way == "consents.yaml"
    await desk.publish(FILES if relies_on_default else REFUSING)
    granted = "" if relies_on_default else "yes"
    rows = "".join(f"{trial.customer},{trial.path.age},classic,3000.0,{granted}\n" for trial in trials)
    assert await desk.load(f"customer_id,age,tier,income,consent.email.marketing\n{rows}") == len(trials)
    await asyncio.gather(*(_prepare(desk, trial) for trial in trials))
    async with _traffic(desk, trials, is_stating=way not in ("erasure", "consents.yaml")):
        await WAYS[way](desk, trials)
        await asyncio.gather(*(_check(desk, way, trial, tally) for trial in trials))
    for trial in trials:
        late = [answer for asked_s, answer in trial.heard if asked_s > trial.withdrawn_s]
        tally.traffic += len(late)
        for answer in late:
            _judge(answer, f"{way}, traffic beside {trial.path.name}, {trial.customer}", tally)


async def _prepare(desk: Desk, trial: Trial) -> None:
    """Something is shown, or the try would prove nothing."""
    for body in trial.path.before:
        answer = await desk.ask(trial.here, trial.customer, body)
        assert answer.status_code == 200 and shows(answer.json()), f"{trial.path.name}: {answer.text}"


async def _check(desk: Desk, way: str, trial: Trial, tally: Tally) -> None:
    """The next request."""
    answer = await desk.ask(trial.there, trial.customer, trial.path.after)
    tally.tries[way, trial.path.name] += 1
    tally.elsewhere += trial.here != trial.there or way in ("nextbest load", "consents.yaml")
    if answer.status_code == 410 and way == "erasure":
        return  # the stored answer of somebody who was erased
    name = f"{way}, {trial.path.name}, {trial.customer}"
    if answer.status_code != 200:
        tally.violations.append(f"{name}: {answer.status_code} {answer.text}")
        return
    _judge(answer.json(), name, tally)
    for entry in answer.json().get("explanation", ()):
        if entry.get("reason") != "consent":
            tally.violations.append(f"{name}: explained as {entry}")


def _judge(answer: Body, name: str, tally: Tally) -> None:
    tally.degraded += answer["degraded"]
    if shows(answer):
        tally.violations.append(f"{name}: {answer['placements']}")


def shows(answer: Body) -> bool:
    """True when anything is shown: all that the email channel has needs the consent."""
    return any(each["action"] is not None for each in answer["placements"])


@asynccontextmanager
async def _traffic(desk: Desk, trials: Sequence[Trial], *, is_stating: bool) -> AsyncIterator[None]:
    """Two others a customer, at both processes, until the tries are over."""
    is_over = asyncio.Event()
    others = [asyncio.create_task(_bother(desk, trial, is_over, is_stating)) for trial in trials for _ in range(2)]
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*others)


async def _bother(desk: Desk, trial: Trial, is_over: asyncio.Event, is_stating: bool) -> None:
    customer = f"/v1/customers/{trial.customer}"
    while not is_over.is_set():
        at, asked_s = random.randrange(len(desk.clients)), time.monotonic()
        match random.randrange(6 if is_stating else 5):
            case 0:
                await desk.send(at, "PATCH", customer, {"attributes": {"first_name": random.choice(["Ann", "Bo"])}})
            case 1 if trial.path.is_busy:
                await _respond(desk, at, (await desk.ask(at, trial.customer, PAGE)).json())
            case 5:
                await desk.send(at, "PUT", f"{customer}/consents", [LONG_AGO])
            case _:
                body = MAIL if trial.path.is_busy else {**MAIL, "dry_run": True}
                trial.heard.append((asked_s, (await desk.ask(at, trial.customer, body)).json()))
        await asyncio.sleep(random.uniform(0.0, 0.4))


async def _respond(desk: Desk, at: int, answer: Body) -> None:
    for token in filter(None, (each["event_token"] for each in answer["placements"])):
        await desk.send(at, "POST", "/v1/responses", {"event_token": token, "outcome": "impression"})


async def prove(installation: Installation, try_count: int) -> Tally:
    """So many tries at least, the same number of each way on each path."""
    tally, store = Tally(), connect(installation.url, deadline_ms=DEADLINE_S * 1000)
    desk = Desk([installation.serve()[1] for _ in range(2)], store, await Mailroom.of(store))
    rounds = -(-try_count // (len(WAYS) * len(PATHS)))
    per_batch = max(1, TRIES_A_BATCH // len(PATHS))
    for way in WAYS:
        for start in range(0, rounds, per_batch):
            numbers = range(start, min(start + per_batch, rounds))
            trials = [_trial(way, path, number) for number in numbers for path in PATHS]
            await attempt(desk, way, trials, tally)
        print(f"{way}: {sum(count for (each, _), count in tally.tries.items() if each == way):,} tries", flush=True)
    lost = sum([await _races_lost(client) for client in desk.clients])
    print(f"commits that lost a race: {lost:,.0f}")
    for client in desk.clients:
        await client.aclose()
    await store.close()
    return tally


def _trial(way: str, path: AskPath, number: int) -> Trial:
    customer = f"{way}-{path.name}-{number}".replace(" ", "_").replace("/", "_").replace(",", "")
    here = number // 2 % 2
    return Trial(customer, path, here, here ^ (number % 2))


async def _races_lost(client: httpx.AsyncClient) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("commits_lost_total "))


@contextmanager
def installed() -> Iterator[Installation]:
    """A store and a model; strategies come with the tries."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServer.start(Path(name) / "store") as server:
        installation = Installation(Path(name), server.url)
        installation.environment["NEXTBEST_MODELS_DIR"] = str(Path(name) / "models")
        asyncio.run(furnish(server.url, trained(Path(name) / "models")))
        try:
            yield installation
        finally:
            installation.end()


async def furnish(url: str, model: str) -> None:
    """Serving processes are ready once there is a strategy and a model."""
    store = connect(url)
    files = {path: text.encode() for path, text in FILES.items()}
    await publish_strategy(store, files, load_bundle(files))
    await store.put("current", "model", model.encode())
    await store.close()


def main(try_count: int = 10_000) -> None:
    """Try, and tell."""
    started_s = time.monotonic()
    with installed() as installation:
        tally = asyncio.run(prove(installation, try_count))
    print(f"{tally.tries.total():,} tries, each of {len(WAYS)} ways on each of {len(PATHS)} paths:")
    for path in PATHS:
        print(f"  {path.name}: {sum(count for (_, each), count in tally.tries.items() if each == path.name):,}")
    print(f"asked at another process than took the withdrawal: {tally.elsewhere:,}")
    print(f"answers to others who asked after a withdrawal: {tally.traffic:,}; degraded answers: {tally.degraded:,}")
    for line in tally.violations[:20]:
        print(f"  VIOLATION {line}")
    print(f"violations: {len(tally.violations)}; {time.monotonic() - started_s:.0f} s", flush=True)
    if tally.violations or tally.tries.total() < try_count:
        sys.exit("FAILED")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
