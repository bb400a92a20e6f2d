"""The commands that look back: what was decided comes out the same, and is explained, until somebody is erased."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx

from decisioning.customer import PARTITION_COUNT
from decisioning.store.redis import connect
from tests.any_order.operations import READERS
from tests.decisioning.bank import FILES, GOLD, SILVER
from tests.history.test_killed import contents, start_worker
from tests.proofs.mailroom import Mailroom
from tests.service.conftest import KEY, Installation, write

MAILED = [("C-00003", "proxy"), ("C-00003", "unknown"), ("C-00003", "person"), ("C-00003", "proxy")]
RICH, POOR = "C-00299", "C-00002"  # incomes of 6,460 and 520: gold for the one, silver for the other


def test_recorded_decisions_are_replayed_and_explained_from_history(installation: Installation, tmp_path: Path):
    rich, poor, mailed = decided(installation)
    asyncio.run(emptied(installation.url))  # what is explained now comes from history
    dearer = {**FILES, "actions/cards.yaml": FILES["actions/cards.yaml"].replace("50.0", "5000.0")}
    other = ("--strategy", str(write(tmp_path / "dearer", dearer)), "--group-by", "customer.tier")

    replayed = installation.command("replay")
    compared = json.loads(installation.command("replay", "--json", *other).stdout)
    told = installation.command("replay", *other).stdout
    explained = installation.command("explain", poor)
    explained_mail = installation.command("explain", mailed)
    erase(installation, RICH)
    after = json.loads(installation.command("replay", "--json").stdout)
    gone = installation.command("explain", rich)

    assert replayed.returncode == 0 and "7 came out the same, 0 differently" in replayed.stdout
    moves = [{"from": GOLD, "to": SILVER, "placements": 1}]
    assert (compared["decided"], compared["overall"]["moves"]) == (7, moves)  # an e-mail renders what is promised
    assert compared["groups"] == []  # two people are too few to be told about
    assert f"{GOLD} -> {SILVER}  1" in told and RICH not in told
    assert explained.returncode == 0 and "it comes out the same" in explained.stdout
    assert f"Yes: the offer of '{SILVER}' comes in web.hero." in explained.stdout
    assert "which is 520.0" in explained.stdout
    assert explained_mail.returncode == 0 and "it comes out the same" in explained_mail.stdout
    assert f"Yes: the offer of '{SILVER}' comes in email.hero." in explained_mail.stdout
    assert (after["decisions"], after["erased"], after["reproduced"]) == (7, 2, 5)
    assert gone.returncode == 1 and "erased" in gone.stderr


def decided(installation: Installation) -> tuple[str, str, str]:
    """Decisions about the rich, the poor, and the rich in another channel, and mails to others opened by whoever does
    that, moved to history; the first two, and the first of a mail.
    """
    _, base = installation.serve()
    asked = [(RICH, "web"), (POOR, "web"), (RICH, "email")]
    with httpx.Client(base_url=base, headers=KEY) as http:
        bodies = [{"customer": {"id": who}, "channel": where, "placements": [f"{where}.hero"]} for who, where in asked]
        rich, poor, _ = [http.post("/v1/decisions", json=body).json()["decision_id"] for body in bodies]
        asked += MAILED
        room = Mailroom.at(installation.url)
        mailed = [opened(http, room, customer, by) for customer, by in MAILED]
    history = installation.data_dir / "history"
    worker = start_worker(installation.url, history)
    try:
        deadline_s = time.monotonic() + 60
        while len(contents(history)[0]) < len(asked):
            assert time.monotonic() < deadline_s, "the decisions were not in history within a minute"
            time.sleep(0.1)
    finally:
        worker.terminate()
        worker.wait()
    return rich, poor, mailed[0]


def opened(http: httpx.Client, room: Mailroom, customer: str, by: str) -> str:
    """A new mail's picture is fetched; the decision that chose it."""
    assert http.get(f"/e/{room.token(customer)}.png", headers=READERS[by]).status_code == 200
    mails = http.get(f"/v1/customers/{customer}").json()["mails"]
    return str(mails[-1]["decision_id"])


def erase(installation: Installation, customer: str) -> None:
    async def erased() -> None:
        store = connect(installation.url, deadline_ms=5000)
        assert await store.erase(customer)
        await store.close()

    asyncio.run(erased())


async def emptied(url: str) -> None:
    store = connect(url, deadline_ms=5000)
    for partition in range(PARTITION_COUNT):
        await store.trim(partition, before=f"{2**60}-0")
    await store.close()
