"""Hearing: the log's next responses, each with the trial it is about.

A response names the decision that showed the offer; if that was a render, the trial is the draw it repeats. A model
learns from the trials of its own decisions: only those recorded what it reads, and were heard from their beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decisioning.customer import PARTITION_COUNT
from decisioning.errors import StoreDamaged
from decisioning.learning.chain import TRIAL_KEPT_S
from decisioning.learning.labels import Trial, is_drawn_for_machine, trial_of
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.gently import gently
from decisioning.store.packing import parsed
from decisioning.store.protocol import LogEntry, Store

PAGE_RECORDS = 50  # read from one partition at a time
ARCHIVED_AT_ONCE = 500  # records looked for in history together: bounds their memory
RECORDS_KEPT = 5_000  # most responses come soon after their decision; 10 MB
FORGOTTEN = ("worker", "forgotten_ms")  # registry entry: records logged before it may have left the store

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """One response outcome, with the record of the decision that drew its trial."""

    trial: Trial
    outcome: str
    origin: Record

    @property
    def strategy_version(self) -> str:
        """Of the strategy that decided."""
        version: str = self.origin["versions"]["strategy"]
        return version


@dataclass(slots=True)
class Page:
    """What was logged behind some positions."""

    responses: list[Record] = field(default_factory=list)
    positions: dict[str, str] = field(default_factory=dict)  # of the last record read, by partition
    more_waiting: bool = False  # some partition has more
    oldest_ms: int = 0  # when the oldest of the responses was logged
    newest_ms: int = 0  # the latest position
    behind_ms: int = 0  # of the partitions that have more: up to when the one furthest behind is read


class Records:
    """Decision records by id: those read lately, then what the store has, then what history has."""

    def __init__(self, store: Store, archived: Callable[[Sequence[str]], Awaitable[Mapping[str, Record]]]) -> None:
        """archived finds records in history, by id; it may take its time."""
        self._store = store
        self._archived = archived
        self._lately: OrderedDict[str, bytes] = OrderedDict()

    def keep(self, decision_id: str, body: bytes) -> None:
        """Remember a record that was just read, in place of the oldest."""
        self._lately[decision_id] = body
        if len(self._lately) > RECORDS_KEPT:
            self._lately.popitem(last=False)

    async def find(self, decision_ids: Collection[str]) -> dict[str, Record]:
        """The records that are anywhere."""
        bodies = {each: body for each in decision_ids if (body := self._lately.get(each)) is not None}
        missing = [each for each in decision_ids if each not in bodies]
        async for each, body in gently((each, self._store.find_record(each)) for each in missing):
            if body is not None:
                bodies[each] = body
        found = {each: record for each, body in bodies.items() if (record := _read(body, "decision"))}
        late = sorted((each for each in missing if each not in bodies), key=_moment)
        for first in range(0, len(late), ARCHIVED_AT_ONCE):
            found |= await self._archived(late[first : first + ARCHIVED_AT_ONCE])
        return found


def _moment(decision_id: str) -> int:
    """When it was decided: history lies by day, and neighbours are found together."""
    where = whereabouts_of(decision_id)
    return where.from_ms if where else 0


async def read_on(store: Store, positions: Mapping[str, str], records: Records) -> Page:
    """The next page of every partition: responses in order, decisions only kept for those to come."""
    page = Page()
    partitions = range(PARTITION_COUNT)
    reads = ((each, store.log(each, after=positions[str(each)], limit=PAGE_RECORDS)) for each in partitions)
    async for partition, entries in gently(reads):
        _add(page, partition, entries, records)
    return page


def _add(page: Page, partition: int, entries: Sequence[LogEntry], records: Records) -> None:
    if len(entries) == PAGE_RECORDS:
        page.more_waiting = True
        page.behind_ms = min(page.behind_ms or time_of(entries[-1].position), time_of(entries[-1].position))
    for entry in entries:
        if whereabouts_of(entry.record.record_id) is not None:
            records.keep(entry.record.record_id, entry.record.body)
        elif (response := _response(entry.record.body)) and not _is_too_late(response, entry.position):
            page.responses.append(response)
            page.oldest_ms = min(page.oldest_ms or time_of(entry.position), time_of(entry.position))
    if entries:
        page.positions[str(partition)] = entries[-1].position
        page.newest_ms = max(page.newest_ms, time_of(entries[-1].position))


async def told_in(responses: Sequence[Record], model_version: str, records: Records) -> list[Told]:
    """What the responses say of trials that this model decided, in order; what nobody can find is left out."""
    shown = await records.find({each["decision_id"] for each in responses})
    trials = [_trial(each, shown.get(each["decision_id"])) for each in responses]
    elsewhere = {trial.decision_id for trial in trials if trial is not None} - shown.keys()
    origins = {**shown, **await records.find(elsewhere)}
    told = []
    for response, trial in zip(responses, trials, strict=True):
        origin = origins.get(trial.decision_id) if trial else None
        if trial and origin and origin["versions"]["model"] == model_version and not is_drawn_for_machine(origin):
            told.append(Told(trial, response["outcome"], origin))
    return told


def _trial(response: Record, shown: Record | None) -> Trial | None:
    for placed in shown["placements"] if shown else ():
        if (placed["placement"], placed["action"]) == (response["placement"], response["action"]):
            return trial_of(response["decision_id"], placed)
    return None


def _read(body: bytes, kind: str) -> Record | None:
    """A record of this kind, or None for what cannot be read: the history worker sets that aside and says so."""
    try:
        record = parsed(body)
    except StoreDamaged:
        return None
    return record if isinstance(record, dict) and record.get("kind") == kind else None


def _response(body: bytes) -> Record | None:
    """A response that names a decision; conversions without one are about no trial."""
    record = _read(body, "response")
    named = record and all(
        isinstance(record.get(each), str) for each in ("decision_id", "placement", "action", "outcome")
    )
    return record if named else None


def _is_too_late(response: Record, position: str) -> bool:
    """True when what was heard of its trial before is forgotten by now."""
    where = whereabouts_of(response["decision_id"])
    return where is None or time_of(position) - where.from_ms > TRIAL_KEPT_S * 1000


def time_of(position: str) -> int:
    """When a record was logged, in milliseconds by the store's clock."""
    return int(position.partition("-")[0])
