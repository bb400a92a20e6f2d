"""Thirty mistakes as authors make them, one at a time: each is found, and the right column is blamed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decisioning.catalog.faults import Fault
from decisioning.catalog.load import load_bundle
from decisioning.errors import StrategyFaulty
from tests.catalog.strategies import small

MISTAKES = json.loads((Path(__file__).parent / "cases" / "mistakes.json").read_text())


def found_in(files: dict[str, bytes]) -> list[Fault]:
    """Faults, or the warnings of a strategy that has none."""
    try:
        return list(load_bundle(files).warnings)
    except StrategyFaulty as error:
        return error.faults


def test_there_are_thirty_and_none_is_in_the_strategy_itself() -> None:
    assert len(MISTAKES) == 30
    assert found_in(small()) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["note"])
def test_mistake(mistake: dict[str, str]) -> None:
    files = small({mistake["file"]: [[mistake["text"], mistake["replacement"]]]})

    found = [str(fault) for fault in found_in(files)]

    assert [line for line in found if line.startswith(f"{mistake['place']}: ") and mistake["word"] in line], found
