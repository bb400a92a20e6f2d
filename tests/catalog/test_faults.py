"""Every fault has its place, its message and its way out; all are found at once, and none causes another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decisioning.catalog.load import load_directory, read_bundle
from decisioning.errors import StrategyFaulty
from tests.catalog.strategies import faults_of, small

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases" / "faults.json").read_text())

# One each of the kinds an author most often meets.
TWELVE = [
    "actions/cards.yaml:9:18: unknown attribute 'agee'",
    "actions/cards.yaml:10:58: int and string have no order",
    "actions/cards.yaml:11:55: the expression ends too early",
    "actions/cards.yaml:15:22: unknown placement 'web.home.heros'. Did you mean web.home.hero",
    "actions/cards.yaml:21:5: duplicate key 'action_value', first on line 20",
    "actions/cards.yaml:24:10: the end 2026-04-01 is not after the start 2026-05-01",
    "actions/cards.yaml:28:58: string + int is not defined",
    "actions/cards.yaml:30:3: the action grow/cards/platinum has no treatment",
    "actions/cards.yaml:34:50: customer.risk_score is not allowed for the purpose marketing",
    "actions/cards.yaml:44:9: required content field 'cta' is missing",
    "channels.yaml:3:68: -0.4 is out of bounds",
    "contact_policies.yaml:2:1: no action refers to the contact policy 'loans_fatigue'",
]


def test_a_directory_with_twelve_faults_lists_exactly_those_twelve() -> None:
    with pytest.raises(StrategyFaulty) as raised:
        load_directory(HERE / "broken")

    found = [str(fault) for fault in raised.value.faults]
    assert [line[: len(expected)] for line, expected in zip(found, TWELVE, strict=True)] == TWELVE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_case(case: dict[str, Any]) -> None:
    files = small(case.get("edit"))
    files |= {path: text.encode() for path, text in case.get("add", {}).items()}
    files = {path: content for path, content in files.items() if path not in case.get("remove", ())}

    assert faults_of(files) == case["expect"]


def test_every_fault_says_the_way_out() -> None:
    for line in (line for case in CASES for line in case["expect"]):
        message, _, way_out = line.partition(". ")
        assert message and way_out, line


def test_faults_of_all_files_are_sorted_by_place() -> None:
    files = {path: content.replace(b"web.home.hero]", b"web.home.here]") for path, content in small().items()}

    split = [line.split(":", 3) for line in faults_of(files)]

    places = [(path, int(line), int(column)) for path, line, column, _ in split]

    assert len(places) > 3
    assert places == sorted(places)


def test_a_file_that_is_not_utf8_says_where() -> None:
    files = small()
    files["experiments.yaml"] = "# ok\nname: é".encode("latin-1")

    assert faults_of(files) == ["experiments.yaml:2:7: this is not UTF-8. Save the file as UTF-8"]


def test_a_missing_directory_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(StrategyFaulty, match="there is no such directory"):
        load_directory(tmp_path / "nowhere")


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("a: b")
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "strategy.yaml").symlink_to(tmp_path / "secret.yaml")

    with pytest.raises(StrategyFaulty, match=r"strategy.yaml:1:1: this is not a regular file"):
        read_bundle(tmp_path / "strategy")
