"""make load: each measurement that is asked for, by its switch, is taken."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.ground.test_docs import ROOT


@pytest.mark.parametrize(
    ("asked", "measured"),
    [
        ([], ["load"]),
        (["SOAK=1"], ["soak"]),
        (["GROWTH=1", "STARTUP=1"], ["growth", "startup"]),
        (["GROWTH=actions and more"], ["growth"]),
        (["PEERS="], ["load"]),
    ],
)
def test_every_switch_measures_once(asked: list[str], measured: list[str]) -> None:
    said = subprocess.run(
        ["make", "--dry-run", "--old-file=.venv/dev.stamp", "load", *asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert re.findall(r"-m loadtest (\w+)", said) == measured
