"""Forged tokens at every address of a mail: the small form of tests/proofs/mail_forgeries.py."""

from __future__ import annotations

import pytest

from tests.proofs.mail_forgeries import DOORS, run

pytestmark = pytest.mark.anyio


async def test_a_forged_token_is_shown_the_brand_and_moves_nothing(store_url: str) -> None:
    found = await run(store_url, 320)

    assert found.faults == []
    assert len(found.tokens) == 16 and found.answers == 320 * len(DOORS)
    assert found.redirects > 400 and set(found.led_to) == {"bank.example"}
