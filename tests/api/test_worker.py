"""The worker's two jobs: moving history goes on when learning breaks."""

from __future__ import annotations

import asyncio

import pytest

from api.cli import worker


def test_a_learner_that_breaks_is_told_and_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "BROKEN_PAUSE_S", 0.0)
    begun: list[int] = []

    async def job() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise RuntimeError("a record nobody expected")

    asyncio.run(worker._again_and_again(job, asyncio.Event()))

    assert begun == [0, 1, 2]
    assert caplog.text.count("the learner broke") == 2
