"""One offer in all channels, with real processes: the small form of tests/proofs/one_offer.py."""

from __future__ import annotations

from tests.proofs.one_offer import run, strangers


def test_channels_that_ask_two_processes_in_the_same_millisecond_show_one_offer():
    shown, verdict = run(customer_count=200, process_count=2)

    assert len(verdict.met_in_several()) > 150
    assert verdict.broken == set()
    assert strangers(shown, verdict) == 0
    assert shown.lost_races > 0  # else nobody met, and nothing was shown
    assert sum(answer["degraded"] for answer in shown.answers) < len(shown.answers) / 10
