"""Proxies and scanners at one of two twins: the small form of tests/proofs/mail_machines.py."""

from __future__ import annotations

from itertools import cycle

import pytest

from tests.proofs.mail_machines import CASES, ORDERS, run

pytestmark = pytest.mark.anyio


async def test_machines_change_nothing_and_people_after_them_count(store_url: str) -> None:
    found = await run(store_url, zip(CASES, cycle(ORDERS), strict=False))

    assert found.faults == []
    assert {"Apple", "Gmail", "SafeLinks", "Barracuda", "Proofpoint", "Mimecast"} < found.requests.keys()
    assert found.pairs == len(CASES) == found.counted["impression"] == found.counted["clicked"]
    assert found.left["proxy"] > 0 and found.left["unknown"] > 0
