"""The whole service as processes: what a crash, a publish or a parent's death does to it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from decisioning.history.reader import open_history
from tests.decisioning.bank import FILES, GOLD, SILVER
from tests.service.conftest import KEY, Installation, write

CLIENTS = 4
KILLS = 3


def customer(number: int) -> str:
    return f"C-{number % 300 + 1:05d}"


def ask(http: httpx.Client, number: int, placement: str = "web.hero") -> dict:
    body = {"customer": {"id": customer(number)}, "channel": placement.split(".")[0], "placements": [placement]}
    answer = http.post("/v1/decisions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_accepted_in_one_channel_changes_the_next_answer_in_every_channel(installation: Installation):
    _, base = installation.serve()
    with httpx.Client(base_url=base, headers=KEY) as http:
        offered = next(
            answer for number in range(201, 300, 10) if (answer := ask(http, number))["placements"][0]["action"] == GOLD
        )
        number = int(offered["customer_id"][2:]) - 1
        assert ask(http, number, "email.hero")["placements"][0]["action"] == GOLD
        told = http.post(
            "/v1/responses", json={"event_token": offered["placements"][0]["event_token"], "outcome": "accepted"}
        )
        assert told.json()["status"] == "counted"

        on_web, in_mail = (ask(http, number, name)["placements"][0] for name in ("web.hero", "email.hero"))
        assert on_web["action"] == in_mail["action"] != GOLD
        assert f"answered:accepted:{GOLD}" in on_web["reasons"]


def test_withdrawn_consent_holds_on_the_very_next_answer(installation: Installation):
    _, base = installation.serve(workers=2)
    with httpx.Client(base_url=base, headers=KEY) as http:
        for number in range(201, 300, 10):
            assert ask(http, number, "email.hero")["placements"][0]["outcome"] != "nothing"
            withdrawal = [{"channel": "email", "purpose": "marketing", "granted": False}]
            assert http.put(f"/v1/customers/{customer(number)}/consents", json=withdrawal).status_code == 200

            assert ask(http, number, "email.hero")["placements"][0]["outcome"] == "nothing"
            assert ask(http, number, "web.hero")["placements"][0]["outcome"] != "nothing"


def test_a_server_killed_under_load_keeps_every_acknowledged_response_once(installation: Installation):
    """Clients answer what they were offered and remember what was acknowledged, while the server is killed again and
    again.
    """
    process, base = installation.serve()
    acknowledged: set[str] = set()
    stop = threading.Event()
    address = [base]

    def client(first: int) -> None:
        number = first
        with httpx.Client(headers=KEY, timeout=2) as http:
            while not stop.is_set():
                number += CLIENTS
                conversion = {
                    "customer": {"id": customer(number)},
                    "action": SILVER,
                    "outcome": "converted",
                    "idempotency_key": f"{number}",
                }
                try:
                    for _ in range(2):  # every response is sent twice, as a client does that missed the answer
                        answer = http.post(f"{address[0]}/v1/responses", json=conversion)
                        if answer.status_code == 200:
                            acknowledged.add(answer.json()["response_id"])
                except httpx.TransportError:
                    time.sleep(0.05)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for _ in range(KILLS):
        time.sleep(0.7)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process, address[0] = installation.serve()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()

    counted = logged_responses(installation.url)
    print(f"{len(acknowledged)} acknowledged, {len(counted)} logged, {KILLS} kills")
    assert len(acknowledged) > 100
    assert acknowledged <= set(counted)
    assert len(counted) == len(set(counted))
    assert sorted(moved_responses(installation, len(counted))) == sorted(counted)


def moved_responses(installation: Installation, expected: int) -> list[str]:
    """Response ids in history, after a worker that was killed while it moved them and another that finished."""
    worker = installation.start("worker")
    time.sleep(4)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    installation.start("worker")
    deadline_s = time.monotonic() + 60
    found: list[str] = []
    while len(found) < expected and time.monotonic() < deadline_s:
        time.sleep(0.5)
        if (installation.data_dir / "history").exists():
            with open_history(installation.data_dir / "history") as history:
                found = [row[0] for row in history.execute("SELECT response_id FROM responses").fetchall()]
    return found


def logged_responses(url: str) -> list[str]:
    import asyncio

    from decisioning.store.packing import parsed
    from decisioning.store.redis import connect

    async def read() -> list[str]:
        store = connect(url, deadline_ms=5000)
        entries = [
            entry for partition in range(256) for entry in await store.log(partition, after="0-0", limit=100_000)
        ]
        await store.close()
        return [entry.record.record_id for entry in entries if parsed(entry.record.body)["kind"] == "response"]

    return asyncio.run(read())


def test_a_publish_reaches_running_workers_and_a_faulty_one_does_not(installation: Installation, tmp_path: Path):
    _, base = installation.serve(workers=2)
    before = httpx.get(f"{base}/readyz").json()["strategy"]

    broken = write(
        tmp_path / "broken",
        {**FILES, "actions/loans.yaml": FILES["actions/loans.yaml"].replace("context.page", "context.pgae")},
    )
    refused = installation.command("publish", str(broken))
    assert refused.returncode == 1
    assert "actions/loans.yaml:9:28" in refused.stderr and "page" in refused.stderr
    assert versions_at(base) == {before}

    changed = write(
        tmp_path / "changed", {**FILES, "actions/brand.yaml": FILES["actions/brand.yaml"].replace("0.8", "0.9")}
    )
    assert installation.command("publish", str(changed)).returncode == 0
    deadline_s = time.monotonic() + 10
    while before in (seen := versions_at(base)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert len(seen) == 1 and before not in seen


def versions_at(base: str) -> set[str]:
    """Strategy versions that several connections, and so both workers, see."""
    return {httpx.get(f"{base}/readyz").json()["strategy"] for _ in range(12)}


def test_a_key_is_made_used_and_removed(installation: Installation):
    _, base = installation.serve()
    made = installation.command("keys", "add", "shop", "--scope", "decide")
    secret = made.stdout.strip()
    body = {"customer": {"id": "C-00001"}, "channel": "web", "placements": ["web.hero"]}

    def status() -> int:
        return httpx.post(f"{base}/v1/decisions", json=body, headers={"Authorization": f"Bearer {secret}"}).status_code

    wait_for(lambda: status() == 200)
    assert installation.command("keys", "remove", "shop").returncode == 0
    wait_for(lambda: status() == 401)


def wait_for(condition, *, seconds: float = 10) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_several_workers_end_with_the_process_that_started_them(installation: Installation, number: int):
    process, base = installation.serve(workers=2)

    process.send_signal(number)
    process.wait(15)

    wait_for(lambda: not children_of_session(process.pid), seconds=15)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{base}/healthz", timeout=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_is_stopped_leaves_no_folder_behind(installation: Installation, tmp_path: Path, workers: int):
    folder = tmp_path / "temporary"
    folder.mkdir()
    installation.environment["TMPDIR"] = str(folder)
    process, _ = installation.serve(workers=workers)

    process.terminate()
    process.wait(15)

    assert list(folder.iterdir()) == []


def children_of_session(session: int) -> list[str]:
    """Living processes of the session."""
    listed = subprocess.run(
        ["ps", "-s", str(session), "-o", "stat=,args="], capture_output=True, text=True
    ).stdout.splitlines()
    return [line for line in listed if not line.startswith("Z")]


def test_a_serving_process_carries_no_training_or_table_library(installation: Installation):
    process, base = installation.serve()
    ask(httpx.Client(base_url=base, headers=KEY), 1)

    mapped = Path(f"/proc/{process.pid}/maps").read_text()

    assert not [name for name in ("sklearn", "scipy", "pandas", "duckdb") if f"/{name}" in mapped]
