"""Live: the strategy and models that decide now, and how a running process takes up new ones.

The store's registry points at them. Every process looks once a second; what it finds is loaded and compiled beside the
old, paired in a thread, rehearsed and swapped in by one assignment. Whatever is faulty is refused, counted and logged,
and the old goes on deciding; only a shadow or a challenger that cannot be loaded is left out.
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
from api.instants import wall_ms
from api.keys import KeyRing, known_keys
from api.model_registry import CHALLENGER, SHADOW, Pointers, pointers_of
from api.publications import current_version
from api.rehearsal import rehearse
from api.shelf import Shelf
from api.standby import Standby
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError, RegistryDamaged, StoreUnavailable, VersionMissing
from decisioning.learning.model_state import ModelState, latest_state
from decisioning.records import Versions
from decisioning.scoring import Model
from decisioning.store.protocol import Store

LOG = logging.getLogger("nextbest")
REFRESH_S = 1.0
REFUSED_S = 30.0  # before what was faulty is tried again: a folder that was read while it was copied is sound later
MODEL, MODEL_STATE, STRATEGY = "model", "model_state", "strategy"

Loaded = TypeVar("Loaded", Strategy, Model)


@dataclass(frozen=True, slots=True)
class Running:
    """A model that was taken up, with what the learner last added to it."""

    model: Model
    state: ModelState | None = None


class Live:
    """What is in force in this process."""

    def __init__(self, store: Store, models_dir: Path, keys: KeyRing, standby: Standby | None = None) -> None:
        """standby: where the strategy is kept for a start without the store; None keeps none."""
        self._store = store
        self._standby = standby
        self._recalled: Strategy | None = None
        self._shelf = Shelf(store, models_dir)
        self._keys = keys
        self._strategy: Strategy | None = None
        self._running: dict[str, Running] = {}  # by role: model, shadow, challenger
        self._pairs: dict[str, Deployed] = {}  # the same, paired with the strategy
        self._refused_s: dict[str, float] = {}  # what was found faulty, and when
        self._state_since_s = time.monotonic()
        self.current: Deployed | None = None

    @property
    def at_hand(self) -> Strategy | None:
        """The strategy that decides; before there is one, what this machine knew last.

        Enough to show the brand and lead to `default_url`, but not to decide.
        """
        return self._recalled if self.current is None else self.current.strategy

    @property
    def loaded(self) -> dict[str, str | None]:
        """The versions of strategy, model and its state that are loaded, paired or not."""
        model = self._running.get(MODEL)
        return {
            STRATEGY: None if self._strategy is None else self._strategy.version,
            MODEL: None if model is None else model.model.version,
            MODEL_STATE: None if model is None or model.state is None else str(model.state.number),
        }

    async def refresh(self) -> None:
        """Look once: take up what is new and sound. Raises StoreUnavailable or RegistryDamaged."""
        self._keys.keys = await known_keys(self._store)
        named, before = await pointers_of(self._store), self._strategy
        self._strategy = await self._newest(
            STRATEGY, await current_version(self._store), self._strategy, self._shelf.strategy
        )
        if self._standby is not None and self._strategy is not None and self._strategy is not before:
            await self._standby.keep(await self._store.get("strategy", self._strategy.version))
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

    async def recall(self) -> None:
        """Without the store, have what this machine knew last at hand."""
        if self._standby is not None and self.at_hand is None:
            self._recalled = await self._standby.strategy()

    async def deployed(self, versions: Versions) -> Deployed:
        """What decided under these versions, for replay. Raises what the shelf raises where one of them is gone."""
        for each in self.current.deciders if self.current else ():
            if each.versions == versions:
                return each
        return await self._shelf.deployed(versions)

    async def _taken_up(self, named: Pointers) -> dict[str, Running]:
        """By role the models that are named and sound, each in its newest state."""
        challenger = "" if named.challenger is None else named.challenger.version
        taken = {}
        for role, version in ((MODEL, named.model), (SHADOW, named.shadow), (CHALLENGER, challenger)):
            before = self._running.get(role)
            model = await self._newest(role, version, before.model if before else None, self._shelf.model)
            if model is not None and (role == MODEL or model.version == version):
                state = before.state if before is not None and before.model is model else None
                taken[role] = Running(model, await self._newest_state(model, state))
        return taken

    async def _newest(
        self, part: str, version: str, before: Loaded | None, load: Callable[[str], Awaitable[Loaded]]
    ) -> Loaded | None:
        """The strategy or model named, else what was there before."""
        if not version or (before is not None and before.version == version) or self._was_refused(version):
            return before
        try:
            loaded = await load(version)
        except StoreUnavailable:
            raise
        except VersionMissing as error:
            LOG.warning("%s not taken up yet: %s", part, error)
            return before
        except NextbestError as error:
            self._refuse(part, version, error)
            return before
        metrics.DEPLOYMENTS.labels(part, "taken").inc()
        return loaded

    async def _newest_state(self, model: Model, before: ModelState | None) -> ModelState | None:
        """What the learner last published for this very model, else what was there before."""
        name = f"state of {model.version}"
        if self._was_refused(name):
            return before
        try:
            state = await latest_state(self._store, model, after=0 if before is None else before.number)
        except StoreUnavailable:
            raise
        except NextbestError as error:
            self._refuse(MODEL_STATE, name, error)
            return before
        if state is None or state.model != model.version:
            return before
        metrics.DEPLOYMENTS.labels(MODEL_STATE, "taken").inc()
        return state

    async def _deploy(self, strategy: Strategy, named: Pointers) -> None:
        """Pair what changed, and swap it in; a model that cannot decide under the strategy changes nothing."""
        pairs = {role: await self._paired(role, strategy, each) for role, each in self._running.items()}
        self._pairs = {role: each for role, each in pairs.items() if each is not None}
        if MODEL not in self._pairs:
            self.current = _less_what_ended(self.current, named)
            return
        current = replace(self._pairs[MODEL], shadow=self._pairs.get(SHADOW))
        if named.challenger is not None and CHALLENGER in self._pairs:
            deployed = replace(self._pairs[CHALLENGER], shadow=current.shadow)
            current = replace(current, challenge=Challenge(deployed, named.challenger.share, named.challenger.salt))
        self.current = current

    async def _paired(self, role: str, strategy: Strategy, running: Running) -> Deployed | None:
        number = None if running.state is None else str(running.state.number)
        versions = Versions(strategy.version, running.model.version, number)
        before, both = self._pairs.get(role), f"{strategy.version} with {running.model.version}"
        if before is not None and before.versions == versions:
            return before
        if self._was_refused(both):
            return None
        try:
            paired = await asyncio.to_thread(pair, strategy, running.model, running.state)
        except NextbestError as error:
            self._refuse(role, both, error)
            return None
        if before is None or replace(before.versions, model_state=number) != versions:
            await rehearse(paired, now_ms=wall_ms())  # not for a new state alone: there is one every few seconds
        if role == MODEL:
            self._state_since_s = time.monotonic()
        return paired

    def _refuse(self, part: str, version: str, error: NextbestError) -> None:
        self._refused_s[version] = time.monotonic()
        metrics.DEPLOYMENTS.labels(part, "refused").inc()
        LOG.error("%s %s refused, what decided goes on: %s", part, version, error)

    def _was_refused(self, version: str) -> bool:
        """True shortly after something was found faulty: not to try and log it every second."""
        return time.monotonic() - self._refused_s.get(version, -REFUSED_S) < REFUSED_S

    def _tell(self) -> None:
        metrics.READY.set(self.current is not None)
        metrics.MODEL_STATE.set(int(self.loaded[MODEL_STATE] or 0))
        metrics.MODEL_STATE_AGE.set(time.monotonic() - self._state_since_s)


def _less_what_ended(current: Deployed | None, named: Pointers) -> Deployed | None:
    """What goes on deciding, without a shadow or challenger that was stopped: whoever stops one cannot wait."""
    if current is None:
        return None
    shadow, challenge = current.shadow, current.challenge
    if shadow is not None and shadow.versions.model != named.shadow:
        shadow = None
    challenger = "" if named.challenger is None else named.challenger.version
    if challenge is not None and challenge.deployed.versions.model != challenger:
        challenge = None
    elif challenge is not None:
        challenge = replace(challenge, deployed=replace(challenge.deployed, shadow=shadow))
    return replace(current, shadow=shadow, challenge=challenge)
