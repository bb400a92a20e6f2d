"""Publishing under load: no request fails, no answer mixes two strategies, every worker switches in time."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from api.publications import current_version, publish_strategy, roll_back, switch_strategy
from decisioning.catalog.load import load_bundle
from decisioning.store.redis import connect
from tests.decisioning.bank import FILES
from tests.service.conftest import CUSTOMER_COUNT, KEY, Installation

RATE_PER_S = 200
SECONDS_BETWEEN = 4.0
SWITCH_S_MAX = 2.0
CONNECTION_COUNT = 64
PLACEMENTS = {"web": ["web.hero", "web.tile"], "email": ["email.hero"]}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request."""

    sent_s: float
    answered_s: float
    status: int
    version: str
    is_consistent: bool  # all it shows is of the strategy it names
    degraded: bool


@dataclass(frozen=True, slots=True)
class Switch:
    """A strategy that was current from just after `at_s` until the next one."""

    at_s: float
    until_s: float
    version: str

    def wait_s(self, answers: Sequence[Answer]) -> float:
        """How long requests were still sent that another strategy answered."""
        during = [each for each in answers if self.at_s <= each.sent_s and each.answered_s < self.until_s]
        return max((each.sent_s - self.at_s for each in during if each.version != self.version), default=0.0)


def named_bundle(name: str) -> dict[str, bytes]:
    """The bank with a name in every text that it shows, so that content tells whose it is."""
    headline = re.compile(r"""(headline: (?:\{en: )?")|(hu: ")""")
    files = {
        path: text if path.startswith("content/") else headline.sub(rf"\g<0>{name} ", text)
        for path, text in FILES.items()
    }
    return {path: text.encode() for path, text in files.items()}


@pytest.mark.proof
@pytest.mark.parametrize("workers", [2, 4])
def test_four_switches_under_load_fail_no_request_and_mix_no_strategies(installation: Installation, workers: int):
    _, base = installation.serve(workers=workers)
    bundles = {
        load_bundle(files).version: (name, files) for name in ("ALPHA", "BETA") for files in [named_bundle(name)]
    }

    answers, switches = asyncio.run(loaded(installation.url, base, bundles))

    names = {version: name for version, (name, _) in bundles.items()}
    seconds = answers[-1].sent_s - answers[0].sent_s
    waits = [each.wait_s(answers) for each in switches]
    print(f"\n{workers} workers: {len(answers)} requests in {seconds:.1f} s, {len(answers) / seconds:.0f} a second")
    print(f"by status: {dict(Counter(each.status for each in answers))}")
    print(f"by strategy: {dict(Counter(names.get(each.version) for each in answers))}")
    print(f"until the last worker had switched: {', '.join(f'{wait:.2f} s' for wait in waits)}")
    assert len(answers) / seconds > 0.95 * RATE_PER_S
    assert {each.status for each in answers} == {200} and not any(each.degraded for each in answers)
    assert all(each.is_consistent for each in answers)
    assert max(waits) < SWITCH_S_MAX
    assert taken(base) == workers * (1 + 1 + len(switches))  # the bank's own, ALPHA, and every switch


async def loaded(
    url: str, base: str, bundles: dict[str, tuple[str, dict[str, bytes]]]
) -> tuple[list[Answer], list[Switch]]:
    """All answers in the order they were sent, and what was switched when."""
    store = connect(url, deadline_ms=5000)
    (_, (_, alpha_files)), (beta, (_, beta_files)) = bundles.items()
    await publish_strategy(store, alpha_files, load_bundle(alpha_files))
    await asyncio.sleep(SECONDS_BETWEEN)
    load = Load({version: name for version, (name, _) in bundles.items()})
    asking = asyncio.create_task(load.keep_asking(base))
    await asyncio.sleep(1)
    steps: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: publish_strategy(store, beta_files, load_bundle(beta_files)),
        lambda: roll_back(store),
        lambda: switch_strategy(store, beta[:12]),
        lambda: roll_back(store),
    ]
    switches = []
    for step in steps:
        at_s = time.monotonic()
        await step()
        await asyncio.sleep(SECONDS_BETWEEN)
        switches.append(Switch(at_s, time.monotonic(), await current_version(store)))
    load.is_over = True
    await asking
    await store.close()
    return sorted(load.answers, key=lambda each: each.sent_s), switches


class Load:
    """Asks at the given rate, whatever the answers take."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self.answers: list[Answer] = []
        self.is_over = False

    async def keep_asking(self, base: str) -> None:
        host, port = base.removeprefix("http://").split(":")
        connections: asyncio.Queue[Connection] = asyncio.Queue()
        for _ in range(CONNECTION_COUNT):
            connections.put_nowait(await Connection.to(host, int(port)))
        started_s, number, asked = time.monotonic(), 0, set()
        while not self.is_over:
            number += 1
            asked.add(task := asyncio.create_task(self._ask(number, connections)))
            task.add_done_callback(asked.discard)
            await asyncio.sleep(max(0.0, started_s + number / RATE_PER_S - time.monotonic()))
        await asyncio.gather(*asked)
        while not connections.empty():
            connections.get_nowait().close()

    async def _ask(self, number: int, connections: asyncio.Queue[Connection]) -> None:
        channel = "email" if number % 3 == 0 else "web"
        customer = {"id": f"C-{number % CUSTOMER_COUNT + 1:05d}"}
        connection = await connections.get()
        sent_s = time.monotonic()
        body = {"customer": customer, "channel": channel, "placements": PLACEMENTS[channel]}
        try:
            status, said = await connection.post("/v1/decisions", body)
        except (OSError, asyncio.IncompleteReadError):
            self.answers.append(Answer(sent_s, time.monotonic(), 0, "", False, False))
            return
        connections.put_nowait(connection)
        version = said["versions"]["strategy"] if status == 200 else ""
        name = self._names.get(version, "unknown")
        shown = [each["content"]["headline"] for each in said.get("placements", ()) if each["content"]]
        is_consistent = all(each.startswith(f"{name} ") for each in shown)
        self.answers.append(
            Answer(sent_s, time.monotonic(), status, version, is_consistent, said.get("degraded", False))
        )


class Connection:
    """One kept-alive connection. A full client would take as much of the machine as the service under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, host: str, port: int) -> Connection:
        return cls(*await asyncio.open_connection(host, port))

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        raw = orjson.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: desk\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
        keys = "".join(f"{name}: {value}\r\n" for name, value in KEY.items())
        self._writer.write(f"{head}{keys}\r\n".encode() + raw)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        assert length is not None, answer
        return int(answer.split(b" ", 2)[1]), orjson.loads(await self._reader.readexactly(int(length[1])))

    def close(self) -> None:
        self._writer.close()


def taken(base: str) -> int:
    """How many strategies all workers together have taken up."""
    text = httpx.get(f"{base}/metrics").text
    found = re.search(r'^deployments_total\{part="strategy",result="taken"\} ([0-9.]+)$', text, re.M)
    return int(float(found[1])) if found else 0
