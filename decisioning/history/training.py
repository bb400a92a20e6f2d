"""Training tables: what a mapping makes of a table of past contacts, ready for models.train and for judging a model.

Columns that the schema keeps from models are left out. kinds.py says how cells are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.catalog.faults import Faults
from decisioning.catalog.schema import DAY_MS
from decisioning.errors import TableFaulty
from decisioning.history.cells import Bad, bad_cells, converted, label_of, number_of, order_of, probability_of
from decisioning.history.kinds import TIMESTAMP, ByLooks, Typing
from decisioning.history.mapping import ACTION, FeatureColumn, Source, TableMapping, refuse
from decisioning.history.tables import Columns, column_names, read_table
from decisioning.nouns import counted
from models.incremental import NOTHING

CHANNEL = "channel"
EARLIEST_MS = 1e11  # 1973: a smaller time is a row number, from which no days can be counted
ACTIONS_NAMED = 8  # labels that one message repeats


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """Labelled contacts as columns of one length n."""

    columns: dict[str, list[Any]]  # by attribute path, and "channel" where it is known; None is missing
    kinds: dict[str, str]  # of the columns: numeric, categorical or flag
    actions: list[str]  # issue/group/action, or NOTHING
    customer_ids: list[str]
    persons: list[str]  # whose rows belong together
    labels: NDArray[np.int8]  # 1 positive, 0 negative
    order: NDArray[np.float64] | None  # milliseconds, or whatever number orders the rows
    value: NDArray[np.float64] | None  # NaN is missing
    logging_probability: NDArray[np.float64] | None  # NaN is missing
    excluded: dict[str, int]  # rows left out, by outcome; "" where outcome, action, channel or customer is missing
    invalid: dict[str, int]  # values that broke a quality rule and count as missing, by attribute path

    @property
    def is_nothing(self) -> NDArray[np.bool_]:
        """bool[n]: rows on which nothing was done."""
        return np.array([action == NOTHING for action in self.actions], dtype=np.bool_)

    def where(self, kept: NDArray[np.bool_]) -> TrainingTable:
        """The rows of a mask."""
        rows = np.flatnonzero(kept)

        def listed(values: list[Any]) -> list[Any]:
            return [values[row] for row in rows]

        return replace(
            self,
            columns={path: listed(cells) for path, cells in self.columns.items()},
            actions=listed(self.actions),
            customer_ids=listed(self.customer_ids),
            persons=listed(self.persons),
            labels=self.labels[rows],
            order=None if self.order is None else self.order[rows],
            value=None if self.value is None else self.value[rows],
            logging_probability=None if self.logging_probability is None else self.logging_probability[rows],
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Customers to be scored, as columns of one length n."""

    columns: dict[str, list[Any]]
    customer_ids: list[str | None]
    actions: list[str | None] | None  # None: the table names none, and every action is meant


def read_training(paths: Sequence[Path], mapping: TableMapping, typing: Typing | None = None) -> TrainingTable:
    """Read and label a table of contacts that may lie in several files.

    typing says how features are read; without one, their kinds come from the mapping or from how the values look.
    Raises MappingFaulty, or TableFaulty for an unreadable file, a bad number, a label that is no action, or when one
    kind of label does not occur at all.
    """
    typing = typing or ByLooks()
    features = _checked(mapping, typing, needed=("action", "outcome"))
    table = _joined(paths, mapping, features)
    labels, excluded = _labels(table, mapping)
    kept = np.flatnonzero(~np.isnan(labels)).tolist()
    if excluded:
        table = {name: [cells[index] for index in kept] for name, cells in table.items()}
    times = _numbers(table, mapping.time, order_of, len(kept), required=True)
    columns, kinds, invalid = _columns(table, mapping, features, typing, times, len(kept))
    ids = [f"{mapping.prefix}{text}" for text in _texts(table, mapping.customer, len(kept))]
    persons = _texts(table, mapping.person, len(kept)) if mapping.person else ids
    return TrainingTable(
        columns=columns,
        kinds=kinds,
        actions=_actions(table, mapping, len(kept)),
        customer_ids=ids,
        persons=[person or customer for person, customer in zip(persons, ids, strict=True)],
        labels=labels[kept].astype(np.int8),
        order=times if mapping.time and mapping.time.column else None,
        value=_numbers(table, mapping.value, number_of, len(kept)),
        logging_probability=_numbers(table, mapping.logging_probability, probability_of, len(kept)),
        excluded=excluded,
        invalid=invalid,
    )


def read_candidates(paths: Sequence[Path], mapping: TableMapping, typing: Typing) -> Candidates:
    """Read customers without labels: columns of outcome, value and probability need not be in the files."""
    mapping = replace(mapping, outcome=None, value=None, logging_probability=None, person=None, consents=())
    features = _checked(mapping, typing, needed=())
    table = _joined(paths, mapping, features)
    count = len(table[str(mapping.customer.column)])
    times = _numbers(table, mapping.time, order_of, count)
    columns, _, _ = _columns(table, mapping, features, typing, times, count)
    ids = [None if text is None else f"{mapping.prefix}{text}" for text in _texts(table, mapping.customer, count)]
    return Candidates(columns, ids, _actions(table, mapping, count) if mapping.action else None)


def _checked(mapping: TableMapping, typing: Typing, *, needed: Sequence[str]) -> list[FeatureColumn]:
    """The columns that are features. Raises MappingFaulty with all that cannot be."""
    faults = Faults()
    for name in needed:
        if getattr(mapping, name) is None:
            faults.add(mapping.place, f"{name!r} is missing here, and it is needed", f"Add {name}: {{column: …}}")
    if needed and mapping.validation == "time" and (mapping.time is None or mapping.time.column is None):
        faults.add(mapping.place, "validation: time needs rows in the order of time", "Add time: {column: …}")
    features = typing.kept(mapping.features, faults)
    refuse(faults)
    return features


def _joined(paths: Sequence[Path], mapping: TableMapping, features: Sequence[FeatureColumn]) -> Columns:
    mapping = replace(mapping, features=tuple(features), consents=())
    names = [each.column for each in mapping.sources if each.column is not None]
    names += [feature.column for feature in features]
    names += [mapping.outcome.column] if mapping.outcome else []
    table: Columns = {name: [] for name in names}
    for path in paths:
        mapping.check_columns(column_names(path), path)
        for batch in read_table(path, list(table)):
            for name, cells in batch.items():
                table[name].extend(cells)
    return table


def _labels(table: Columns, mapping: TableMapping) -> tuple[NDArray[np.float64], dict[str, int]]:
    """1, 0 or NaN for rows left out; and how many were left out, by outcome."""
    outcome = mapping.outcome
    assert outcome is not None  # _checked
    label_by_outcome = dict.fromkeys(outcome.negative, 0.0) | dict.fromkeys(outcome.positive, 1.0)
    outcomes = [text or "" for text in converted(table[outcome.column], label_of)]
    needed = [each.column for each in (mapping.customer, mapping.action, mapping.channel) if each and each.column]
    for name in needed:
        outcomes = ["" if cell is None else text for cell, text in zip(table[name], outcomes, strict=True)]
    labels = np.array([label_by_outcome.get(text, np.nan) for text in outcomes])
    counts = {text: outcomes.count(text) for text in sorted(set(outcomes) - set(label_by_outcome))}
    for label, name, wanted in ((1, "positive", outcome.positive), (0, "negative", outcome.negative)):
        if not np.any(labels == label):
            found = ", ".join(list(counts)[:ACTIONS_NAMED]) or "none other"
            place = f"{outcome.place.file}:{outcome.place.line}"
            raise TableFaulty(f"{place}: no row is {name} ({', '.join(sorted(wanted))}). Labels left: {found}.")
    return labels, counts


def _columns(
    table: Columns,
    mapping: TableMapping,
    features: Sequence[FeatureColumn],
    typing: Typing,
    times: NDArray[np.float64] | None,
    count: int,
) -> tuple[dict[str, list[Any]], dict[str, str], dict[str, int]]:
    """Values and kinds by attribute path, and how many values were invalid."""
    columns, kinds, invalid = {}, {}, {}
    for feature in features:
        cells = table[feature.column]
        reading = typing.reading(feature, cells)
        values = converted(cells, reading.convert, feature.missing)
        if bad := bad_cells(values):
            invalid[feature.path] = len(bad)
            values = [None if type(value) is Bad else value for value in values]
        is_time = reading.kind == TIMESTAMP
        columns[feature.path] = _days_before(values, times, feature, mapping) if is_time else values
        kinds[feature.path] = "numeric" if is_time else reading.kind
    if mapping.channel is not None:
        columns[CHANNEL], kinds[CHANNEL] = _texts(table, mapping.channel, count), "categorical"
    return columns, kinds, invalid


def _days_before(
    values: list[Any], times: NDArray[np.float64] | None, feature: FeatureColumn, mapping: TableMapping
) -> list[float | None]:
    """Times as the days by which they precede the moment of their row."""
    if times is None:
        faults = Faults()
        message = f"{feature.path} is a time, and a model reads days before the moment of the row, which is not named"
        faults.add(feature.place, message, "Name the moment: time: {column: …} or {value: …}")
        refuse(faults)
    assert times is not None
    if len(times) and not np.nanmin(times, initial=np.inf) >= EARLIEST_MS:
        assert mapping.time is not None
        where = f"{mapping.time.place.file}:{mapping.time.place.line}"
        raise TableFaulty(
            f"{where}: the time of a row is a plain number, from which no days can be counted. "
            f"Leave {feature.path} out, or name a column of timestamps or milliseconds."
        )
    return [
        None if value is None or time != time else (time - value) / DAY_MS
        for value, time in zip(values, times.tolist(), strict=True)
    ]


def _actions(table: Columns, mapping: TableMapping, count: int) -> list[Any]:
    """The key of each row's action, NOTHING, or None. Raises TableFaulty for labels that are no action."""
    source = mapping.action
    assert source is not None  # asked for only where there is one
    labels = _texts(table, source, count)
    keys = {label: NOTHING if label in source.nothing else source.keys.get(label, label) for label in set(labels)}
    strange = sorted(label for label, key in keys.items() if label and key != NOTHING and not ACTION.fullmatch(key))
    if strange:
        more = f" and {len(strange) - ACTIONS_NAMED} more" if len(strange) > ACTIONS_NAMED else ""
        named = ", ".join(repr(label) for label in strange[:ACTIONS_NAMED])
        raise TableFaulty(
            f"{source.place.file}:{source.place.line}: column {source.column!r} holds labels that are no action: "
            f'{named}{more}. Give each a key, as in keys: {{"{strange[0]}": issue/group/action}}, or list it '
            "under nothing."
        )
    return [keys[label] for label in labels]


def _texts(table: Columns, source: Source, count: int) -> list[Any]:
    return [str(source.value)] * count if source.column is None else converted(table[source.column], label_of)


def _numbers(
    table: Columns, source: Source | None, read: Callable[[Any], float], count: int, *, required: bool = False
) -> NDArray[np.float64] | None:
    """float64[count], NaN where there is none; None without a source."""
    if source is None:
        return None
    cells = [source.value] * count if source.column is None else table[source.column]
    values = converted(cells, read)
    faults = [bad.reason for _, bad in bad_cells(values)] + ["nothing there"] * (values.count(None) if required else 0)
    if faults:
        what = "value" if source.column is None else f"column {source.column!r}"
        where = f"{source.place.file}:{source.place.line}: {what}"
        raise TableFaulty(f"{where}, {len(faults):,} of {counted(len(values), 'row')}: {faults[0]}.")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
