"""A response is seen in the next decisions of every serving process, through a real worker and a real store."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
import pytest

from tests.service.conftest import KEY, Installation

PATIENCE_S = 60  # a busy machine is no reason to fail; only the proof asserts a time
PROBE = "C-00200"  # never committed to: the same question has the same answer until a model moves


def decide(base: str, customer: str, **more: Any) -> dict[str, Any]:
    body = {"customer": {"id": customer}, "channel": "web", "placements": ["web.hero"], **more}
    answer = httpx.post(f"{base}/v1/decisions", json=body, headers=KEY, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def probe(base: str) -> tuple[str | None, str, float]:
    """The model state that decides, and what it says about one customer."""
    answer = decide(base, PROBE, dry_run=True)
    [placed] = answer["placements"]
    return answer["versions"]["model_state"], placed["action"], placed["propensity"]


def oldest_state(base: str) -> int:
    """The lowest number of a model state among the serving processes."""
    text = httpx.get(f"{base}/metrics", timeout=10).text
    numbers = re.findall(r"^model_state(?:\{[^}]*\})? (\S+)$", text, re.M)
    return min((int(float(each)) for each in numbers), default=0)


def is_reproduced(base: str, decided: dict[str, Any]) -> bool:
    """Whether a decision made again in its state is the same to the last digit."""
    told = httpx.get(f"{base}/v1/decisions/{decided['decision_id']}", headers=KEY, timeout=30).json()
    return told["reproduced"] is True


def answered(base: str, customer: str) -> float:
    """Let a customer accept what is decided; seconds until every serving process decides with that."""
    decision = decide(base, customer)
    state, before = oldest_state(base), probe(base)
    response = {"event_token": decision["placements"][0]["event_token"], "outcome": "accepted"}
    start_s = time.monotonic()
    assert httpx.post(f"{base}/v1/responses", json=response, headers=KEY, timeout=10).status_code == 200
    while oldest_state(base) <= state:
        assert time.monotonic() - start_s < PATIENCE_S, "no serving process has learnt"
        time.sleep(0.02)
    taken_s = time.monotonic() - start_s
    after = {probe(base) for _ in range(20)}
    assert len(after) == 1, "serving processes differ"
    [(number, *numbers)] = after
    assert number is not None and number != before[0] and tuple(numbers) != before[1:]
    return taken_s


def test_a_response_moves_the_next_decisions_and_replays_name_the_state(installation: Installation) -> None:
    installation.start("worker")
    _, base = installation.serve()
    first = decide(base, PROBE, dry_run=True)
    assert first["versions"]["model_state"] is None

    answered(base, "C-00150")

    decided = decide(base, "C-00152")
    assert decided["versions"]["model_state"] == "1"
    assert is_reproduced(base, decided)


@pytest.mark.proof
def test_a_response_is_visible_within_5_s_on_four_serving_processes(installation: Installation) -> None:
    installation.start("worker")
    _, base = installation.serve(workers=4)

    customers = [f"C-{number:05d}" for number in range(101, 130) if number % 10 != 1]  # those are shown an alert
    answered(base, "C-00152")
    early = decide(base, "C-00153")

    seconds = sorted(answered(base, each) for each in customers[:20])

    assert is_reproduced(base, early), "its state is long gone, and was not rebuilt"
    print(f"seen by all four after {seconds[len(seconds) // 2]:.2f} s (median), {seconds[-1]:.2f} s (worst of 20)")
    assert seconds[-1] <= 5.0
