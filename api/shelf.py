"""The shelf: strategies and models by version, the last few kept at hand.

What decides now is taken from here, and what decided once is asked for to explain it. Who explains one decision usually
explains its neighbours, and compiling a strategy or reading a model takes a hundred times as long as deciding with it.

A collection of garbage that walks a strategy stops every request for 60 ms and more, to find nothing: nothing in one
refers back to itself, so that it goes when the last who holds it lets go. What is loaded is therefore frozen.
"""

from __future__ import annotations

import asyncio
import gc
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from api.deployed import Deployed, pair
from api.publications import unpack_bundle
from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.errors import VersionMissing
from decisioning.learning.chain import States
from decisioning.records import Versions
from decisioning.scoring import Model, load_model
from decisioning.store.protocol import Store

KEPT = 2  # of each, what decides now among them: a strategy of a thousand actions takes tens of megabytes

Key = TypeVar("Key")
Thing = TypeVar("Thing")


class Recent(Generic[Key, Thing]):
    """What was asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Thing] = OrderedDict()

    async def get(self, key: Key, load: Callable[[Key], Awaitable[Thing]]) -> Thing:
        """The thing at hand, else loaded; what cannot be loaded is not remembered."""
        if key not in self._kept:
            self._kept[key] = await load(key)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


class Shelf:
    """Everything this process can decide with, now or again."""

    def __init__(self, store: Store, models_dir: Path) -> None:
        self._store = store
        self._models_dir = models_dir
        self._strategies: Recent[str, Strategy] = Recent()
        self._models: Recent[str, Model] = Recent()
        self._states: Recent[str, States] = Recent()  # by model
        self._pairs: Recent[Versions, Deployed] = Recent()

    async def deployed(self, versions: Versions) -> Deployed:
        """What decided under these versions. Raises what `strategy`, `model` and `States` raise."""
        return await self._pairs.get(versions, self._paired)

    async def strategy(self, version: str) -> Strategy:
        """A published strategy, compiled. Raises VersionMissing, RegistryDamaged or StrategyFaulty."""
        return await self._strategies.get(version, self._compiled)

    async def model(self, version: str) -> Model:
        """A model from the models directory. Raises VersionMissing or ModelRefused."""
        return await self._models.get(version, self._read)

    async def _compiled(self, version: str) -> Strategy:
        packed = await self._store.get("strategy", version)
        if packed is None:
            raise VersionMissing(f"strategy {version[:12]} is not in the store. `nextbest publish DIR` puts it there.")
        return await asyncio.to_thread(_compiled, packed)

    async def _read(self, version: str) -> Model:
        return await asyncio.to_thread(_model, self._models_dir / version)

    async def _states_of(self, version: str) -> States:
        return States(self._store, await self.model(version))

    async def _paired(self, versions: Versions) -> Deployed:
        strategy, model = await self.strategy(versions.strategy), await self.model(versions.model)
        state = None
        if versions.model_state is not None:
            states = await self._states.get(versions.model, self._states_of)
            state = await states.state(int(versions.model_state))
        return await asyncio.to_thread(pair, strategy, model, state)


def _compiled(packed: bytes) -> Strategy:
    with _frozen():
        return load_bundle(unpack_bundle(packed))


def _model(folder: Path) -> Model:
    with _frozen():
        return load_model(folder)


@contextmanager
def _frozen() -> Iterator[None]:
    """Keep from the garbage collector what is made inside, and what is there besides: modules, routes, caches."""
    gc.collect()  # what is garbage now would stay for ever; quick, except before the first request
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # first: the next collection would walk all that is new
        gc.enable()
