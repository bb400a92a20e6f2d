"""Sentences: what a person is told about each way an action can come or not come."""

from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from decisioning.catalog.outcomes import DROP_REASONS
from decisioning.sentences import account_of

CASES = json.loads((Path(__file__).parents[1] / "cases/sentences.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_an_entry_reads_as_a_person_would_say_it(case):
    assert account_of(case["entry"], place="web", zone=ZoneInfo("Europe/Budapest")) == case["expect"]


def test_every_reason_why_a_candidate_drops_has_its_sentence():
    told = {case["entry"]["reason"].removesuffix("_unknown") for case in CASES if "reason" in case["entry"]}

    assert {reason.removesuffix("_unknown") for reason in DROP_REASONS} <= told
