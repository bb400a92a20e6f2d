"""Models on a running service: what a command at a terminal changes about who decides."""

from __future__ import annotations

import asyncio
import csv
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner, Result

from api.cli.main import commands
from decisioning.errors import NextbestError, ReleaseRefused
from decisioning.store.redis import connect
from tests.api.models import saved
from tests.decisioning.bank import GOLD, SILVER
from tests.service.conftest import KEY, Installation
from tests.service.test_service import ask, wait_for

PERSON_COUNT = 150
MAPPING = """
customer: {column: id}
action: {column: action}
channel: {column: channel}
outcome: {column: answer, positive: ["yes"], negative: ["no"]}
features:
  customer.income: income
"""


class Terminal:
    """Runs commands in this process, which saves the seconds that a new one takes to start."""

    def __init__(self, installation: Installation, models_dir: Path) -> None:
        installation.environment["NEXTBEST_MODELS_DIR"] = str(models_dir)
        self._runner = CliRunner(env=installation.environment)

    def run(self, *words: str) -> Result:
        return self._runner.invoke(commands, ["models", *words])

    def tell(self, *words: str) -> list[str]:
        """The lines of a command that succeeds."""
        done = self.run(*words)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output.splitlines()


@pytest.fixture
def terminal(installation: Installation, tmp_path: Path) -> Terminal:
    return Terminal(installation, tmp_path / "models")


def test_promoted_rolled_back_and_tampered_models_reach_a_running_server(
    installation: Installation, terminal: Terminal, tmp_path: Path
):
    first, second, tampered = (saved(tmp_path / "models", shift) for shift in (0.0, 0.1, 0.2))
    terminal.tell("promote", first[:10])
    _, base = installation.serve()
    with httpx.Client(base_url=base, headers=KEY) as http:

        def decides(version: str) -> bool:
            return ask(http, 7)["versions"]["model"] == version

        assert decides(first)
        terminal.tell("promote", second[:10])
        wait_for(lambda: decides(second))
        assert terminal.tell("rollback") == [f"rolled back to model {first[:12]}"]
        wait_for(lambda: decides(first))
        weights = tmp_path / "models" / tampered / "weights.npz"
        weights.write_bytes(weights.read_bytes()[:-1])
        asyncio.run(point_at(installation.url, tampered))  # as from a machine where the file is whole
        wait_for(lambda: 'deployments_total{part="model",result="refused"} 1.0' in http.get("/metrics").text)
        assert decides(first)


async def point_at(url: str, version: str) -> None:
    store = connect(url, deadline_ms=5000)
    await store.put("current", "model", version.encode())
    await store.close()


def test_a_challenger_decides_for_its_share_and_a_shadow_is_in_every_record(
    installation: Installation, terminal: Terminal, tmp_path: Path
):
    current, other = (saved(tmp_path / "models", shift) for shift in (0.0, 0.4))
    terminal.tell("promote", current)
    terminal.tell("challenger", other[:8], "--share", "0.3")
    terminal.tell("shadow", other[:8])
    _, base = installation.serve()
    with httpx.Client(base_url=base, headers=KEY) as http:
        answers = [ask(http, number) for number in range(PERSON_COUNT)]
        again = [ask(http, number) for number in range(0, PERSON_COUNT, 10)]

        assert [each["versions"] for each in again] == [each["versions"] for each in answers[::10]]
        seen = Counter(each["versions"]["model"] for each in answers)
        print(f"the challenger decided for {seen[other]} of {PERSON_COUNT} persons, 30 % asked for")
        expected = {current: 0.7 * PERSON_COUNT, other: 0.3 * PERSON_COUNT}
        assert seen.keys() == expected.keys()
        assert sum((seen[each] - count) ** 2 / count for each, count in expected.items()) < 6.63  # chi-squared, 1 %
        explained = http.get(f"/v1/decisions/{answers[0]['decision_id']}").json()
        assert explained["shadow"]["versions"]["model"] == other and explained["reproduced"] is True
    assert terminal.tell("challenger", "--stop") == [f"model {other[:12]} is challenger no more"]
    assert terminal.tell("shadow", "--stop") == [f"model {other[:12]} is shadow no more"]


def test_the_gate_refuses_with_all_reasons_and_an_override_is_on_record(terminal: Terminal, tmp_path: Path):
    poor = saved(tmp_path / "models", positives=12, calibration_slope_interval=(0.2, 0.4))

    refused = terminal.run("promote", poor[:8])
    nameless = terminal.run("promote", poor[:8], "--override", "--reason", "it is urgent")
    released = terminal.tell("promote", poor[:8], "--override", "--by", "Ada Byron", "--reason", "it is urgent")

    assert isinstance(refused.exception, ReleaseRefused)
    assert [each.split(":")[0] for each in refused.exception.reasons] == ["positives", "calibration"]
    assert isinstance(nameless.exception, NextbestError) and "--by NAME" in str(nameless.exception)
    assert sum(line.startswith("  OVERRIDDEN") for line in released) == 2
    line, *against = terminal.tell("log")
    assert line.startswith(f"{poor[:12]}  promote ") and "by Ada Byron (" in line and "it is urgent" in line
    assert [each.split()[1] for each in against] == ["positives:", "calibration:"]
    (listed,) = terminal.tell("list")
    assert listed.startswith(f"* {poor[:12]}") and "12 positives" in listed and "current" in listed


def test_two_models_are_compared_on_the_same_rows(terminal: Terminal, tmp_path: Path):
    right, wrong = (saved(tmp_path / "models", shift) for shift in (0.0, 1.5))
    history = (str(contacts(tmp_path / "calls.csv")), str(tmp_path / "mapping.yaml"))
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    rows = ("--history", history[0], "--mapping", history[1])

    told = terminal.tell("compare", right[:8], wrong[:8], *rows)
    terminal.tell("promote", wrong)
    promoted = terminal.tell("promote", right, *rows)

    assert told[0] == "600 rows of 200 persons, 95 % intervals over persons"
    assert "+0.0000 (+0.0000 to +0.0000)" in told[1]  # another intercept ranks alike
    low, high = (float(part) for part in told[2].split("(")[1].rstrip(")").split(" to "))
    assert low < high < 0.0  # and is less probable
    assert any("ranking: AUC" in line and "+0.0000" in line for line in promoted)


def contacts(path: Path) -> Path:
    """Three contacts with each of 200 customers, gold for the rich."""
    rng = np.random.default_rng(5)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "action", "channel", "income", "answer"])
        for number in range(600):
            income, action = rng.uniform(500, 6000), (GOLD, SILVER)[number % 2]
            chance = income / 12_000 if action == GOLD else 0.15
            said = "yes" if rng.random() < chance else "no"
            rows.writerow([f"C-{number % 200}", action, "web", f"{income:.2f}", said])
    return path


def test_what_is_known_of_a_model_is_shown(terminal: Terminal, tmp_path: Path):
    version = saved(tmp_path / "models")

    shown = terminal.tell("show", version[:6])
    unknown = terminal.run("show", "0000")

    assert shown[0] == f"model {version}"
    assert shown[2] == "linear, 2 actions, 2 attributes; does not know what acting adds"
    assert shown[3].startswith("all actions: 3,000 rows, 700 positives, AUC 0.700 (0.680 to 0.720), calibration error")
    assert "models list" in str(unknown.exception)
