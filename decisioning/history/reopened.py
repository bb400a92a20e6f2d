"""Reopened decisions: what was known at the moment of a recorded decision, and the training table that grows from it.

Personal values are sealed in history. They open with the keys of customers who are still in the store; decisions about
people who were erased stay closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np

from decisioning.catalog.strategy import Strategy
from decisioning.errors import InvalidAttribute, SealBroken
from decisioning.history.datasets import DECISIONS, record_of
from decisioning.history.training import CHANNEL, TrainingTable
from decisioning.moment import Moment, moment_of
from decisioning.people import sealing_keys
from decisioning.records import open_record
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.protocol import Store

PAGE_ROWS = 1_000  # decisions opened between two looks into the store
CLOSED = "not to be opened, because the person was erased or the schema has changed"
FOREIGN = "of actions that the strategy does not have"

Record = Mapping[str, Any]


class Reopened:
    """Opens decisions with the keys of living customers, and reads them with a strategy."""

    def __init__(self, strategy: Strategy, store: Store) -> None:
        self._strategy = strategy
        self._store = store
        self._features = frozenset(strategy.features)
        self._reads = strategy.attributes_behind(self._features)
        self._keys: dict[str, str | None] = {}  # sealing key by person key

    async def fetch(self, records: Sequence[Record]) -> None:
        """Ask the store for the keys of these people; to be called before their records are opened."""
        asked = {person for record in records if (person := person_in(record)) and person[1] not in self._keys}
        people = sorted(asked)
        keys = await sealing_keys(self._store, people)
        self._keys |= {person_key: key for (_, person_key), key in zip(people, keys, strict=True)}

    def values(self, record: Record) -> dict[str, Any] | None:
        """Feature values by attribute path, known ones only; None when the record stays closed."""
        moment = self._moment(record)
        return None if moment is None else moment.values(self._features)

    def _moment(self, record: Record) -> Moment | None:
        sealing_key = self._keys.get(record["person_key"])
        if sealing_key is None:
            return None
        try:
            opened = open_record(record, sealing_key, self._strategy)
        except (SealBroken, InvalidAttribute):
            return None
        return moment_of(opened.request, opened.snapshot, self._strategy, self._reads)


def person_in(record: Record) -> tuple[int, str] | None:
    """Partition and key of the person in a decision's record; None for an id that no service made."""
    where = whereabouts_of(record["decision_id"])
    return (where.partition, record["person_key"]) if where else None


def pages_of(history: duckdb.DuckDBPyConnection, condition: str) -> Iterator[list[dict[str, Any]]]:
    """Records of the decisions that meet a condition in SQL, in the order of time, some at a time."""
    found = history.execute(f"SELECT * FROM decisions WHERE {condition} ORDER BY at_ms, decision_id")
    names = [column[0] for column in found.description]
    while cells := found.fetchmany(PAGE_ROWS):
        yield [record_of(DECISIONS, dict(zip(names, row, strict=True))) for row in cells]


def counted(history: duckdb.DuckDBPyConnection, query: str) -> int:
    """The single number that a query answers with."""
    row = history.execute(query).fetchone()
    return int(row[0]) if row else 0


@dataclass(slots=True)
class Rows:
    """A training table as it grows."""

    values: list[dict[str, Any]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    persons: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    worth: list[float] = field(default_factory=list)
    probability: list[float] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        record: Record,
        values: dict[str, Any],
        *,
        action: str,
        label: int,
        worth: float | None,
        probability: float | None,
    ) -> None:
        """One row; None becomes NaN."""
        self.values.append(values)
        self.actions.append(action)
        self.persons.append(record["person_key"])
        self.labels.append(label)
        self.at_ms.append(record["at_ms"])
        self.worth.append(np.nan if worth is None else worth)
        self.probability.append(np.nan if probability is None else probability)

    def table(self, strategy: Strategy) -> TrainingTable:
        """Columns for every feature that is known of somebody."""
        paths = sorted({path for values in self.values for path in values} - {CHANNEL})
        return TrainingTable(
            columns={path: [values.get(path) for values in self.values] for path in [*paths, CHANNEL]},
            kinds={path: strategy.features[path] for path in paths} | {CHANNEL: "categorical"},
            actions=self.actions,
            customer_ids=self.persons,
            persons=self.persons,
            labels=np.array(self.labels, dtype=np.int8),
            order=np.array(self.at_ms, dtype=np.float64),
            value=np.array(self.worth, dtype=np.float64),
            logging_probability=np.array(self.probability, dtype=np.float64),
            excluded={name: count for name, count in self.excluded.items() if count},
            invalid={},
        )
