"""A count and its noun agree."""

from __future__ import annotations

import pytest

from decisioning.nouns import counted


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (-1, "-1 rows"), (1_000_001, "1,000,001 rows")]
)
def test_one_is_one_and_all_else_is_many(count: int, told: str):
    assert counted(count, "row") == told


def test_some_nouns_have_a_plural_of_their_own():
    assert [counted(each, "entry", "entries") for each in (1, 2)] == ["1 entry", "2 entries"]
