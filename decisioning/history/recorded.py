"""Recorded history as a training table: what draws showed, to whom and in what moment, and what was answered.

Labels come from learning/labels.py and values from the code that serves, so a model learns here what it will be asked
there. Personal values are sealed in history; they open with the keys of customers who are still in the store, and rows
of people who were erased are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from decisioning.catalog.strategy import Strategy
from decisioning.errors import InvalidAttribute, SealBroken, TableFaulty
from decisioning.history.datasets import DECISIONS, record_of
from decisioning.history.reader import open_history
from decisioning.history.training import CHANNEL, TrainingTable
from decisioning.learning.labels import Trial, reading_of, trials_of
from decisioning.moment import Moment, moment_of
from decisioning.records import open_record
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.protocol import Store

PAGE_ROWS = 1_000  # decisions opened between two looks into the store
# A response to a render belongs to the draw that it renders, whatever channel it came through.
_ANSWERED = """
CREATE TEMP TABLE answered AS
SELECT coalesce(p.lease_of, p.decision_id) AS decision_id, p.action AS action,
       list(DISTINCT r.outcome ORDER BY r.outcome) AS outcomes, sum(r.value) AS value
FROM responses r JOIN placements p USING (decision_id, placement)
WHERE p.outcome = 'offer' GROUP BY ALL
"""
_OPENED = "FROM decisions WHERE decision_id IN (SELECT decision_id FROM answered)"
_OPENED_COUNT = f"SELECT count(*) {_OPENED}"
_DRAWN_COUNT = """
SELECT count(*) FROM placements WHERE outcome = 'offer' AND lease_of IS NULL AND NOT coalesce(degraded, false)
"""
UNSEEN = "not seen"
CLOSED = "not to be opened, because the person was erased or the schema has changed"
FOREIGN = "of actions that the strategy does not have"


class Answer(NamedTuple):
    """All that came of one trial."""

    outcomes: frozenset[str]
    value: float | None


@dataclass(slots=True)
class _Rows:
    """The table as it grows."""

    values: list[dict[str, Any]] = field(default_factory=list)  # by attribute path, known ones only
    actions: list[str] = field(default_factory=list)
    persons: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    worth: list[float | None] = field(default_factory=list)
    probability: list[float | None] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)


async def read_recorded(
    history_dir: Path, strategy: Strategy, store: Store, progress: Callable[[int, int], None]
) -> TrainingTable:
    """Every trial in history that somebody saw, labelled, with the features it had then.

    strategy says what is a feature, and how responses to an action are to be read. Raises TableFaulty when nothing
    there has an answer.
    """
    rows, keys = _Rows(), _Keys(store)
    with closing(open_history(history_dir)) as history:
        answers = _answers(history)
        drawn_count, answered_count, opened_count = _count(history, _DRAWN_COUNT), _count(history, _OPENED_COUNT), 0
        for page in _pages(history):
            await keys.fetch(page)
            for record in page:
                _add(record, answers, keys.of(record["person_key"]), strategy, rows)
            opened_count += len(page)
            progress(opened_count, answered_count)
    rows.excluded[UNSEEN] = drawn_count - len(rows.actions) - rows.excluded[CLOSED] - rows.excluded[FOREIGN]
    if not rows.actions:
        raise TableFaulty(f"{history_dir}: nothing was drawn there that somebody saw. Does the worker write there?")
    return _table(rows, strategy)


def _answers(history: duckdb.DuckDBPyConnection) -> dict[Trial, Answer]:
    history.execute(_ANSWERED)
    found = history.execute("SELECT decision_id, action, outcomes, value FROM answered").fetchall()
    return {Trial(drawn, action): Answer(frozenset(outcomes), value) for drawn, action, outcomes, value in found}


def _count(history: duckdb.DuckDBPyConnection, query: str) -> int:
    row = history.execute(query).fetchone()
    return int(row[0]) if row else 0


def _pages(history: duckdb.DuckDBPyConnection) -> Iterator[list[dict[str, Any]]]:
    """Records of the decisions that drew something that was answered, in the order of time."""
    found = history.execute(f"SELECT * {_OPENED} ORDER BY at_ms, decision_id")
    names = [column[0] for column in found.description]
    while cells := found.fetchmany(PAGE_ROWS):
        yield [record_of(DECISIONS, dict(zip(names, row, strict=True))) for row in cells]


class _Keys:
    """Sealing keys of the people in history who are still customers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_person: dict[str, str | None] = {}

    async def fetch(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Ask the store for those not known yet."""
        asked: dict[int, set[str]] = {}
        for record in records:
            where = whereabouts_of(record["decision_id"])
            if where and record["person_key"] not in self._by_person:
                asked.setdefault(where.partition, set()).add(record["person_key"])
        for partition, persons in asked.items():
            names = sorted(persons)
            customers = await self._store.customers_of(partition, names)
            living = {person: customer for person, customer in zip(names, customers, strict=True) if customer}
            snapshots = await self._store.read(list(living.values())) if living else []
            # Who was erased and came back has another person key: nothing of before opens for them.
            keys = {snapshot.state.person_key: snapshot.state.sealing_key for snapshot in snapshots}
            self._by_person |= {person: keys.get(person) for person in names}

    def of(self, person_key: str) -> str | None:
        return self._by_person.get(person_key)


def _add(
    record: Mapping[str, Any],
    answers: Mapping[Trial, Answer],
    sealing_key: str | None,
    strategy: Strategy,
    rows: _Rows,
) -> None:
    """The record's trials as rows."""
    moment: Moment | None = None
    for trial, placed in trials_of(record):
        answer, index = answers.get(trial), strategy.action_index.get(trial.action)
        if answer is None:
            continue
        if index is None:
            rows.excluded[FOREIGN] += 1
            continue
        label = reading_of(answer.outcomes, strategy.actions[index].behaviour).label
        if label is None:
            continue
        moment = moment or _moment(record, sealing_key, strategy)
        if moment is None:
            rows.excluded[CLOSED] += 1
            continue
        rows.values.append(moment.values(frozenset(strategy.features)))
        rows.actions.append(trial.action)
        rows.persons.append(record["person_key"])
        rows.labels.append(label)
        rows.at_ms.append(record["at_ms"])
        rows.worth.append(answer.value)
        rows.probability.append(_probability(record, placed))


def _moment(record: Mapping[str, Any], sealing_key: str | None, strategy: Strategy) -> Moment | None:
    """What was known then; None when it can be known no more."""
    if sealing_key is None:
        return None
    try:
        opened = open_record(record, sealing_key, strategy)
    except (SealBroken, InvalidAttribute):
        return None
    reads = strategy.attributes_behind(frozenset(strategy.features))
    return moment_of(opened.request, opened.snapshot, strategy, reads)


def _probability(record: Mapping[str, Any], placed: Mapping[str, Any]) -> float | None:
    """With which the draw came out like this: that of the person's arms, times that of the draw given them."""
    arm, selection = record.get("arm_probability"), placed["selection_probability"]
    return None if arm is None or selection is None else float(arm * selection)


def _table(rows: _Rows, strategy: Strategy) -> TrainingTable:
    """Columns for every feature that is known of somebody."""
    paths = sorted({path for values in rows.values for path in values} - {CHANNEL})
    labels = np.array(rows.labels, dtype=np.int8)
    return TrainingTable(
        columns={path: [values.get(path) for values in rows.values] for path in [*paths, CHANNEL]},
        kinds={path: strategy.features[path] for path in paths} | {CHANNEL: "categorical"},
        actions=rows.actions,
        customer_ids=rows.persons,
        persons=rows.persons,
        labels=labels,
        order=np.array(rows.at_ms, dtype=np.float64),
        value=np.array([np.nan if each is None else each for each in rows.worth], dtype=np.float64),
        logging_probability=np.array([np.nan if each is None else each for each in rows.probability], dtype=np.float64),
        excluded={name: count for name, count in rows.excluded.items() if count},
        invalid={},
    )
