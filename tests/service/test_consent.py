"""Consent across processes: the proof of the full size is tests/proofs/consent.py."""

from __future__ import annotations

import asyncio

from tests.proofs.consent import PATHS, WAYS, prove
from tests.service.conftest import Installation


def test_a_withdrawal_is_obeyed_by_the_next_request_on_each_path_whichever_way_it_comes(installation: Installation):
    tally = asyncio.run(prove(installation, len(WAYS) * len(PATHS)))

    assert tally.violations == []
    assert tally.tries == {(way, path.name): 1 for way in WAYS for path in PATHS}
