"""Checkpoints: states kept for longer than a moment, and what may be forgotten because of them.

The registry keeps them under names that tell model, number and time, so that trimming reads no body. All that is needed
to rebuild the states of the retention is the newest checkpoint from before it, and the entries behind that one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby

from decisioning.learning.model_state import standing_of, states_of
from decisioning.store.protocol import Store

CHECKPOINT = "checkpoint"  # kind of the registry's entries


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """Which state a kept body is."""

    model: str
    number: int
    at_ms: int

    @property
    def name(self) -> str:
        """Under which the registry keeps it; names sort like checkpoints."""
        return f"{self.model}:{self.number:012d}:{self.at_ms:013d}"


def folds_of(model_version: str) -> str:
    """Name of the series of a model's entries."""
    return f"folds:{model_version}"


async def checkpoints(store: Store) -> list[Checkpoint]:
    """All of them, by model and number."""
    split = [name.rsplit(":", 2) for name in await store.names(CHECKPOINT)]
    return sorted(Checkpoint(model, int(number), int(at_ms)) for model, number, at_ms in split)


async def trim(store: Store, *, before_ms: int, active: Collection[str]) -> None:
    """Forget what no state younger than `before_ms` needs. Of a chain that is not active only its last state stays.

    A chain goes on where it stood when its model is promoted again, so none is dropped as a whole.
    """
    for model, several in groupby(await checkpoints(store), key=lambda each: each.model):
        kept = list(several)
        if model not in active:
            kept += await _last_state_kept(store, kept[-1])
        bases = [each for each in kept if each.at_ms <= before_ms]
        if bases:
            await store.forget(folds_of(model), before=bases[-1].number + 1)
        is_over = model not in active and bases == kept
        if is_over:
            await store.forget(states_of(model), before=kept[-1].number)
        for old in bases if is_over else bases[:-1]:
            await store.remove(CHECKPOINT, old.name)


async def _last_state_kept(store: Store, newest: Checkpoint) -> list[Checkpoint]:
    """Keep the state at which a chain has ended, so that the entries before it can go."""
    last = await store.latest(states_of(newest.model), after=newest.number)
    if last is None:
        return []
    checkpoint = Checkpoint(newest.model, last.number, standing_of(last.body).at_ms)
    await store.put(CHECKPOINT, checkpoint.name, last.body)
    return [checkpoint]
