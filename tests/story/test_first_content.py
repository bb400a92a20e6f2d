"""What the snippet does to a page that is being read: the small form of tests/proofs/first_content.py."""

from __future__ import annotations

import pytest

from tests.proofs.first_content import CASES, control, visited
from tests.story.house import House


@pytest.mark.parametrize("name", CASES)
def test_whenever_the_answer_comes_nothing_moves_and_late_ones_change_nothing(chromium, house: House, site, name):
    site.service = house.url

    seen = visited(chromium, house, site, name)

    assert (seen.moved, seen.told, seen.headline) == (0, CASES[name].told, CASES[name].headline)


def test_a_page_that_moves_is_seen_to_move(chromium, site):
    assert control(chromium, site) > 0
