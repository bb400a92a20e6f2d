"""Metrics of several serving processes, told by any of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.api.desk import Desk

pytestmark = pytest.mark.anyio

NOBODY = 2**22 + 1  # beyond any process id of Linux


async def test_the_gauges_of_a_worker_that_died_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    dead, living, counts = (f"gauge_livemin_{NOBODY}.db", f"gauge_livemin_{os.getpid()}.db", f"counter_{NOBODY}.db")
    for name in (dead, living, counts):
        (tmp_path / name).write_bytes(bytes(8))  # an empty one: nothing is used of it

    answer = await Desk().http.get("/metrics")

    assert answer.status_code == 200
    assert {each.name for each in tmp_path.iterdir()} == {living, counts}
