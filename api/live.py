"""Live: the strategy and models that decide now, and how a running process takes up new ones.

The store's registry points at them. Every process looks once a second; what it finds is loaded and compiled beside the
old, paired in a thread and swapped in by one assignment. Whatever is faulty is refused, counted and logged, and the old
goes on deciding; only a shadow or a challenger that cannot be loaded is left out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from api import metrics
from api.deployed import Challenge, Deployed, pair
from api.keys import KeyRing, known_keys
from api.model_registry import CHALLENGER, SHADOW, Pointers, pointers_of
from api.publications import current_version
from api.shelf import Shelf
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError, RegistryDamaged, StoreUnavailable, VersionMissing
from decisioning.records import Versions
from decisioning.scoring import Model
from decisioning.store.protocol import Store

LOG = logging.getLogger("nextbest")
REFRESH_S = 1.0
REFUSED_S = 30.0  # before what was faulty is tried again: a folder that was read while it was copied is sound later
MODEL, STRATEGY = "model", "strategy"

Loaded = TypeVar("Loaded", Strategy, Model)


@dataclass(frozen=True, slots=True)
class Running:
    """A model that was taken up."""

    model: Model


class Live:
    """What is in force in this process."""

    def __init__(self, store: Store, models_dir: Path, keys: KeyRing) -> None:
        self._store = store
        self._shelf = Shelf(store, models_dir)
        self._keys = keys
        self._strategy: Strategy | None = None
        self._running: dict[str, Running] = {}  # by role: model, shadow, challenger
        self._pairs: dict[str, Deployed] = {}  # the same, paired with the strategy
        self._refused_s: dict[str, float] = {}  # when a version was found faulty: not tried and logged every second
        self.current: Deployed | None = None

    @property
    def loaded(self) -> dict[str, str | None]:
        """The versions of strategy, model that are loaded, paired or not."""
        model = self._running.get(MODEL)
        return {
            STRATEGY: None if self._strategy is None else self._strategy.version,
            MODEL: None if model is None else model.model.version,
        }

    async def refresh(self) -> None:
        """Look once: take up what is new and sound. Raises StoreUnavailable or RegistryDamaged."""
        self._keys.keys = await known_keys(self._store)
        named = await pointers_of(self._store)
        self._strategy = await self._newest(
            STRATEGY, await current_version(self._store), self._strategy, self._shelf.strategy
        )
        self._running = await self._taken_up(named)
        if self._strategy is not None and MODEL in self._running:
            await self._deploy(self._strategy, named)
        self._tell()

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
        """What decided under these versions, for replay; None when one of them is gone."""
        for each in self.current.deciders if self.current else ():
            if each.versions == versions:
                return each
        try:
            return await self._shelf.deployed(versions)
        except StoreUnavailable:
            raise
        except NextbestError as error:
            LOG.warning("recorded versions not loaded: %s", error)
            return None

    async def _taken_up(self, named: Pointers) -> dict[str, Running]:
        """By role the models that are named and sound, each in its newest state."""
        challenger = "" if named.challenger is None else named.challenger.version
        taken = {}
        for role, version in ((MODEL, named.model), (SHADOW, named.shadow), (CHALLENGER, challenger)):
            before = self._running.get(role)
            model = await self._newest(role, version, before.model if before else None, self._shelf.model)
            if model is not None and (role == MODEL or model.version == version):
                taken[role] = Running(model)
        return taken

    async def _newest(
        self, part: str, version: str, before: Loaded | None, load: Callable[[str], Awaitable[Loaded]]
    ) -> Loaded | None:
        """The strategy or model named, else what was there before."""
        if not version or (before is not None and before.version == version):
            return before
        if time.monotonic() - self._refused_s.get(version, -REFUSED_S) < REFUSED_S:
            return before
        try:
            loaded = await load(version)
        except StoreUnavailable:
            raise
        except VersionMissing as error:
            LOG.warning("%s not taken up yet: %s", part, error)
            return before
        except NextbestError as error:
            self._refused_s[version] = time.monotonic()
            metrics.DEPLOYMENTS.labels(part, "refused").inc()
            LOG.error("%s %s refused, the old one stays: %s", part, version[:12], error)
            return before
        metrics.DEPLOYMENTS.labels(part, "taken").inc()
        return loaded

    async def _deploy(self, strategy: Strategy, named: Pointers) -> None:
        """Pair what changed, and swap it in."""
        self._pairs = {role: await self._paired(role, strategy, each) for role, each in self._running.items()}
        current = replace(self._pairs[MODEL], shadow=self._pairs.get(SHADOW))
        if named.challenger is not None and CHALLENGER in self._pairs:
            deployed = replace(self._pairs[CHALLENGER], shadow=current.shadow)
            current = replace(current, challenge=Challenge(deployed, named.challenger.share, named.challenger.salt))
        self.current = current

    async def _paired(self, role: str, strategy: Strategy, running: Running) -> Deployed:
        versions = Versions(strategy.version, running.model.version)
        before = self._pairs.get(role)
        if before is not None and before.versions == versions:
            return before
        return await asyncio.to_thread(pair, strategy, running.model)

    def _tell(self) -> None:
        metrics.READY.set(self.current is not None)
