"""Diff: changes between strategies in the words of those who write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decisioning.catalog.diff import differences
from tests.catalog.strategies import small

CASES = json.loads((Path(__file__).parents[1] / "cases/diff.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_a_change_is_told_in_the_words_of_its_authors(case):
    assert differences(small(), small(case["edits"])) == case["expect"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_the_way_back_is_as_long_and_no_change_is_no_line(case):
    changed = small(case["edits"])

    assert len(differences(changed, small())) == len(case["expect"])
    assert differences(changed, changed) == []


def test_files_come_and_go_as_what_they_hold():
    smaller = {path: body for path, body in small().items() if path != "actions/loans.yaml"}
    pictured = {**smaller, "content/images/new.png": b"png", "content/images/brand.png": b"other"}

    told = differences(small(), pictured)

    assert [line for line in told if line[:2] in ("+ ", "- ")] == [
        "+ content/images/new.png",
        *(line for line in told if line.startswith("- grow/loans/")),
    ]
    assert "content/images/brand.png: content" in " ".join(told)


def test_a_budget_is_told_with_its_limit_and_what_actions_take_of_it():
    action = [["    lever: 1.2\n", "    lever: 1.2\n    volume_constraints: {gifts: 1}\n"]]
    constraint = "gifts: {limit: 100, unit: number, scope: all, period: day, spend_on: selected}\n"
    old = small({"actions/cards.yaml": action}) | {"volume_constraints.yaml": constraint.encode()}
    dearer = {path: body.replace(b"{gifts: 1}", b"{gifts: 2}") for path, body in old.items()}
    lower = dearer | {"volume_constraints.yaml": constraint.replace("100", "90").encode()}

    assert differences(old, lower) == [
        "grow/cards/cashback: volume_constraints gifts 1 -> 2",
        "volume constraint gifts: limit 100 -> 90",
    ]
