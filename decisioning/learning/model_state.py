"""Model states: what was learnt on top of a batch model, as numbered snapshots.

A state is the learner's dump with its number and the log positions it contains. The series `states:<model>` keeps the
last few for serving processes to take up; `chain.py` writes them, and rebuilds older ones from what it recorded.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from decisioning.errors import RegistryDamaged, StoreDamaged
from decisioning.interactions import DAY_MS
from decisioning.store.packing import canonical, parsed
from decisioning.store.protocol import Store
from models import ModelError, Posterior, PropensityModel
from models.adaptive import Learner

COMPRESSION = 1  # most nodes are still as the batch model left them, which the quickest level already finds


@dataclass(frozen=True, slots=True)
class ModelState:
    """One snapshot, ready to be paired with its model."""

    number: int
    model: str  # version of the batch model it began with
    posterior: Posterior
    impressions: Mapping[str, int]  # trials folded, by action
    positions: Mapping[str, str]  # by partition: the last log position that it contains
    at_ms: int  # the store's time of the last of them


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a chain of states stands: everything but the learner itself."""

    number: int
    at_ms: int
    positions: Mapping[str, str]


def pack(standing: Standing, learner: Learner) -> bytes:
    """A state as bytes."""
    head = canonical({"number": standing.number, "at_ms": standing.at_ms, "positions": standing.positions})
    return len(head).to_bytes(4) + head + zlib.compress(learner.dump(), COMPRESSION)


def standing_of(packed: bytes) -> Standing:
    """Where the packed state stands. Raises RegistryDamaged."""
    try:
        return Standing(**parsed(packed[4 : 4 + int.from_bytes(packed[:4])]))
    except (TypeError, StoreDamaged) as error:
        raise RegistryDamaged(f"a model state cannot be read: {error}") from error


def opened(packed: bytes, model: PropensityModel) -> tuple[Standing, Learner]:
    """What was packed. Raises RegistryDamaged for other bytes, or for the state of another model."""
    standing = standing_of(packed)
    try:
        return standing, Learner.load(model, zlib.decompress(packed[4 + int.from_bytes(packed[:4]) :]))
    except (zlib.error, ModelError) as error:
        raise RegistryDamaged(f"a state of model {model.version[:12]} cannot be read: {error}") from error


def unpack(packed: bytes, model: PropensityModel) -> ModelState:
    """A state from its bytes. Raises RegistryDamaged."""
    return state_at(*opened(packed, model), model)


def state_at(standing: Standing, learner: Learner, model: PropensityModel) -> ModelState:
    """The snapshot of a learner that stands here. Raises RegistryDamaged where its numbers are none."""
    try:
        posterior = learner.posterior(days(standing.at_ms))
    except ModelError as error:
        raise RegistryDamaged(f"state {standing.number} of model {model.version[:12]}: {error}") from error
    impressions = dict(learner.impressions)
    return ModelState(standing.number, model.version, posterior, impressions, standing.positions, standing.at_ms)


def days(at_ms: int) -> float:
    """A time in the unit of the learner's half-life."""
    return at_ms / DAY_MS


def states_of(model_version: str) -> str:
    """Name of the series of a model's states."""
    return f"states:{model_version}"


async def latest_state(store: Store, model: PropensityModel, *, after: int = 0) -> ModelState | None:
    """The newest state of a model, None while there is none with a number above `after`.

    Raises RegistryDamaged for one that cannot be read, StoreUnavailable.
    """
    found = await store.latest(states_of(model.version), after=after)
    # Milliseconds for a thousand actions: in a thread, or customers who ask meanwhile would wait for them.
    return await asyncio.to_thread(unpack, found.body, model) if found else None
