"""Labels: one set of outcomes, one label, in whatever order the outcomes arrive."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisioning.catalog.actions import BEHAVIOUR
from decisioning.catalog.outcomes import RESPONSE_OUTCOMES
from decisioning.learning.labels import Trial, reading_of, step, trials_of

CASES = json.loads((Path(__file__).parents[1] / "cases" / "labels.json").read_text())
AFTER = {"negative": 0, "positive": 1, "revise": 1, "retract": None}
BEFORE = {"negative": None, "positive": None, "revise": 0, "retract": 0}

OUTCOMES = st.lists(st.sampled_from(RESPONSE_OUTCOMES), max_size=8)
BEHAVIOURS = st.fixed_dictionaries(
    {outcome: st.sampled_from(["positive", "negative", "neutral"]) for outcome in RESPONSE_OUTCOMES}
)


@pytest.mark.parametrize("case", CASES, ids=[case["note"] for case in CASES])
def test_outcomes_are_read_as_the_case_says(case: dict[str, Any]) -> None:
    behaviour = BEHAVIOUR | case.get("behaviour", {})

    for order in permutations(case["outcomes"]):
        reading = reading_of(order, behaviour)
        assert (reading.label, reading.reader) == (case["label"], case["reader"])


@given(outcomes=OUTCOMES, behaviour=BEHAVIOURS)
def test_steps_one_by_one_end_with_the_label_of_all_at_once(outcomes: list[str], behaviour: dict[str, str]) -> None:
    label = None

    for position, outcome in enumerate(outcomes):
        taken = step(outcomes[:position], outcome, behaviour)
        if taken is not None:
            assert BEFORE[taken] == label
            label = AFTER[taken]

    assert label == reading_of(outcomes, behaviour).label


@given(outcomes=OUTCOMES, again=st.sampled_from(RESPONSE_OUTCOMES), behaviour=BEHAVIOURS)
def test_an_outcome_that_is_known_changes_nothing(outcomes: list[str], again: str, behaviour: dict[str, str]) -> None:
    assert step([*outcomes, again], again, behaviour) is None


@given(outcomes=OUTCOMES, behaviour=BEHAVIOURS)
def test_a_positive_stays_positive_whatever_follows(outcomes: list[str], behaviour: dict[str, str]) -> None:
    behaviour = {**behaviour, "accepted": "positive"}

    assert reading_of(["accepted", *outcomes], behaviour).label == 1


def placed(outcome: str, action: str | None, lease_of: str | None = None) -> dict[str, Any]:
    return {"placement": "web.hero", "outcome": outcome, "action": action, "lease_of": lease_of}


def test_only_offers_that_the_decision_itself_drew_are_its_trials() -> None:
    drawn = placed("offer", "grow/cards/gold")
    others = [
        placed("offer", "grow/cards/silver", "d0"),
        placed("message", "nurture/brand/tips"),
        placed("nothing", None),
    ]
    record = {"decision_id": "d1", "degraded": False, "placements": [drawn, *others]}

    assert list(trials_of(record)) == [(Trial("d1", "grow/cards/gold"), drawn)]
    assert list(trials_of({**record, "degraded": True})) == []
