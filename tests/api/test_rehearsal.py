"""Rehearsal: everything has been decided once before the first customer comes, and nobody can tell."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from api import rehearsal
from api.deployed import Deployed
from api.rehearsal import rehearse
from decisioning.catalog.load import load_directory
from decisioning.customer import Snapshot
from decisioning.learning.model_state import Standing, pack, states_of
from decisioning.records import Versions
from decisioning.request import Decision, Request
from decisioning.scoring import StatedScorer, load_model
from models.adaptive import Learner
from tests.api.test_live import Process
from tests.decisioning.bank import FILES

NOW_MS = 1_790_000_000_000
BANK = load_directory(Path(__file__).parents[2] / "examples/retail_bank")
DEPLOYED = Deployed(BANK, StatedScorer(BANK, {"default": 0.02}), Versions(BANK.version, "stated"))


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, Snapshot, Decision]]:
    """What was rehearsed."""
    plain, seen = rehearsal.decide, []

    def decide(request: Request, snapshot: Snapshot, *rest: Any, **more: Any) -> Decision:
        decision = plain(request, snapshot, *rest, **more)
        seen.append((request, snapshot, decision))
        return decision

    monkeypatch.setattr(rehearsal, "decide", decide)
    return seen


async def test_every_placement_is_rehearsed_for_customers_known_and_unknown(decided: list[Any]) -> None:
    await rehearse(DEPLOYED, now_ms=NOW_MS)

    for known in (True, False):
        cases = [request for request, snapshot, _ in decided if (snapshot.profile is not None) is known]
        asked = {name for request in cases for name in request.placements}
        assert asked == set(BANK.placements)
    reasons = {placed.reasons[0] for _, _, decision in decided for placed in decision.placements}
    assert {"lease", "won_arbitration"} <= reasons
    assert len(decided) < 1_000


async def test_a_rehearsal_counts_nothing_and_gives_way_between_two_decisions(decided: list[Any]) -> None:
    before = counted()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await rehearse(DEPLOYED, now_ms=NOW_MS)
    beside.cancel()

    assert turns >= len(decided) > 0
    assert counted() == before


async def test_a_rehearsal_that_fails_is_told_and_keeps_nobody_from_deciding(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rehearsal, "decide", lambda *_, **__: 1 / 0)

    with caplog.at_level(logging.ERROR, logger="nextbest"):
        await rehearse(DEPLOYED, now_ms=NOW_MS)

    assert "ended early" in caplog.text


async def test_what_is_taken_up_is_rehearsed_before_it_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(tmp_path)
    in_force: list[tuple[str, str | None]] = []

    async def rehearsed(deployed: Deployed, *, now_ms: int) -> None:
        current = process.live.current
        in_force.append((deployed.versions.strategy, None if current is None else current.versions.strategy))

    monkeypatch.setattr("api.live.rehearse", rehearsed)
    first = await process.publish()
    await process.promote()
    second = await process.publish(**{"strategy.yaml": f"{FILES['strategy.yaml']}\n"})
    await process.live.refresh()
    await process.live.refresh()

    assert in_force == [(first, None), (second, first)]
    await publish_state(process)
    assert process.live.current is not None
    assert process.live.current.versions.model_state == "1"
    assert len(in_force) == 2  # a state alone makes nothing anew


async def publish_state(process: Process) -> None:
    """As the learner does, every few seconds."""
    assert process.live.current is not None
    model = load_model(process.models_dir / process.live.current.versions.model)
    standing = pack(Standing(1, NOW_MS, {}), Learner(model, half_life=60.0))
    await process.store.append(states_of(model.version), 1, standing)
    await process.live.refresh()


def counted() -> dict[str, float]:
    """All counters of this process that belong to decisions."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if metric.name.startswith(("placements", "candidates", "decision", "degraded"))
    }
