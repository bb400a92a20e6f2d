"""`nextbest run` on a store of one's own: never in place of a strategy that somebody else decides by."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli import demo
from api.settings import Settings
from decisioning.errors import NextbestError
from decisioning.store.memory import MemoryStore


async def test_a_store_that_somebody_else_decides_by_is_left_alone(monkeypatch, tmp_path: Path) -> None:
    store = MemoryStore()
    await store.put("current", "strategy", b"another strategy's version")
    monkeypatch.setattr(demo, "connect", lambda *_, **__: store)
    environment = {"NEXTBEST_REDIS_URL": "redis://elsewhere", "NEXTBEST_DATA_DIR": str(tmp_path)}
    strategy_dir = Path(__file__).parents[2] / "examples" / "bank_calls"

    with pytest.raises(NextbestError, match="did not publish"):
        await demo._prepare("redis://elsewhere", strategy_dir, Settings.from_environment(environment))

    assert await store.get("current", "strategy") == b"another strategy's version"


async def test_what_the_demo_published_it_may_replace() -> None:
    store = MemoryStore()
    await demo.refuse_others_store(store, "")
    await store.put(demo.people.KIND, demo.PUBLISHED, b"ours")

    await demo.refuse_others_store(store, "ours")

    with pytest.raises(NextbestError):
        await demo.refuse_others_store(store, "theirs")
