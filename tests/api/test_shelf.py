"""The shelf: what is loaded is out of the garbage collector's sight, and gone when nobody holds it any more."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.publications import publish_strategy
from api.shelf import Shelf
from decisioning.catalog.load import load_bundle, load_directory, read_bundle
from decisioning.store.memory import MemoryStore

EXAMPLE = Path(__file__).parents[2] / "examples/retail_bank"


@pytest.fixture
def thawed() -> Iterator[None]:
    """The other tests' garbage is collected as before."""
    yield
    gc.unfreeze()


def test_a_strategy_goes_without_the_collector() -> None:
    """Frozen, a circle of references in one would stay for ever, tens of megabytes with each publication."""
    strategy = load_directory(EXAMPLE)
    ends = [
        weakref.ref(strategy.schema),
        *(weakref.ref(each) for each in strategy.gates if hasattr(each, "__weakref__")),
    ]
    gc.collect()
    gc.disable()
    try:
        del strategy

        assert [each() for each in ends] == [None] * len(ends)
    finally:
        gc.enable()


async def test_what_is_loaded_is_frozen_and_the_collector_goes_on(thawed: None) -> None:
    store, files = MemoryStore(), read_bundle(EXAMPLE)
    await publish_strategy(store, files, published := load_bundle(files))
    before = gc.get_freeze_count()

    strategy = await Shelf(store, Path("absent")).strategy(published.version)

    assert gc.get_freeze_count() > before + len(strategy.actions)
    assert gc.isenabled()
