"""Training tables: what a mapping makes of a table of past contacts, ready for models.train.

Values go through the same quality rules as in a profile, so that a model never learns from what a decision would treat
as missing. Columns that the schema keeps from models are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.schema import Schema
from decisioning.errors import TableFaulty
from decisioning.history.cells import (
    Bad,
    attribute_reader,
    bad_cells,
    converted,
    flag_of,
    label_of,
    number_of,
    order_of,
)
from decisioning.history.mapping import FeatureColumn, Source, TableMapping, refuse
from decisioning.history.tables import Columns, column_names, read_table

KIND_OF_TYPE = {"int": "numeric", "double": "numeric", "string": "categorical", "bool": "flag"}
_READERS: dict[str, Callable[[Any], Any]] = {"numeric": number_of, "categorical": label_of, "flag": flag_of}


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """Labelled contacts as columns of one length n."""

    columns: dict[str, list[Any]]  # by attribute path, and "channel"; None is missing
    kinds: dict[str, str]  # of the columns: numeric, categorical or flag
    actions: list[str]
    channels: list[str]
    customer_ids: list[str]
    labels: NDArray[np.int8]  # 1 positive, 0 negative
    order: NDArray[np.float64] | None  # milliseconds, or whatever number orders the rows
    value: NDArray[np.float64] | None  # NaN is missing
    logging_probability: NDArray[np.float64] | None  # NaN is missing
    excluded: dict[str, int]  # rows left out, by outcome; "" where outcome, action, channel or customer is missing
    invalid: dict[str, int]  # values that broke a quality rule and count as missing, by attribute path


def read_training(paths: Sequence[Path], mapping: TableMapping, schema: Schema | None = None) -> TrainingTable:
    """Read and label a table of contacts that may lie in several files.

    Without a schema, a feature's kind comes from the mapping or from how its values look. Raises MappingFaulty, or
    TableFaulty for an unreadable file, a bad number, or when one kind of label does not occur at all.
    """
    _check_mapping(mapping, schema)
    table = _joined(paths, mapping)
    labels, excluded = _labels(table, mapping)
    kept = np.flatnonzero(~np.isnan(labels)).tolist()
    if excluded:
        table = {name: [cells[index] for index in kept] for name, cells in table.items()}
    features = [feature for feature in mapping.features if _is_feature(feature, schema)]
    read = {feature.path: _feature(table[feature.column], feature, schema) for feature in features}
    channels = _texts(table, mapping.channel, len(kept))
    ids = [mapping.prefix + text for text in _texts(table, mapping.customer, len(kept))]
    return TrainingTable(
        columns={path: values for path, (values, _, _) in read.items()} | {"channel": channels},
        kinds={path: kind for path, (_, kind, _) in read.items()} | {"channel": "categorical"},
        actions=_texts(table, mapping.action, len(kept)),
        channels=channels,
        customer_ids=ids,
        labels=labels[kept].astype(np.int8),
        order=_numbers(table, mapping.time, order_of, required=True),
        value=_numbers(table, mapping.value, number_of),
        logging_probability=_numbers(table, mapping.logging_probability, number_of),
        excluded=excluded,
        invalid={path: count for path, (_, _, count) in read.items() if count},
    )


def _check_mapping(mapping: TableMapping, schema: Schema | None) -> None:
    faults = Faults()
    for name in ("action", "channel", "outcome"):
        if getattr(mapping, name) is None:
            faults.add(mapping.place, f"{name!r} is missing here, and training needs it", f"Add {name}: {{column: …}}")
    for feature in mapping.features if schema else ():
        if schema and feature.path not in schema.attributes:
            faults.add(feature.place, f"unknown attribute {feature.path}", known(feature.path, schema.attributes))
        elif schema and feature.kind == "numeric" and schema.attributes[feature.path].type not in ("int", "double"):
            faults.add(feature.place, f"{feature.path} is no number in the schema", "Remove kind: numeric")
    refuse(faults)


def _joined(paths: Sequence[Path], mapping: TableMapping) -> Columns:
    sources = (mapping.customer, mapping.action, mapping.channel, mapping.time, mapping.value)
    names = [each.column for each in (*sources, mapping.logging_probability) if each and each.column is not None]
    names += [feature.column for feature in mapping.features]
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
    assert outcome is not None  # _check_mapping
    label_by_outcome = dict.fromkeys(outcome.negative, 0.0) | dict.fromkeys(outcome.positive, 1.0)
    outcomes = [text or "" for text in converted(table[outcome.column], label_of)]
    needed = [each.column for each in (mapping.customer, mapping.action, mapping.channel) if each and each.column]
    for name in needed:
        outcomes = ["" if cell is None else text for cell, text in zip(table[name], outcomes, strict=True)]
    labels = np.array([label_by_outcome.get(text, np.nan) for text in outcomes])
    counts = {text: outcomes.count(text) for text in sorted(set(outcomes) - set(label_by_outcome))}
    for label, name, wanted in ((1, "positive", outcome.positive), (0, "negative", outcome.negative)):
        if not np.any(labels == label):
            found = ", ".join(list(counts)[:8]) or "none other"
            place = f"{outcome.place.file}:{outcome.place.line}"
            raise TableFaulty(f"{place}: no row is {name} ({', '.join(sorted(wanted))}). Labels left: {found}.")
    return labels, counts


def _is_feature(feature: FeatureColumn, schema: Schema | None) -> bool:
    attribute = schema.attributes[feature.path] if schema else None
    return attribute is None or (attribute.feature and attribute.type in KIND_OF_TYPE)


def _feature(cells: list[Any], feature: FeatureColumn, schema: Schema | None) -> tuple[list[Any], str, int]:
    """Values, kind and how many values were invalid."""
    if schema:
        attribute = schema.attributes[feature.path]
        kind = feature.kind or KIND_OF_TYPE[attribute.type]
        values = converted(cells, attribute_reader(attribute), feature.missing)
    else:
        kind = feature.kind or _kind_by_looks(cells, feature.missing)
        values = converted(cells, _READERS[kind], feature.missing)
    bad_count = len(bad_cells(values))
    return [None if type(value) is Bad else value for value in values] if bad_count else values, kind, bad_count


def _kind_by_looks(cells: list[Any], missing: frozenset[str]) -> str:
    if all(isinstance(cell, bool) for cell in cells if cell is not None):
        return "flag"
    return "categorical" if bad_cells(converted(cells, number_of, missing)) else "numeric"


def _texts(table: Columns, source: Source | None, count: int) -> list[str]:
    assert source is not None  # _check_mapping
    return [str(source.value)] * count if source.column is None else converted(table[source.column], label_of)


def _numbers(
    table: Columns, source: Source | None, read: Callable[[Any], float], *, required: bool = False
) -> NDArray[np.float64] | None:
    if source is None or source.column is None:
        return None
    values = converted(table[source.column], read)
    faults = [bad.reason for _, bad in bad_cells(values)] + ["nothing there"] * (required and None in values)
    if faults:
        where = f"{source.place.file}:{source.place.line}: column {source.column!r}"
        raise TableFaulty(f"{where}, {len(faults)} of {len(values)} labelled rows: {faults[0]}.")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
