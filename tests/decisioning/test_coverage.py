"""Coverage: what the personas of a strategy leave untested."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from decisioning.catalog.load import load_bundle, load_directory
from decisioning.coverage import coverage
from decisioning.personas import failures
from tests.catalog.strategies import loaded, small

ROOT = Path(__file__).parents[2]
NOW_MS = 1_780_000_000_000


def test_a_predicate_is_covered_when_personas_see_it_both_ways() -> None:
    report = coverage(loaded(), now_ms=NOW_MS)

    missing = {each.text: each.missing for each in report.unflipped}
    assert "customer.balance_avg_3m > 1500.0" not in missing  # one persona has 5200, another 100
    assert missing["customer.in_arrears"] == "true"
    assert missing["!customer.in_arrears"] == "false"
    assert missing['context.page == "cards"'] == "true"  # context weights are predicates too
    assert report.share == (report.predicate_count - len(missing)) / report.predicate_count


def test_what_many_actions_share_counts_once_in_its_authors_words() -> None:
    rule = 'history.count("rejected", "action", duration("2160h")) == 0'
    edits = {"actions/savings.yaml": [["'customer.age >= 18'", f"'{rule}'"]]}

    before, after = coverage(loaded(), now_ms=NOW_MS), coverage(load_bundle(small(edits)), now_ms=NOW_MS)

    assert after.predicate_count == before.predicate_count
    assert rule not in [each.text for each in after.unflipped]


def test_what_stays_unknown_is_never_seen_true() -> None:
    edits = {"actions/savings.yaml": [["'customer.age >= 18'", "'size(customer.language) > 0'"]]}

    report = coverage(load_bundle(small(edits)), now_ms=NOW_MS)

    assert "actions/savings.yaml:8:19: no persona sees this true: size(customer.language) > 0" in map(
        str, report.unflipped
    )


def test_without_personas_nothing_is_covered() -> None:
    files = {path: content for path, content in small().items() if not path.startswith("personas/")}

    assert coverage(load_bundle(files), now_ms=NOW_MS).share == 0.0


@pytest.mark.parametrize("example", ["retail_bank", "bank_calls"])
def test_the_personas_of_an_example_cover_nine_tenths_of_it_and_pass(example: str) -> None:
    strategy, now_ms = load_directory(ROOT / "examples" / example), time.time_ns() // 1_000_000

    assert coverage(strategy, now_ms=now_ms).share >= 0.9
    assert failures(strategy, now_ms=now_ms) == []


def test_a_row_of_a_table_is_covered_when_a_persona_hits_it() -> None:
    table = """
gives: {lever: [grow/cards]}
hits: first
columns: [customer.card_tier]
rows:
  - [classic, 1.2]
  - [gold, 1.1]
  - ["-", 1.0]
"""
    files = small() | {"tables/card_lever.yaml": table.encode()}

    report = coverage(load_bundle(files), now_ms=NOW_MS)

    rows = [each for each in map(str, report.unflipped) if each.startswith("tables/")]
    assert rows == [
        'tables/card_lever.yaml:7:6: no persona sees this true: the row customer.card_tier == "gold"',
        "tables/card_lever.yaml:8:6: no persona sees this true: the row for all others",
    ]
