"""The example decides for many customers in all its channels: without errors, with reasons, with every outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from decisioning.catalog.load import load_directory
from decisioning.history.load import load_customers
from decisioning.scoring import StatedScorer
from examples.retail_bank import measure
from examples.retail_bank.generate import generate, lines_of
from tests.api.desk import Desk
from tests.service.conftest import KEY, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "retail_bank"
CHANNELS = {
    "web": ["web.home.hero", "web.home.tile"],
    "email": ["email.hero"],
    "call_center": ["call_center.next_action"],
}


def fault_of(answer: dict) -> str | None:
    """What is wrong with one answer of the example; None when nothing is."""
    actions = [each["action"] for each in answer["placements"] if each["action"]]
    if answer["degraded"]:
        return "degraded"
    if len(actions) != len(set(actions)):
        return "one action twice"
    if not all(each["reasons"] for each in answer["placements"]):
        return "no reasons"
    if any((each["outcome"] == "nothing") != (each["content"] is None) for each in answer["placements"]):
        return "content missing, or nothing with content"
    return None


@pytest.mark.anyio
async def test_three_hundred_customers_in_three_channels(tmp_path: Path):
    strategy = load_directory(EXAMPLE)
    customers, _ = generate(seed=3, count=300, end=datetime.now(UTC))
    table = tmp_path / "customers.jsonl"
    table.write_text("".join(lines_of(customers)), encoding="utf-8")
    desk = Desk(bank=strategy, propensities={"default": 0.06})
    summary = await load_customers(
        [table],
        strategy.schema,
        desk.store,
        channels=strategy.channels,
        at_ms=time.time_ns() // 1_000_000,
        rejects_path=tmp_path / "rejects.csv",
        progress=lambda done, total: None,
    )
    assert (summary.loaded, summary.rejected) == (300, 0)

    outcomes: Counter[str] = Counter()
    for customer in customers:
        for placements in CHANNELS.values():
            answer = await desk.ask(*placements, customer=customer["customer_id"])
            assert fault_of(answer) is None, answer
            assert all(
                each["action"] is None or each["action"].startswith("service/")
                for each in answer["placements"]
                if answer["holdout"]
            )
            outcomes.update(each["outcome"] for each in answer["placements"] if not answer["holdout"])

    assert outcomes.keys() == {"offer", "message", "nothing"}


async def test_policies_are_valued_by_the_truth_and_none_beats_the_oracle():
    strategy = load_directory(EXAMPLE)
    customers, _ = generate(seed=3, count=60, end=datetime.now(UTC))
    rows = [json.loads(line) for line in lines_of(customers)]

    values = measure.values_of(
        "web.home.hero", strategy, StatedScorer(strategy, {"default": 0.05}), await measure.stored(strategy, rows), rows
    )

    assert values.keys() == set(measure.POLICIES)
    for policy in measure.POLICIES:
        assert (values[policy] <= values["oracle"] + 1e-9).all()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    """The example as `make run` starts it, on its own data directory."""
    if not (EXAMPLE / "generated").exists():
        subprocess.run([sys.executable, str(EXAMPLE / "generate.py")], check=True)
    port = free_port()
    environment = {**os.environ, "NEXTBEST_DATA_DIR": str(tmp_path), "NEXTBEST_DEADLINE_MS": "5000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "run", str(EXAMPLE), "--port", str(port)],
        env=environment,
        start_new_session=True,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        deadline_s = time.monotonic() + 180
        while not is_ready(base):
            assert process.poll() is None and time.monotonic() < deadline_s, "it did not become ready"
            time.sleep(0.2)
        yield base
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.proof
def test_a_thousand_customers_in_three_channels_over_http(running: str):
    outcomes: Counter[tuple[str, str]] = Counter()
    faults: Counter[str] = Counter()
    leased = agreeing = 0
    with httpx.Client(base_url=running, headers=KEY, timeout=10) as http:
        for number in range(1, 1001):
            offers = []
            for channel, placements in CHANNELS.items():
                body = {"customer": {"id": f"C-{number:05d}"}, "channel": channel, "placements": placements}
                answer = http.post("/v1/decisions", json=body)
                assert answer.status_code == 200, answer.text
                fault = fault_of(answer.json())
                faults.update([fault] if fault else [])
                if not answer.json()["holdout"]:
                    outcomes.update((channel, each["outcome"]) for each in answer.json()["placements"])
                offers.append(
                    next((each["action"] for each in answer.json()["placements"] if each["outcome"] == "offer"), None)
                )
            shown = [offer for offer in offers if offer is not None]
            if len(shown) > 1:
                leased += 1
                agreeing += len(set(shown)) == 1
    print(
        json.dumps(
            {
                "outcomes": {f"{channel}.{outcome}": count for (channel, outcome), count in sorted(outcomes.items())},
                "faults": faults,
                "offer in several channels": leased,
                "the same offer": agreeing,
            }
        )
    )
    assert not faults
    assert agreeing == leased
    assert {outcome for _, outcome in outcomes} == {"offer", "message", "nothing"}
