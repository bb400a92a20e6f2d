"""Store down: what every door of every channel answers meanwhile, and how late.

    python -m tests.proofs.store_down [ROUNDS]

A real serving process on a real Valkey, which falls silent (SIGSTOP: it accepts and never answers), is killed (its port
refuses), and loads its data for seconds after a restart. Then a process is started while it is down. Each answer has to
be what the documents promise, whatever it takes; the latest of each door is printed beside its deadline.
"""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from api.console.users import add_user
from api.email.tokens import sealed
from api.instants import wall_ms
from api.tokens import DAY_MS, installation_sealer
from decisioning.store.embedded import find_binary
from decisioning.store.redis import connect
from tests.console.office import token_in
from tests.email.post import BROWSER, PERSON
from tests.every_channel import SITE, every_channel
from tests.proofs.failover import QuietInstallation
from tests.service.conftest import KEY, free_port, furnish, is_ready, trained
from tests.store.nodes import Node

DEADLINE_MS = 250  # as it is by default
MARGIN_MS = 100  # what an answer may take beyond its deadline on a machine that is not busy: drawing, journal, network
BRAND = "We are here for you"
SENDER = "bank@bank.example"
OPTIONS = ("--save", "", "--appendonly", "yes")
SLOWLY = ("--key-load-delay", "150000", "--loading-process-events-interval-bytes", "1024")
HTMX = {"hx-request": "true"}
CHILLED = "The store does not answer. This can be said to anybody."


@contextmanager
def installed(folder: Path, *, deadline_ms: int) -> Iterator[tuple[QuietInstallation, Node]]:
    """A bank in every channel, with customers and a model, on a store of its own."""
    (folder / "store").mkdir()
    store = Node(find_binary(), folder / "store", OPTIONS)
    installation = QuietInstallation(folder, store.url)
    try:
        store.ask("PING")
        installation.environment |= {
            "NEXTBEST_DEADLINE_MS": str(deadline_ms),
            "NEXTBEST_MODELS_DIR": str(folder / "models"),
            "NEXTBEST_AMP_SENDERS": SENDER,
        }
        asyncio.run(furnish(store.url, trained(folder / "models"), every_channel()))
        yield installation, store
    finally:
        installation.end()
        store.kill()


def customer(number: int) -> str:
    """One of those that `furnish` makes."""
    return f"C-{number + 1:05d}"


async def mails(url: str, count: int) -> list[str]:
    """Tokens of yesterday's mails, each to another customer."""
    store = connect(url, deadline_ms=10_000)
    sealer = await installation_sealer(store)
    await store.close()
    times = {"expires_ms": wall_ms() + DAY_MS, "made_ms": wall_ms() - DAY_MS}
    return [sealed(sealer, customer(number), "email.hero", message="", **times) for number in range(count)]


@dataclass
class Doors:
    """A browser, a mail program, an agent and a system, before one serving process."""

    http: httpx.AsyncClient
    mails: list[str]  # tokens
    visitors: list[str]  # tokens
    answers: list[tuple[str, str]]  # of agents: customer and event token
    beacons: list[str]  # event tokens of what visitors were shown
    csrf: str = ""
    brand: dict[str, bytes] = field(default_factory=dict)  # the fallback's pictures, by ending

    @classmethod
    @asynccontextmanager
    async def opened(cls, base: str, url: str, count: int) -> AsyncIterator[Doors]:
        """Everything that is prepared while the store is there; `count` of each."""
        tokens = await mails(url, count)
        async with httpx.AsyncClient(base_url=base, timeout=30) as http:
            known = [await _known(http, number) for number in range(count)]
            doors = cls(
                http, tokens, [each[0] for each in known], [each[2] for each in known], [each[1] for each in known]
            )
            await doors._sign_in(url)
            for ending in ("png", "2x.png", "jpg"):
                doors.brand[ending] = (await http.get(f"/e/forged.{ending}")).content
            yield doors

    async def _sign_in(self, url: str) -> None:
        store = connect(url, deadline_ms=10_000)
        password = await add_user(store, "anna", "agent")
        await store.close()
        form = token_in((await self.http.get("/console/sign-in")).text)
        answer = await self.http.post("/console/sign-in", data={"csrf": form, "user": "anna", "password": password})
        assert answer.status_code == 303, answer.text
        self.csrf = token_in((await self.http.get("/console/agent?customer=C-00001")).text)

    async def ask(self, name: str, number: int) -> httpx.Response:
        """One request at one door, by the nth customer."""
        http, mail = self.http, self.mails[number]
        web = {"origin": SITE, "content-type": "text/plain"}
        match name.split():
            case ["picture", ending]:
                return await http.get(f"/e/{mail}.{ending}", headers=PERSON)
            case ["mail", "amp"]:
                return await http.get(f"/e/{mail}.amp", headers={**PERSON, "amp-email-sender": SENDER})
            case ["mail", ending]:
                return await http.get(f"/e/{mail}.{ending}")
            case ["click"]:
                return await http.get(f"/c/{mail}", headers=BROWSER)
            case ["snippet"]:
                return await http.get("/nextbest.js")
            case ["page", "decision"]:
                body = {"visitor_token": self.visitors[number], "placements": ["web.hero"]}
                return await http.post("/web/decisions", json=body, headers=web)
            case ["page", "visitor"]:
                return await http.post("/web/visitors", json={}, headers=web)
            case ["page", "beacon"]:
                said = [{"event_token": self.beacons[number], "outcome": each} for each in ("impression", "clicked")]
                body = {"visitor_token": self.visitors[number], "responses": said}
                return await http.post("/web/responses", json=body, headers=web)
            case ["agent", "screen"]:
                return await http.get("/console/agent", params={"customer": customer(number)}, headers=HTMX)
            case ["agent", "answer"]:
                who, event_token = self.answers[number]
                told = {"csrf": self.csrf, "customer": who, "event_token": event_token, "outcome": "accepted"}
                return await http.post("/console/agent/answers", data=told, headers=HTMX)
            case ["api", "decision"]:
                body = {"customer": {"id": customer(number)}, "channel": "web", "placements": ["web.hero"]}
                return await http.post("/v1/decisions", json=body, headers=KEY)
            case ["api", "response"]:
                body = {"event_token": self.beacons[number], "outcome": "clicked"}
                return await http.post("/v1/responses", json=body, headers=KEY)
        return await http.get(name)


async def _known(http: httpx.AsyncClient, number: int) -> tuple[str, str, tuple[str, str]]:
    """A customer's visitor token, and the event tokens of what the page and the agent show."""
    named = {"customer": {"id": customer(number)}}
    token = (await http.post("/v1/visitor-tokens", json={**named, "origin": SITE}, headers=KEY)).json()["visitor_token"]
    shown = []
    for channel, placement in (("web", "web.hero"), ("call", "call.next")):
        body = {**named, "channel": channel, "placements": [placement]}
        (placed,) = (await http.post("/v1/decisions", json=body, headers=KEY)).json()["placements"]
        shown.append(placed["event_token"] or "")
    return token, shown[0], (customer(number), shown[1])


def pages_own(answer: httpx.Response, doors: Doors) -> bool:
    """A page of the demo, as its authors wrote it."""
    return answer.status_code == 200 and "Good morning" in answer.text and "Ann" not in answer.text


def brand_picture(ending: str) -> Callable[[httpx.Response, Doors], bool]:
    """The fallback's picture, byte for byte, and one that opens."""

    def is_brand(answer: httpx.Response, doors: Doors) -> bool:
        Image.open(io.BytesIO(answer.content)).load()
        kind = f"image/{'jpeg' if ending == 'jpg' else 'png'}"
        return (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, doors.brand[ending])

    return is_brand


def says(status: int, *texts: str, **fields: Any) -> Callable[[httpx.Response, Doors], bool]:
    """A status, texts in the body, fields of its JSON."""

    def is_so(answer: httpx.Response, doors: Doors) -> bool:
        told = answer.json() if fields else {}
        is_told = all(told[name] == value for name, value in fields.items())
        return answer.status_code == status and is_told and all(text in answer.text for text in texts)

    return is_so


def refused(answer: httpx.Response, doors: Doors) -> bool:
    """A 503 that says when to come again."""
    return answer.status_code == 503 and answer.headers["retry-after"].isdigit()


def leads_home(answer: httpx.Response, doors: Doors) -> bool:
    """A redirect to the placement's `default_url`."""
    return (answer.status_code, answer.headers["location"]) == (302, f"{SITE}/")


DOORS: dict[str, Callable[[httpx.Response, Doors], bool]] = {
    **{f"picture {ending}": brand_picture(ending) for ending in ("png", "2x.png", "jpg")},
    "mail html": says(200, BRAND),
    "mail json": says(200, BRAND, degraded=True),
    "mail amp": says(200, BRAND),
    "click": leads_home,
    "snippet": says(200, "nextbest"),
    "page decision": says(200, BRAND, fallback=True),
    "page visitor": says(200, "visitor_token"),
    "page beacon": says(200, responses=[{"status": "kept"}] * 2),
    "agent screen": says(503, "Thank them for calling", CHILLED),
    "agent answer": says(503, "It is kept here and counted later", "Thank them for calling"),
    "api decision": says(200, BRAND, degraded=True),
    "api response": refused,
    "/": pages_own,
    "/demo/bank": pages_own,
    "/demo/inbox": says(200, "Your November letter", "/e/"),
    "/demo/product?to=https://bank.example/gold": says(200, "Our services"),
    "/demo/follow?mail=email.hero": says(303),
    "/healthz": says(200),
    "/readyz": says(503),
}
PAGES = {name for name in DOORS if name.startswith(("agent", "/demo"))} | {"/"}  # have two deadlines


async def answered(doors: Doors, rounds: int, *, pace_s: float = 0.0) -> tuple[dict[str, float], list[str]]:
    """The latest answer of each door in milliseconds, and every answer that is not as promised."""
    latest: dict[str, float] = dict.fromkeys(DOORS, 0.0)
    faults = []
    for number in range(rounds):
        next_s = time.monotonic() + pace_s
        for name, is_as_promised in DOORS.items():
            start_s = time.perf_counter()
            answer = await doors.ask(name, number)
            latest[name] = max(latest[name], 1000 * (time.perf_counter() - start_s))
            if not is_as_promised(answer, doors):
                faults.append(f"{name}: {answer.status_code} {answer.text[:300]!r}")
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))  # nobody is to be refused for haste
    return latest, faults


def silence(store: Node) -> None:
    """It accepts and never answers."""
    store.send(signal.SIGSTOP)


def kill(store: Node) -> None:
    """Its port refuses."""
    store.send(signal.SIGCONT)
    store.kill()


def load_slowly(store: Node) -> None:
    """It is back, and says that it is loading."""
    store.launch(*SLOWLY)


SCENES = (("silent", silence), ("killed", kill), ("loading", load_slowly))


async def scenes(doors: Doors, store: Node, rounds: int) -> list[str]:
    """Every scene, with its figures."""
    faults = []
    store.ask("BGREWRITEAOF")  # what is in its base is loaded as slowly as one likes
    while "aof_rewrite_in_progress:1" in store.ask("INFO", "persistence"):
        await asyncio.sleep(0.05)
    for title, begin in SCENES:
        begin(store)
        latest, wrong = await answered(doors, rounds, pace_s=1.5)
        faults += [f"{title}: {each}" for each in wrong]
        _print(title, latest)
    return faults


def _print(title: str, latest: dict[str, float]) -> None:
    print(f"\nstore {title}: the latest answer of each door, ms (deadline)")
    for name, ms in latest.items():
        deadline_ms = DEADLINE_MS * (2 if name in PAGES else 1)
        mark = "" if ms <= deadline_ms + MARGIN_MS else "  beyond the margin"
        print(f"  {name:44} {ms:6.0f} ({deadline_ms}){mark}")


async def started_without_store(base: str, doors: Doors) -> list[str]:
    """What a process shows that has never met the store, on a machine that knew a strategy."""
    async with httpx.AsyncClient(base_url=base, timeout=30, headers=BROWSER) as http:
        picture = await _brand_at_last(http, f"/e/{doors.mails[0]}.png", doors.brand["png"])
        told = {
            "picture": picture.status_code == 200,
            "json": says(200, BRAND, degraded=True)(await http.get(f"/e/{doors.mails[0]}.json"), doors),
            "click": leads_home(await http.get(f"/c/{doors.mails[0]}"), doors),
            "snippet": (await http.get("/nextbest.js")).status_code == 200,
            "decision": refused(await replace(doors, http=http).ask("api decision", 0), doors),
            "beacon": refused(await replace(doors, http=http).ask("page beacon", 0), doors),
            "agent": (await http.get("/console/agent")).status_code in (303, 503),
            "start": (await http.get("/")).status_code == 503,
        }
    return [f"started without the store: {name}" for name, is_so in told.items() if not is_so]


async def _brand_at_last(http: httpx.AsyncClient, path: str, brand: bytes) -> httpx.Response:
    """The picture once it is the brand's; in its first moment a process has a white one."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        try:
            if (answer := await http.get(path)).content == brand:
                return answer
        except httpx.TransportError:
            pass  # it does not listen yet
        await asyncio.sleep(0.05)
    raise TimeoutError("no brand picture in 30 s")


def main(rounds: int = 10) -> None:
    """All scenes; fails for an answer that is not as promised."""
    with tempfile.TemporaryDirectory() as name, installed(Path(name), deadline_ms=DEADLINE_MS) as (installation, store):
        faults = play(installation, store, rounds)
    for fault in faults:
        print(f"  {fault}")
    print(f"{rounds} rounds at {len(DOORS)} doors in {len(SCENES)} scenes: {len(faults)} answers not as promised")
    sys.exit("FAILED" if faults else None)


def play(installation: QuietInstallation, store: Node, rounds: int) -> list[str]:
    """The scenes, and the start without a store; what was not as promised."""
    _, base = installation.serve()

    async def run() -> list[str]:
        async with Doors.opened(base, store.url, rounds) as doors:
            faults = await scenes(doors, store, rounds)
            kill(store)
            port = free_port()
            process = installation.start("serve", "--port", str(port))
            faults += await started_without_store(f"http://127.0.0.1:{port}", doors)
            store.launch()
            while not await asyncio.to_thread(is_ready, f"http://127.0.0.1:{port}"):
                assert process.poll() is None
            return faults

    return asyncio.run(run())


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
