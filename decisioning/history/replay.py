"""Replay: decisions of history made again, by the versions that made them or under another strategy.

Streams through history, some decisions at a time. Of those the ones of living customers are opened with their own keys
and decided by the very function that serves; what somebody erased has left stays closed and is counted. Within a page
decisions go version by version, because a pairing of strategy and model takes a hundred times as long as a decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from decisioning.catalog.strategy import Strategy
from decisioning.customer import Snapshot
from decisioning.errors import InvalidAttribute, NextbestError, StateMissing, StoreDamaged, StoreUnavailable
from decisioning.explain import hidden_by
from decisioning.history.reader import count_between, decisions_between
from decisioning.history.reopened import person_in
from decisioning.moment import moment_of
from decisioning.people import living
from decisioning.records import CORE, Recorded, Versions, core_of, open_record, replay
from decisioning.request import NOTHING, Request
from decisioning.scoring import Scorer
from decisioning.store.packing import canonical
from decisioning.store.protocol import Store

PAGE_ROWS = 1_000
DIFFERENCES_KEPT = 1_000  # told one by one; more are counted
UNKNOWN = "unknown"
PERSONS_MIN = 10  # a group of fewer would tell about single people
SMALL = "smaller groups"

Record = Mapping[str, Any]
Core = Sequence[Mapping[str, Any]]


class Decider(Protocol):
    """What decides under some versions."""

    @property
    def strategy(self) -> Strategy: ...
    @property
    def scorer(self) -> Scorer: ...


class Library(Protocol):
    """Where deciders are found; the composition root supplies one."""

    async def deployed(self, versions: Versions) -> Decider:
        """Raises a NextbestError that says which version is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Which decisions: from one time until before another, at most so many."""

    from_ms: int
    until_ms: int
    limit: int | None = None


@dataclass(slots=True)
class Passed:
    """What came by in history, decided again or not."""

    decisions: int = 0
    erased: int = 0  # of people who were erased: closed for ever
    gone: Counter[str] = field(default_factory=Counter)  # what is missing -> decisions that need it
    unreadable: int = 0  # records that are not what their kind promises
    newest_ms: int = 0


class Difference(NamedTuple):
    """The first field in which a decision made again is another one."""

    decision_id: str
    placement: str
    name: str
    recorded: Any
    again: Any


@dataclass(slots=True)
class Reproduction:
    """What came of making decisions again as they were made."""

    passed: Passed = field(default_factory=Passed)
    reproduced: int = 0
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)


@dataclass(slots=True)
class Shift:
    """What another strategy changes in some placements. What is shown is an action, or `nothing`."""

    placements: int = 0
    changed: int = 0
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)  # from what to what, changes only
    valued: int = 0  # placements that were drawn both times; renders of a promise carry no value
    value_before: float = 0.0
    value_after: float = 0.0
    persons: set[str] = field(default_factory=set)  # person keys, no more than are needed to know it is a group

    def met(self, person_key: str) -> None:
        """Somebody of whom one of these placements is."""
        if len(self.persons) < PERSONS_MIN:
            self.persons.add(person_key)

    def take(self, other: Shift) -> None:
        """Count another one's placements too."""
        self.placements += other.placements
        self.changed += other.changed
        self.before += other.before
        self.after += other.after
        self.moves += other.moves
        self.valued += other.valued
        self.value_before += other.value_before
        self.value_after += other.value_after
        self.persons |= other.persons

    def add(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """One place of an answer; None where an answer does not have it."""
        was, now = _shown(before), _shown(after)
        self.placements += 1
        self.before[was] += 1
        self.after[now] += 1
        if was != now:
            self.changed += 1
            self.moves[was, now] += 1
        worth_before, worth_after = _worth(before), _worth(after)
        if worth_before is not None and worth_after is not None:
            self.valued += 1
            self.value_before += worth_before
            self.value_after += worth_after


@dataclass(slots=True)
class Comparison:
    """What came of making decisions again under another strategy."""

    passed: Passed = field(default_factory=Passed)
    decided: int = 0
    unaskable: Counter[str] = field(default_factory=Counter)  # why the other strategy cannot be asked -> decisions
    overall: Shift = field(default_factory=Shift)
    groups: dict[tuple[str, ...], Shift] = field(default_factory=dict)  # by the values asked for


def check_groups(strategy: Strategy, paths: Sequence[str]) -> None:
    """Raises InvalidAttribute for a path that nobody may be grouped by: unknown, personal, or a number."""
    hidden = hidden_by(strategy, strategy.schema.personal)
    allowed = {path for path, kind in strategy.features.items() if kind != "numeric"} - hidden
    for path in paths:
        if path not in allowed:
            known = ", ".join(sorted(allowed))
            raise InvalidAttribute(
                f"{path!r} makes no groups: it is unknown, personal, or a number. Possible: {known}."
            )


async def reproduce(
    history_dir: Path, store: Store, library: Library, span: Span, progress: Callable[[int, int], None]
) -> Reproduction:
    """Make decisions again with the versions that made them, and compare their cores to the last digit."""
    found = Reproduction()
    async for record, person, decider in _living(history_dir, store, library, span, found.passed, progress):
        recorded = _opened(record, person, decider, found.passed)
        if recorded is None:
            continue
        difference = _difference(recorded, decider)
        if difference is None:
            found.reproduced += 1
            continue
        found.differing += 1
        if len(found.differences) < DIFFERENCES_KEPT:
            found.differences.append(difference)
    return found


async def compare(
    history_dir: Path,
    store: Store,
    library: Library,
    span: Span,
    progress: Callable[[int, int], None],
    *,
    group_by: Sequence[str] = (),
) -> Comparison:
    """Make decisions again with what the library gives instead of the recorded strategy; each alone, as if that had
    been published a moment before. group_by are paths of attributes that `check_groups` lets pass; a customer belongs
    to the group of today, since records only know of attributes what a decision read.
    """
    found = Comparison()
    async for record, person, decider in _living(history_dir, store, library, span, found.passed, progress):
        try:
            recorded = _opened(record, person, decider, found.passed)
            if recorded is None:
                continue
            again = core_of(replay(recorded, decider.strategy, decider.scorer).placements)
        except NextbestError as error:
            found.unaskable[_why(error)] += 1
            continue
        found.decided += 1
        group = _group(recorded.request, person, decider.strategy, group_by)
        shifts = [found.overall, found.groups.setdefault(group, Shift())] if group_by else [found.overall]
        for shift in shifts:
            shift.met(record["person_key"])
            for before, after in _beside(recorded.core, again):
                shift.add(before, after)
    found.groups = _told(found.groups, width=len(group_by))
    return found


def _told(groups: Mapping[tuple[str, ...], Shift], *, width: int) -> dict[tuple[str, ...], Shift]:
    """The groups that are large enough to be told, the others as one, and none of them while that is too small."""
    told = {group: shift for group, shift in groups.items() if len(shift.persons) >= PERSONS_MIN}
    rest = Shift()
    for group, shift in groups.items():
        if group not in told:
            rest.take(shift)
    if len(rest.persons) >= PERSONS_MIN:
        told[(SMALL,) * width] = rest
    return told


async def _living(
    history_dir: Path,
    store: Store,
    library: Library,
    span: Span,
    passed: Passed,
    progress: Callable[[int, int], None],
) -> AsyncIterator[tuple[Record, Snapshot, Decider]]:
    """Each decision that can be made again, with its person as known today and what decides; others are counted."""
    total = count_between(history_dir, span.from_ms, span.until_ms)
    total = total if span.limit is None else min(total, span.limit)
    for page in decisions_between(history_dir, span.from_ms, span.until_ms, page_rows=PAGE_ROWS):
        records = page[: total - passed.decisions]
        for record, person in await _with_people(records, store, passed):
            decider = await _decider(library, Versions(**record["versions"]), passed)
            if decider is not None:
                yield record, person, decider
        passed.decisions += len(records)
        passed.newest_ms = max([passed.newest_ms, *(record["at_ms"] for record in records)])
        progress(passed.decisions, total)
        if passed.decisions >= total:
            break


async def _with_people(records: Sequence[Record], store: Store, passed: Passed) -> list[tuple[Record, Snapshot]]:
    """Records of people who are customers still, those of one version side by side."""
    people = [person for record in records if (person := person_in(record)) is not None]
    found = await living(store, people)
    ours = [(record, found[record["person_key"]]) for record in records if record["person_key"] in found]
    passed.erased += len(records) - len(ours)
    return sorted(ours, key=lambda each: _version_order(each[0]))


def _version_order(record: Record) -> tuple[str, str, int]:
    """Strategies, models, and the states of a model by their numbers: the next one grows out of the one before."""
    versions = record["versions"]
    return versions["strategy"], versions["model"], int(versions["model_state"] or 0)


async def _decider(library: Library, versions: Versions, passed: Passed) -> Decider | None:
    try:
        return await library.deployed(versions)
    except StoreUnavailable:
        raise
    except NextbestError as error:
        passed.gone[_missing(error, versions)] += 1
        return None


def _opened(record: Record, person: Snapshot, decider: Decider, passed: Passed) -> Recorded | None:
    """The record opened, or None, counted, where history holds something else than the service writes."""
    try:
        return open_record(record, person.state.sealing_key, decider.strategy)
    except (KeyError, TypeError, ValueError, StoreDamaged):
        passed.unreadable += 1
        return None


def _missing(error: NextbestError, versions: Versions) -> str:
    """What is gone, in words that many decisions share: a model has a state for each second of the day."""
    if isinstance(error, StateMissing):
        kept = "which are kept for a day, and while nobody is erased whose answers are in them"
        return f"states of model {versions.model[:12]} are gone, {kept}"
    return str(error)


def _difference(recorded: Recorded, decider: Decider) -> Difference | None:
    again = core_of(replay(recorded, decider.strategy, decider.scorer).placements)
    if canonical(again) == canonical(recorded.core):
        return None
    for before, after in _beside(recorded.core, again):
        if before is None or after is None:
            place = before or after or {}
            return Difference(recorded.decision_id, place["placement"], "outcome", _shown(before), _shown(after))
        for name in CORE:
            if canonical(before.get(name)) != canonical(after[name]):
                return Difference(recorded.decision_id, after["placement"], name, before.get(name), after[name])
    return Difference(recorded.decision_id, "", "placement", [], [])  # the same entries in another order


def _beside(before: Core, after: Core) -> list[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """The entries of two answers, place by place."""
    was, now = ({(each["placement"], each["rank"]): each for each in core} for core in (before, after))
    return [(was.get(place), now.get(place)) for place in dict.fromkeys([*was, *now])]


def _shown(entry: Mapping[str, Any] | None) -> str:
    return NOTHING if entry is None or entry["action"] is None else str(entry["action"])


def _worth(entry: Mapping[str, Any] | None) -> float | None:
    return None if entry is None else entry["expected_value"]


def _why(error: NextbestError) -> str:
    """The reason without any value of a request: a context that is typed otherwise would be repeated here."""
    return "its context is typed otherwise there" if isinstance(error, InvalidAttribute) else str(error)


def _group(request: Request, person: Snapshot, strategy: Strategy, paths: Sequence[str]) -> tuple[str, ...]:
    if not paths:
        return ()
    wanted = frozenset(paths)
    values = moment_of(request, person, strategy, strategy.attributes_behind(wanted)).values(wanted)
    return tuple(str(values.get(path, UNKNOWN)) for path in paths)
