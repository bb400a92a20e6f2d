"""The store silent, killed and loading, in real processes: every door answers, and what was taken counts once.

Larger, and with several processes at a time: `python -m tests.proofs.store_down` and `python -m tests.proofs.kept`.
"""

from __future__ import annotations

from pathlib import Path

from tests.proofs import kept, store_down


def test_every_door_answers_while_the_store_is_down_and_a_start_without_it_shows_the_brand(tmp_path: Path) -> None:
    with store_down.installed(tmp_path, deadline_ms=store_down.DEADLINE_MS) as (installation, store):
        faults = store_down.play(installation, store, 1)

    assert faults == []


def test_what_is_taken_while_the_store_is_silent_counts_once_though_servers_are_killed(tmp_path: Path) -> None:
    with store_down.installed(tmp_path, deadline_ms=kept.DEADLINE_MS) as (installation, store):
        faults = kept.play(installation, store, 60, processes=1)

    assert faults == []
