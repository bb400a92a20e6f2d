"""A model learnt from what an installation decided and was answered, by one command, while it runs."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from decisioning.history.reader import open_history
from decisioning.scoring import load_model
from tests.decisioning.bank import GOLD, SILVER
from tests.service.conftest import CUSTOMER_COUNT, KEY, Installation


def answered(installation: Installation) -> list[tuple[str]]:
    with closing(open_history(installation.data_dir / "history")) as history:
        return history.execute("SELECT response_id FROM responses").fetchall()


@pytest.mark.proof
def test_what_was_answered_becomes_a_model_that_leaves_out_the_erased(installation: Installation, tmp_path: Path):
    """The richer half says yes; whoever was asked has seen it; one of them is erased before the training."""
    _, base = installation.serve()
    offered: dict[str, str] = {}
    with httpx.Client(base_url=base, headers=KEY) as http:
        for number in range(1, CUSTOMER_COUNT + 1):
            customer = f"C-{number:05d}"
            body = {"customer": {"id": customer}, "channel": "web", "placements": ["web.hero"]}
            [placed] = http.post("/v1/decisions", json=body).json()["placements"]
            if placed["action"] in (GOLD, SILVER):
                offered[customer] = placed["action"]
                outcome = "accepted" if number > CUSTOMER_COUNT / 2 else "impression"
                told = {"event_token": placed["event_token"], "outcome": outcome}
                assert http.post("/v1/responses", json=told).status_code == 200
        assert http.delete(f"/v1/customers/{min(offered)}").status_code in (200, 204)
    installation.start("worker")
    deadline_s = time.monotonic() + 60
    while len(answered(installation)) < len(offered):
        assert time.monotonic() < deadline_s, "the answers were not in history within a minute"
        time.sleep(0.2)

    trained = installation.command("train", "--recorded", "--out", str(tmp_path / "own"))

    assert trained.returncode == 0, trained.stderr
    lines = trained.stdout.splitlines()
    assert f"{len(offered) - 1:,} rows of {len(offered) - 1:,} persons" in trained.stdout
    assert "left out: 1 not to be opened, because the person was erased" in trained.stdout
    model = load_model(Path(lines[-1]))
    poor, rich = (model.paired([GOLD]).scores({"customer.income": each}).propensity[0] for each in (900.0, 5900.0))
    assert rich > poor + 0.2
    report = json.loads((Path(lines[-1]) / "report.json").read_text())
    assert report["overall"]["rows"] == len(offered) - 1
    print(f"{len(offered) - 1} answered offers; gold for an income of 900 {poor:.3f}, of 5,900 {rich:.3f}")
