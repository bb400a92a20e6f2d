"""Chains: the one order in which a model's responses were folded, and the states that came of it.

An entry is written before it takes effect: what was heard, the rows to fold and how far the log is read then. Its
number is the next of a series that takes each number once, so of two learners one learns that it is stale, and the
order never forks, but for what a failover of the store forgets. State n is state n-1 with entry n folded in; nothing
else enters it, and so a checkpoint and the entries behind it give every later state again, bit by bit. Regressors in
an entry are sealed with the customer's own key, as personal values in records are: who is erased cannot be folded
again, and a rebuild that needs it says so.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decisioning.customer import PARTITION_COUNT
from decisioning.errors import Overtaken, SealBroken, StateMissing
from decisioning.learning.checkpoints import CHECKPOINT, Checkpoint, checkpoints, folds_of
from decisioning.learning.labels import Step, Trial
from decisioning.learning.model_state import ModelState, Standing, days, opened, pack, state_at, states_of, unpack
from decisioning.people import sealing_keys
from decisioning.sealing import seal, unseal
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.packing import canonical, parsed
from decisioning.store.protocol import Note, Numbered, Store
from models import PropensityModel
from models.adaptive import Learner

# Two months: long beside the days that answers take, short beside what changes a market.
HALF_LIFE_DAYS = 60.0
TRIAL_KEPT_S = 30 * 86_400  # what was heard of a trial is remembered so long; what comes later is not learnt from
START = "0-0"  # the position before the first record of a partition
STATES_KEPT = 3  # a serving process looks once a second and may be late once or twice
CHECKPOINT_ROWS = 50_000  # what a rebuild folds at most: some seconds
CHECKPOINT_MS = 3_600_000
ENTRIES_PAGE = 20  # opened between two breaths: a serving process rebuilds states while customers wait for it

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One step of one trial, to be folded."""

    trial: Trial
    person_key: str
    step: Step
    sealed: str  # the regressors

    @classmethod
    def of(cls, trial: Trial, person_key: str, step: Step, regressors: Floats, sealing_key: str) -> Row:
        """A row whose regressors only the customer's key opens."""
        return cls(trial, person_key, step, seal(sealing_key, zlib.compress(regressors.tobytes())))

    def regressors(self, sealing_key: str) -> Floats:
        """What was sealed. Raises SealBroken for the key of another life of the customer."""
        return np.frombuffer(zlib.decompress(unseal(sealing_key, self.sealed)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Heard:
    """One response outcome of one trial."""

    trial: Trial
    outcome: str


@dataclass(slots=True)
class Entry:
    """What one number adds to a chain."""

    at_ms: int
    positions: dict[str, str]  # of partitions that were read further than the entry before says
    heard: list[Heard] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def packed(self) -> bytes:
        """As JSON; ids, outcomes and sealed text only."""
        return canonical(self)

    @classmethod
    def unpacked(cls, body: bytes) -> Entry:
        """From JSON."""
        fields = parsed(body)
        heard = [Heard(Trial(*each["trial"]), each["outcome"]) for each in fields["heard"]]
        rows = [Row(**{**each, "trial": Trial(*each["trial"])}) for each in fields["rows"]]
        return cls(fields["at_ms"], fields["positions"], heard, rows)


class Chain:
    """A model's learner, and where it stands. An object that was Overtaken is of no more use."""

    def __init__(self, store: Store, model: PropensityModel, standing: Standing, learner: Learner) -> None:
        self.model = model
        self.standing = standing
        self.learner = learner
        self._store = store
        self._rows_ahead = 0  # folded since the newest checkpoint, as far as this object knows
        self._checkpoint_ms = -CHECKPOINT_MS  # of the newest; a chain's first state is one

    @classmethod
    async def resume(cls, store: Store, model: PropensityModel, *, start: str) -> Chain:
        """The chain as the store has it; a new one reads the log behind the position `start`.

        An entry without its state belongs to a learner that ended between the two: it is folded now.
        """
        newest = await store.latest(states_of(model.version))
        chain = cls(store, model, *(opened(newest.body, model) if newest else _beginning(model, start)))
        for kept in await checkpoints_of(store, model):
            chain._checkpoint_ms = kept.at_ms
        if newest and chain._checkpoint_ms < 0:  # its model had retired, which leaves the last state and nothing else
            await chain._keep(newest.body)
        for numbered in await store.entries(folds_of(model.version), after=chain.standing.number, limit=ENTRIES_PAGE):
            entry = Entry.unpacked(numbered.body)
            await chain._take(numbered.number, entry, await regressors_of(store, entry.rows))
        return chain

    async def record(self, entry: Entry, regressors: Sequence[Floats]) -> None:
        """Write the next entry, fold its rows, publish the state. Raises Overtaken, StoreUnavailable."""
        number = self.standing.number + 1
        if not await self._store.append(folds_of(self.model.version), number, entry.packed()):
            raise Overtaken(f"another learner wrote entry {number} of model {self.model.version[:12]}.")
        await self._take(number, entry, regressors)

    async def _take(self, number: int, entry: Entry, regressors: Sequence[Floats | None]) -> None:
        """Let a written entry take effect. Every step may be repeated: a learner may end between any two of them."""
        await self._store.note(notes_of(self.model, entry.heard))
        self.standing = folded(self.learner, self.standing, number, entry, regressors)
        packed = pack(self.standing, self.learner)
        if not await self._store.append(states_of(self.model.version), number, packed):
            raise Overtaken(f"another learner published state {number} of model {self.model.version[:12]}.")
        await self._store.forget(states_of(self.model.version), before=number - STATES_KEPT + 1)
        self._rows_ahead += len(entry.rows)
        if self._rows_ahead >= CHECKPOINT_ROWS or entry.at_ms - self._checkpoint_ms >= CHECKPOINT_MS:
            await self._keep(packed)

    async def _keep(self, packed: bytes) -> None:
        """Make a checkpoint of the state that the chain stands at."""
        checkpoint = Checkpoint(self.model.version, self.standing.number, self.standing.at_ms)
        await self._store.put(CHECKPOINT, checkpoint.name, packed)
        self._rows_ahead, self._checkpoint_ms = 0, self.standing.at_ms


def _beginning(model: PropensityModel, start: str) -> tuple[Standing, Learner]:
    positions = {str(partition): start for partition in range(PARTITION_COUNT)}
    return Standing(0, 0, positions), Learner(model, half_life=HALF_LIFE_DAYS)


def folded(
    learner: Learner, standing: Standing, number: int, entry: Entry, regressors: Sequence[Floats | None]
) -> Standing:
    """Fold an entry's rows into the learner; where it stands then. A row that is None was erased and adds nothing."""
    at = days(entry.at_ms)
    for row, each in zip(entry.rows, regressors, strict=True):
        if each is not None:
            _fold(learner, row, each, at)
    return Standing(number, entry.at_ms, {**standing.positions, **entry.positions})


def _fold(learner: Learner, row: Row, regressors: Floats, at: float) -> None:
    match row.step:
        case "negative" | "positive":
            learner.fold(regressors, row.trial.action, row.step == "positive", at)
        case "revise":
            learner.revise(regressors, row.trial.action, at)
        case "retract":
            learner.retract(regressors, row.trial.action, at)


class States:
    """A model's states by their numbers. Whoever asks in rising order has each entry folded once."""

    def __init__(self, store: Store, model: PropensityModel) -> None:
        self._store = store
        self._model = model
        self._reached: tuple[Standing, Learner] | None = None  # the last state that was folded here
        self._folding = asyncio.Lock()

    async def state(self, number: int) -> ModelState:
        """As it was published while it is kept, else folded again from the state before that is at hand.

        Raises StateMissing for a number that never was, that is older than what is kept, or whose rows belong in part
        to customers who were erased since.
        """
        for kept in await self._store.entries(states_of(self._model.version), after=number - 1, limit=1):
            if kept.number == number:
                return await asyncio.to_thread(unpack, kept.body, self._model)
        async with self._folding:
            standing, learner = await self._folded_up_to(number)
            if standing.number != number or number < 1:
                name = f"state {number} of model {self._model.version[:12]}"
                raise StateMissing(f"{name} is not in the store, or no more.")
            return await asyncio.to_thread(state_at, standing, learner, self._model)

    async def _folded_up_to(self, number: int) -> tuple[Standing, Learner]:
        standing, learner = await self._before(number)
        while standing.number < number:
            page = await self._store.entries(folds_of(self._model.version), after=standing.number, limit=ENTRIES_PAGE)
            if not page:
                break
            for numbered in page[: number - standing.number]:
                entry, regressors = await _read_again(self._store, numbered, standing.number)
                self._reached = None  # half folded, should somebody give up here
                standing = await asyncio.to_thread(folded, learner, standing, numbered.number, entry, regressors)
                self._reached = standing, learner
        return standing, learner

    async def _before(self, number: int) -> tuple[Standing, Learner]:
        """The state folded last, or a checkpoint that is nearer to the number."""
        kept = [each for each in await checkpoints_of(self._store, self._model) if each.number <= number]
        nearest = kept[-1].number if kept else 0
        if self._reached is not None and nearest <= self._reached[0].number <= number:
            return self._reached
        packed = await self._store.get(CHECKPOINT, kept[-1].name) if kept else None
        return await asyncio.to_thread(opened, packed, self._model) if packed else _beginning(self._model, START)


async def _read_again(store: Store, numbered: Numbered, before: int) -> tuple[Entry, list[Floats | None]]:
    """An entry that follows the number before, with its regressors."""
    entry = await asyncio.to_thread(Entry.unpacked, numbered.body)
    regressors = await regressors_of(store, entry.rows)
    if numbered.number != before + 1 or any(each is None for each in regressors):
        why = "older entries are gone" if numbered.number != before + 1 else "a customer in it was erased"
        raise StateMissing(f"state {numbered.number} cannot be rebuilt: {why}.")
    return entry, regressors


async def checkpoints_of(store: Store, model: PropensityModel) -> list[Checkpoint]:
    """Those of one model, oldest first."""
    return [each for each in await checkpoints(store) if each.model == model.version]


async def regressors_of(store: Store, rows: Sequence[Row]) -> list[Floats | None]:
    """The regressors of rows, in order; None where the customer was erased."""
    keys = await sealing_keys(store, [(partition_of_trial(row.trial), row.person_key) for row in rows])
    return await asyncio.to_thread(lambda: [_unsealed(*each) for each in zip(rows, keys, strict=True)])


def _unsealed(row: Row, sealing_key: str | None) -> Floats | None:
    try:
        return None if sealing_key is None else row.regressors(sealing_key)
    except SealBroken:
        return None


def notes_of(model: PropensityModel, heard: Sequence[Heard]) -> list[Note]:
    """What is remembered of each trial: the outcomes heard, for this model's chain alone."""
    words: dict[Trial, set[str]] = {}
    for each in heard:
        words.setdefault(each.trial, set()).add(each.outcome)
    return [Note(*note_place(model, trial), frozenset(several), TRIAL_KEPT_S) for trial, several in words.items()]


def note_place(model: PropensityModel, trial: Trial) -> tuple[int, str]:
    """Partition and name of a trial's note."""
    return partition_of_trial(trial), f"{model.version}:{trial.decision_id}:{trial.action}"


def partition_of_trial(trial: Trial) -> int:
    """The partition of the customer whose trial it is."""
    where = whereabouts_of(trial.decision_id)
    return where.partition if where else 0
