"""Live: the strategy and model that decide now, and how a running process takes up new ones.

The store's registry points at a version of each. Every process looks once a second; what it finds is loaded and
compiled beside the old pair and swapped in by one assignment. Whatever is faulty is refused, counted and logged, and
the old pair goes on deciding.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from api import metrics
from api.keys import KeyRing, known_keys
from api.publications import unpack_bundle
from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError, RegistryDamaged, StoreUnavailable, VersionMissing
from decisioning.records import Versions
from decisioning.scoring import Model, ModelScorer, load_model
from decisioning.store.protocol import Store

LOG = logging.getLogger("nextbest")
REFRESH_S = 1.0

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class Deployed:
    """One strategy paired with one model."""

    strategy: Strategy
    scorer: ModelScorer
    versions: Versions


class Live:
    """The pair in force in this process."""

    def __init__(self, store: Store, models_dir: Path, keys: KeyRing) -> None:
        self._store = store
        self._models_dir = models_dir
        self._keys = keys
        self._strategy: Strategy | None = None
        self._model: Model | None = None
        self._refused: set[str] = set()  # versions that were faulty: not tried, and not logged, every second
        self.current: Deployed | None = None

    @property
    def loaded(self) -> dict[str, str | None]:
        """The versions of strategy and model that are loaded, paired or not."""
        parts = {"strategy": self._strategy, "model": self._model}
        return {name: None if part is None else part.version for name, part in parts.items()}

    async def refresh(self) -> None:
        """Look once: take up what is new and sound. Raises StoreUnavailable."""
        self._keys.keys = await known_keys(self._store)
        pointers = {
            part: (await self._store.get("current", part) or b"").decode(errors="replace")
            for part in ("strategy", "model")
        }
        strategy, model = self._strategy, self._model
        if pointers["strategy"] and (strategy is None or strategy.version != pointers["strategy"]):
            strategy = await self._load("strategy", pointers["strategy"], self._load_strategy) or strategy
        if pointers["model"] and (model is None or model.version != pointers["model"]):
            model = await self._load("model", pointers["model"], self._load_model) or model
        if strategy is not None and model is not None and (strategy is not self._strategy or model is not self._model):
            self.current = Deployed(strategy, ModelScorer(strategy, model), Versions(strategy.version, model.version))
        self._strategy, self._model = strategy, model
        metrics.READY.set(self.current is not None)

    async def watch(self) -> None:
        """Refresh once a second until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.refresh()
            except (StoreUnavailable, RegistryDamaged) as error:
                metrics.READY.set(0)
                LOG.warning("registry not read: %s", error)

    async def deployed(self, versions: Versions) -> Deployed | None:
        """The pair with these versions, for replay; None when one of them is gone."""
        if self.current is not None and self.current.versions == versions:
            return self.current
        try:
            strategy, model = await self._load_strategy(versions.strategy), await self._load_model(versions.model)
        except NextbestError as error:
            LOG.warning("recorded versions not loaded: %s", error)
            return None
        return Deployed(strategy, ModelScorer(strategy, model), versions)

    async def _load(self, part: str, version: str, load: Callable[[str], Awaitable[Loaded]]) -> Loaded | None:
        if version in self._refused:
            return None
        try:
            loaded = await load(version)
        except StoreUnavailable:
            raise
        except VersionMissing as error:
            LOG.warning("%s not taken up yet: %s", part, error)
            return None
        except NextbestError as error:
            self._refused.add(version)
            metrics.DEPLOYMENTS.labels(part, "refused").inc()
            LOG.error("%s %s refused, the old one stays: %s", part, version[:12], error)
            return None
        metrics.DEPLOYMENTS.labels(part, "taken").inc()
        return loaded

    async def _load_strategy(self, version: str) -> Strategy:
        packed = await self._store.get("strategy", version)
        if packed is None:
            raise VersionMissing(f"strategy {version[:12]} is not in the store. `nextbest publish DIR` puts it there.")
        return await asyncio.to_thread(load_bundle, unpack_bundle(packed))

    async def _load_model(self, version: str) -> Model:
        return await asyncio.to_thread(load_model, self._models_dir / version)
