"""Payloads of every kind, as a customer's name, in a real Chromium: on every page, and in a mail, they are words.

Each alone is `python -m tests.proofs.inert`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.payloads import bunches
from tests.proofs.inert import Watched, watching


@pytest.fixture(scope="module")
def watched(chromium: Any) -> Iterator[Watched]:
    with watching(chromium) as made:
        yield made


@pytest.mark.parametrize("name", bunches(3), ids=range(3))
def test_a_name_full_of_payloads_is_words_on_a_sites_page_on_every_page_of_ours_and_in_a_mail(
    watched: Watched, name: str
) -> None:
    watched.check(name)
