"""The whole service as processes, on a store of three nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from decisioning.history.reader import open_history
from tests.decisioning.bank import FILES
from tests.service.conftest import KEY, Installation, furnish, trained, write
from tests.store.conftest import emptied
from tests.store.nodes import ClusterOfNodes, nodes_of, wait_until

CUSTOMERS = [f"C-{number:05d}" for number in range(1, 31)]


@pytest.fixture
async def installation(tmp_path: Path, cluster: ClusterOfNodes) -> Iterator[Installation]:
    await furnish(emptied(cluster), trained(tmp_path / "models"))
    installed = Installation(tmp_path, cluster.url)
    yield installed
    installed.end()


def decide(http: httpx.Client, customer: str) -> dict[str, Any]:
    body = {"customer": {"id": customer}, "channel": "web", "placements": ["web.hero"]}
    answer = http.post("/v1/decisions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def recorded(history: Path, dataset: str) -> int:
    if not history.exists():
        return 0
    with open_history(history) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {dataset}").fetchall()[0][0])


async def test_everything_works_on_three_nodes(
    installation: Installation, cluster: ClusterOfNodes, tmp_path: Path
) -> None:
    """Deciding, answering, learning, publishing, moving to history, explaining and erasing."""
    installation.start("worker")
    _, base = installation.serve()
    with httpx.Client(base_url=base, headers=KEY, timeout=10) as http:
        decided = [decide(http, customer) for customer in CUSTOMERS]
        assert not any(each["degraded"] for each in decided)
        told = [
            {"event_token": placed["event_token"], "outcome": "accepted"}
            for each in decided
            for placed in each["placements"]
            if placed["outcome"] == "offer"
        ]
        for status in ("counted", "repeated"):
            answered = http.post("/v1/responses", json={"responses": told}).json()["responses"]
            assert {each["status"] for each in answered} == {status}

        wait_until(lambda: learnt(http))
        assert decide(http, CUSTOMERS[0])["versions"]["model_state"] is not None

        changed = {**FILES, "actions/brand.yaml": FILES["actions/brand.yaml"].replace("0.8", "0.9")}
        published = installation.command("publish", str(write(tmp_path / "changed", changed)))
        assert published.returncode == 0, published.stderr
        wait_until(lambda: decide(http, CUSTOMERS[1])["versions"]["strategy"] != decided[0]["versions"]["strategy"])

        wait_until(lambda: recorded(tmp_path / "history", "responses") == len(told))
        assert http.get(f"/v1/decisions/{decided[2]['decision_id']}").json()["reproduced"] is True
        assert http.delete(f"/v1/customers/{CUSTOMERS[2]}").status_code in (200, 204)

    keys = keys_of(cluster)
    assert not any(key.endswith(f":c:{CUSTOMERS[2]}") for node in keys for key in node)
    assert all(any(key.endswith(":log") for key in node) for node in keys)


def learnt(http: httpx.Client) -> bool:
    return any(
        float(each) > 0 for each in re.findall(r"^model_state(?:\{[^}]*\})? (\S+)$", http.get("/metrics").text, re.M)
    )


def keys_of(cluster: ClusterOfNodes) -> list[list[str]]:
    """What each node holds."""
    found = []
    for url in nodes_of(cluster.url):
        with redis.Redis.from_url(url, decode_responses=True) as client:
            found.append(list(client.scan_iter(count=1000)))
    return found
