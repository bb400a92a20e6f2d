"""The journal in real processes: the store hangs, a thousand links are followed, the server is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import httpx

from api.email.tokens import sealed
from api.instants import wall_ms
from api.tokens import installation_sealer
from decisioning.customer import PARTITION_COUNT
from decisioning.interactions import DAY_MS
from decisioning.store.packing import parsed
from decisioning.store.redis import connect
from tests.service.conftest import CUSTOMER_COUNT, Installation

TOKEN_COUNT = 1_000
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
           "accept-language": "en", "sec-fetch-user": "?1"}  # fmt: skip
APPLE = {"user-agent": "Mozilla/5.0"}


async def mails(url: str) -> list[str]:
    """Tokens of yesterday's mails."""
    store = connect(url, deadline_ms=5_000)
    sealer = await installation_sealer(store)
    await store.close()
    now_ms = wall_ms()
    names = [f"C-{number % CUSTOMER_COUNT + 1:05d}" for number in range(TOKEN_COUNT)]
    times = {"expires_ms": now_ms + DAY_MS, "made_ms": now_ms - DAY_MS}
    return [sealed(sealer, name, "email.hero", message="m", **times) for name in names]


async def fetched(base: str, paths: list[str], by: dict[str, str]) -> list[httpx.Response]:
    """All of them, forty at a time."""
    gate = asyncio.Semaphore(40)
    async with httpx.AsyncClient(base_url=base, headers=by, timeout=30) as http:

        async def one(path: str) -> httpx.Response:
            async with gate:
                return await http.get(path)

        return list(await asyncio.gather(*(one(path) for path in paths)))


async def followed(url: str) -> list[str]:
    """The ids of the notes in the log that a link was followed."""
    store = connect(url, deadline_ms=5_000)
    found = []
    for partition in range(PARTITION_COUNT):
        entries = await store.log(partition, after="0-0", limit=100_000)
        found += [entry.record.record_id for entry in entries if parsed(entry.record.body).get("outcome") == "followed"]
    await store.close()
    return found


def test_a_thousand_links_followed_while_the_store_hangs_are_noted_once_after_a_kill(
    installation: Installation,
) -> None:
    installation.environment["NEXTBEST_DEADLINE_MS"] = "1000"
    server, base = installation.serve()
    tokens = asyncio.run(mails(installation.url))
    pictures = asyncio.run(fetched(base, [f"/e/{token}.png" for token in tokens], APPLE))
    store_pid = _store_pid(installation.data_dir)

    os.kill(store_pid, signal.SIGSTOP)
    try:
        links = asyncio.run(fetched(base, [f"/c/{token}" for token in tokens], BROWSER))
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    finally:
        os.kill(store_pid, signal.SIGCONT)
    kept = list((installation.data_dir / "journal").iterdir())
    installation.serve()
    deadline_s = time.monotonic() + 60
    while any((installation.data_dir / "journal").iterdir()):
        assert time.monotonic() < deadline_s, "the journal was not replayed within a minute"
        time.sleep(0.2)

    assert {answer.status_code for answer in pictures} == {200} and len(kept) == 1
    assert {answer.status_code for answer in links} == {200}  # this bank's mails have no address to lead to
    notes = asyncio.run(followed(installation.url))
    assert len(notes) == len(set(notes)) == TOKEN_COUNT


def _store_pid(data_dir: Path) -> int:
    """Of the server that the installation's store runs in."""
    return int((data_dir / "store" / "lock").read_text().split()[0])
