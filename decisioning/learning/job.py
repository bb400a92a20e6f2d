"""The learner: folds every response into the models that decide, within seconds, as one process at a time.

A round reads the log behind where a model's chain stands, finds the trial of each response, and records what that
changes as the chain's next entry. The store's lease keeps a second learner idle; that the order cannot fork is the
chain's own doing. Whatever goes wrong, the next spell takes the chains from the store again. Runs in `nextbest worker`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError, StoreUnavailable
from decisioning.learning.chain import (
    START,
    Chain,
    Entry,
    Floats,
    Heard,
    Row,
    note_place,
    notes_of,
    partition_of_trial,
)
from decisioning.learning.checkpoints import trim
from decisioning.learning.hearing import FORGOTTEN, Page, Records, Told, read_on, told_in
from decisioning.learning.labels import Step, step
from decisioning.learning.rows import regressors_of_trial
from decisioning.people import sealing_keys
from decisioning.scoring import Model
from decisioning.store.protocol import Store
from models import ModelError

UPKEEP_MS = 60_000  # between two rounds of trimming
MARGIN_MS = 60_000  # a new chain reads so much of the log again: its model may have decided before it was noticed
TROUBLE_PAUSE_MS = 1_000
RENEWALS = 3  # of the lease, in its time, during a search of history
REACHED = ("learner", "reached_ms")  # registry entry: up to when the log was read to its end, for all that decided

log = logging.getLogger(__name__)


class Library(Protocol):
    """Where the learner finds what is not in its own keeping; the composition root supplies one."""

    async def deciding(self) -> Sequence[str]:
        """Versions of the models that decide now, for all people or for a share."""
        ...

    async def model(self, version: str) -> Model:
        """Raises VersionMissing or ModelRefused."""
        ...

    async def strategy(self, version: str) -> Strategy:
        """Raises VersionMissing, RegistryDamaged or StrategyFaulty."""
        ...

    def archived(self, decision_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Those records that history has, by decision id. It may take a while, and is called in a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and how long things are kept."""

    poll_ms: int = 1_000  # between two rounds; serving processes look as often
    lease_ms: int = 10_000  # another learner takes over so long after this one fell silent
    retention_ms: int = 86_400_000  # states of this time can be rebuilt, as long as explaining decisions is quick


@dataclass(slots=True)
class Progress:
    """How the learner stands; one object, updated as it goes."""

    owner: bool = False  # false while another learner has the job
    states: dict[str, int] = field(default_factory=dict)  # number of the newest state, by the model's short version
    folded: int = 0  # steps of trials this process has folded
    passed_over: int = 0  # steps it could not fold: the customer was erased, or a value cannot be read any more
    lag_ms: int = 0  # age of the oldest response of the last entry, when it was folded
    more_waiting: bool = False  # the last round did not reach the end of the log
    unread_ms: int = 0  # so much of the log left the store before this process read it, added up over the models
    trouble: str = ""  # why the last round failed; empty when it did not


async def run_learner(
    store: Store,
    library: Library,
    *,
    stop: asyncio.Event,
    on_progress: Callable[[Progress], None],
    pace: Pace | None = None,
) -> None:
    """Learn until `stop` is set, then give the job back. Trouble is reported through `on_progress`, and tried again."""
    pace, progress, owner = pace or Pace(), Progress(), secrets.token_hex(8)
    while not stop.is_set():
        try:
            if await store.own("learner", owner, ttl_ms=pace.lease_ms):
                progress.owner = True
                await Learning(store, library, owner, pace, progress, on_progress).run(stop)
        except NextbestError as error:
            log.warning("learner: %s: %s", type(error).__name__, error)
            progress.trouble = f"{type(error).__name__}: {error}"
            await pause(stop, TROUBLE_PAUSE_MS)
        progress.owner = False
        on_progress(progress)
        await pause(stop, pace.poll_ms)
    with suppress(StoreUnavailable):
        if await store.own("learner", owner, ttl_ms=pace.lease_ms):
            await store.own("learner", owner, ttl_ms=1)  # for one more millisecond: the next learner need not wait


class Learning:
    """One spell of work: from taking the job to its end, to trouble, or to the loss of the lease."""

    def __init__(
        self,
        store: Store,
        library: Library,
        owner: str,
        pace: Pace,
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._store = store
        self._library = library
        self._owner = owner
        self._pace = pace
        self._progress = progress
        self._on_progress = on_progress
        self._records = Records(store, self._archived)
        self._chains: dict[str, Chain] = {}
        self._read: dict[str, dict[str, str]] = {}  # by model: how far the log was read, by partition
        self._complete_ms: dict[str, int] = {}  # by model: all logged before it is read, or told as lost; 0: not known
        self._newest_ms = 0  # latest log position read
        self._lacks_chain = False  # of a model that decides: nobody reads the log for it
        self._upkeep_ms = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Round after round. Raises NextbestError, after which the chains are to be taken from the store anew."""
        while not stop.is_set() and await self._store.own("learner", self._owner, ttl_ms=self._pace.lease_ms):
            self._progress.trouble = ""
            pages = [await self._advance(chain) for chain in await self._deciding()]
            self._newest_ms = max([self._newest_ms, *(page.newest_ms for page in pages)])
            self._progress.more_waiting = any(page.more_waiting for page in pages)
            self._on_progress(self._progress)
            if not self._progress.more_waiting:
                await self._keep_up()
                await pause(stop, self._pace.poll_ms)

    async def _deciding(self) -> list[Chain]:
        """The chains of the models that decide. One that cannot be had does not keep the others from learning."""
        chains: dict[str, Chain] = {}
        self._lacks_chain = False
        for version in await self._library.deciding():
            try:
                chains[version] = self._chains.get(version) or await self._resumed(version)
            except StoreUnavailable:
                raise
            except NextbestError as error:
                self._lacks_chain = True
                self._progress.trouble = f"{type(error).__name__}: {error}"
        self._chains = chains
        self._progress.states = {version[:12]: chain.standing.number for version, chain in chains.items()}
        return list(chains.values())

    async def _resumed(self, version: str) -> Chain:
        reached = await self._store.get(*REACHED)
        start = START if reached is None else f"{max(0, int(reached) - MARGIN_MS)}-0"
        chain = await Chain.resume(self._store, await self._library.model(version), start=start)
        self._read[version] = dict(chain.standing.positions)
        # Whoever wrote that note read on until the next was due: a short gap missed is better than one made up.
        noted_ms = 0 if reached is None else int(reached) + UPKEEP_MS
        self._complete_ms[version] = max(chain.standing.at_ms, noted_ms)
        return chain

    async def _advance(self, chain: Chain) -> Page:
        """Read a page of the log and let the chain take what is new in it."""
        read = self._read[chain.model.version]
        page = await read_on(self._store, read, self._records)
        await self._look_for_a_gap(chain.model.version, page)
        read.update(page.positions)
        heard = await told_in(page.responses, chain.model.version, self._records)
        if heard:
            await self._take(chain, page, heard)
        return page

    async def _look_for_a_gap(self, version: str, page: Page) -> None:
        """Say so when records have left the store unread: reading on from a position that is gone passes over them.

        Positions cannot tell, a partition may have been silent for a day; so the time that the worker noted is compared
        with the time before which all is read. It is asked for after reading, or a trim between the two would hide.
        """
        complete_ms, forgotten_ms = self._complete_ms[version], int(await self._store.get(*FORGOTTEN) or 0)
        if 0 < complete_ms < forgotten_ms:
            self._progress.unread_ms += forgotten_ms - complete_ms
            log.warning(
                "learner: model %s: responses of up to %.0f s, before %s, left the store before the learner read them. "
                "History has them: `nextbest train --recorded` learns from it. NEXTBEST_RECORDS_HOURS and "
                "NEXTBEST_RECORDS_MB say how long records stay.",
                version[:12],
                (forgotten_ms - complete_ms) / 1000,
                datetime.fromtimestamp(forgotten_ms / 1000, UTC).isoformat(timespec="seconds"),
            )
        self._complete_ms[version] = max(complete_ms, forgotten_ms, page.behind_ms or page.newest_ms)

    async def _archived(self, decision_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Records from history; the job is kept meanwhile, however long a disk takes."""
        search = asyncio.create_task(asyncio.to_thread(self._library.archived, decision_ids))
        while not search.done():
            await self._store.own("learner", self._owner, ttl_ms=self._pace.lease_ms)
            await asyncio.wait([search], timeout=self._pace.lease_ms / 1000 / RENEWALS)
        return search.result()

    async def _take(self, chain: Chain, page: Page, heard: Sequence[Told]) -> None:
        strategies = await self._strategies(heard)
        heard = [each for each in heard if each.strategy_version in strategies]
        steps = await self._steps(chain.model, heard, strategies)
        rows, regressors = await self._rows(chain.model, steps, strategies)
        outcomes = [Heard(each.trial, each.outcome) for each in heard]
        if not rows:
            await self._store.note(notes_of(chain.model, outcomes))  # nothing to fold, now or read again
            return
        known, read = chain.standing.positions, self._read[chain.model.version]
        moved = {partition: position for partition, position in read.items() if known.get(partition) != position}
        entry = Entry(max(chain.standing.at_ms, page.newest_ms), moved, outcomes, rows)
        await chain.record(entry, regressors)
        self._progress.folded += len(rows)
        self._progress.lag_ms = max(0, clock_ms() - page.oldest_ms)
        self._progress.states[chain.model.version[:12]] = chain.standing.number

    async def _strategies(self, heard: Sequence[Told]) -> dict[str, Strategy]:
        """The strategies that decided; one that cannot be had keeps its decisions from being learnt from."""
        found: dict[str, Strategy] = {}
        for version in sorted({each.strategy_version for each in heard}):
            try:
                found[version] = await self._library.strategy(version)
            except StoreUnavailable:
                raise
            except NextbestError as error:
                log.warning("learner: responses to decisions of strategy %s are passed over: %s", version[:12], error)
        return found

    async def _steps(
        self, model: Model, heard: Sequence[Told], strategies: Mapping[str, Strategy]
    ) -> list[tuple[Told, Step]]:
        """What the outcomes change, one after the other."""
        trials = list(dict.fromkeys(each.trial for each in heard))
        noted = await self._store.notes([note_place(model, trial) for trial in trials])
        before = {trial: set(outcomes) for trial, outcomes in zip(trials, noted, strict=True)}
        steps = []
        for each in heard:
            strategy = strategies[each.strategy_version]
            action = strategy.actions[strategy.action_index[each.trial.action]]
            taken = step(before[each.trial], each.outcome, action.behaviour)
            if taken is not None:
                steps.append((each, taken))
            before[each.trial].add(each.outcome)
        return steps

    async def _rows(
        self, model: Model, steps: Sequence[tuple[Told, Step]], strategies: Mapping[str, Strategy]
    ) -> tuple[list[Row], list[Floats]]:
        """The rows of an entry with their regressors, less those nobody can open or read any more."""
        people = [(partition_of_trial(told.trial), told.origin["person_key"]) for told, _ in steps]
        keys = await sealing_keys(self._store, people)
        pairs = zip(steps, keys, strict=True)
        opened = await asyncio.to_thread(lambda: [_row(*each, strategies, model) for each in pairs])
        found = [each for each in opened if each is not None]
        self._progress.passed_over += len(opened) - len(found)
        return [row for row, _ in found], [regressors for _, regressors in found]

    async def _keep_up(self) -> None:
        """Now and then, at the end of the log: note how far it is read, and forget what no rebuild needs.

        A model that cannot be had yet decides nevertheless, and will begin where the note says; so the note waits for
        it. Should it never come, the next new model reads all of the log that is still there, a day of it.
        """
        if clock_ms() - self._upkeep_ms < UPKEEP_MS:
            return
        self._upkeep_ms = clock_ms()
        if self._newest_ms and not self._lacks_chain:
            await self._store.put(*REACHED, str(self._newest_ms).encode())
        await trim(self._store, before_ms=clock_ms() - self._pace.retention_ms, active=self._chains)


def _row(
    taken: tuple[Told, Step], sealing_key: str | None, strategies: Mapping[str, Strategy], model: Model
) -> tuple[Row, Floats] | None:
    told, what = taken
    if sealing_key is None:
        return None
    strategy = strategies[told.strategy_version]
    try:
        regressors = regressors_of_trial(told.trial, told.origin, sealing_key, strategy, model)
    except (NextbestError, ModelError) as error:
        log.warning("learner: a trial of %s is passed over: %s", told.trial.action, error)
        return None
    return Row.of(told.trial, told.origin["person_key"], what, regressors, sealing_key), regressors


async def pause(stop: asyncio.Event, pause_ms: int) -> None:
    """Wait, or less when `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), pause_ms / 1000)


def clock_ms() -> int:
    """This machine's clock: for ages and pauses only, what is recorded has the store's time."""
    return time.time_ns() // 1_000_000
