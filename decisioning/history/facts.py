"""Facts: what each row of a table says about its customer.

Cells are converted a column at a time, then handed out to rows. A row with a single bad cell is rejected whole: half a
row would leave a customer that no source ever described.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.layout import LAWFUL_BASES
from decisioning.catalog.schema import Schema
from decisioning.catalog.yaml_text import Node
from decisioning.errors import InvalidIdentifier
from decisioning.history.cells import attribute_reader, bad_cells, converted, flag_of, is_day, label_of, moment_ms
from decisioning.history.mapping import CONSENT_MORE, ConsentColumn, FeatureColumn, Source, TableMapping, refuse
from decisioning.history.tables import Columns, column_names, read_table
from decisioning.identifiers import SOURCE_IN_WORDS, SOURCE_PATTERN, checked_customer_id
from decisioning.interactions import DAY_MS

SOURCE = "load"  # of attributes whose schema and whose file name none
CUSTOMER_COLUMN = "customer_id"
CONSENT_ROOT = "consent"
AHEAD_MS_MAX = 300_000  # clocks differ; a consent of later than that is no statement yet
STATED_MS_MIN = 10**10  # April 1970: a time in seconds would make a withdrawal the oldest word, which loses


@dataclass(slots=True)
class Facts:
    """One row. An attribute that is None has no value: its source does not know one."""

    row: int  # within its file, from 1
    customer_id: str | None = None
    attributes: defaultdict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))  # by source, name
    consents: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # by channel and purpose


@dataclass(frozen=True, slots=True)
class Reject:
    """A cell that cannot be loaded, and with it its row."""

    row: int
    column: str
    value: str
    reason: str


@dataclass(slots=True)
class Batch:
    """Some consecutive rows."""

    row_count: int
    facts: list[Facts]  # of the rows without a bad cell
    rejects: list[Reject]


def mapping_by_names(path: Path, schema: Schema) -> TableMapping:
    """The mapping of a file whose columns carry our own names. Raises MappingFaulty for each that does not."""
    faults, start = Faults(), Node(path.name, 1, 1)
    features, consents = [], []
    paths = {each.short_name: name for name, each in schema.attributes.items() if name.startswith("customer.")}
    names = column_names(path)
    for name in names:
        root, _, permission = name.partition(".")
        channel, _, purpose = permission.partition(".")
        consent, _, more = name.rpartition(".")
        if name in paths:
            features.append(FeatureColumn(paths[name], name, None, frozenset(), start))
        elif root == CONSENT_ROOT and not (more in CONSENT_MORE and consent in names):
            beside = {each: f"{name}.{each}" for each in CONSENT_MORE if f"{name}.{each}" in names}
            consents.append(ConsentColumn(channel, purpose, name, start, beside))
        elif root != CONSENT_ROOT and name != CUSTOMER_COLUMN:
            faults.add(start, f"column {name!r} is no attribute of a customer", known(name, paths))
    if CUSTOMER_COLUMN not in names:
        faults.add(start, f"there is no column {CUSTOMER_COLUMN}", "Rename one, or describe the file in a mapping")
    refuse(faults)
    customer = Source(CUSTOMER_COLUMN, None, start)
    return TableMapping(start, customer, features=tuple(features), consents=tuple(consents))


@dataclass(frozen=True, slots=True)
class _Reader:
    """How the cells of one column become part of the facts."""

    column: str
    convert: Callable[[Any], Any]  # raises ValueError
    missing: Collection[str]
    put: Callable[[Facts, Any], None]


class Plan:
    """How one file is read. Raises MappingFaulty when the mapping does not fit the schema, the channels or the file."""

    def __init__(
        self,
        path: Path,
        mapping: TableMapping,
        schema: Schema,
        channels: Collection[str],
        said_by: str | None,
        *,
        now_ms: int,
    ) -> None:
        features = [feature for feature in mapping.features if feature.path.startswith("customer.")]
        _check(features, mapping, schema, channels, said_by)
        mapping.check_columns(column_names(path), path)
        self.path = path
        self._customer = _customer_reader(mapping)
        self._readers = [self._customer]
        self._readers += [_attribute_reader(feature, schema, said_by or SOURCE) for feature in features]
        for consent in mapping.consents:
            self._readers += _consent_readers(consent, mapping.missing, now_ms=now_ms)

    def batches(self, batch_rows: int) -> Iterator[Batch]:
        """The whole file, in its order."""
        row_count = 0
        for table in read_table(self.path, [reader.column for reader in self._readers], batch_rows=batch_rows):
            count = len(table[self._customer.column])
            rows = [Facts(row) for row in range(row_count + 1, row_count + count + 1)]
            row_count += count
            yield self._batch(rows, table)

    def _batch(self, rows: list[Facts], table: Columns) -> Batch:
        rejects = []
        for reader in self._readers:
            cells = table[reader.column]
            values = converted(cells, reader.convert, reader.missing)
            for index, bad in bad_cells(values):
                rejects.append(Reject(rows[index].row, reader.column, str(cells[index]), bad.reason))
            for facts, value in zip(rows, values, strict=True):
                reader.put(facts, value)
        for facts in rows:
            if facts.customer_id is None:
                rejects.append(Reject(facts.row, self._customer.column, "", "customer id: is empty"))
        rejected = {reject.row for reject in rejects}
        return Batch(len(rows), [facts for facts in rows if facts.row not in rejected], rejects)


def _check(
    features: Iterable[FeatureColumn],
    mapping: TableMapping,
    schema: Schema,
    channels: Collection[str],
    said_by: str | None,
) -> None:
    faults = Faults()
    for feature in features:
        attribute = schema.attributes.get(feature.path)
        if attribute is None:
            faults.add(feature.place, f"unknown attribute {feature.path}", known(feature.path, schema.attributes))
        elif said_by and attribute.source not in (None, said_by):
            only = f"only what {attribute.source} says counts for {feature.path}, and this is said by {said_by}"
            faults.add(feature.place, only, f"Leave the column out, or load it as {attribute.source}")
    for consent in mapping.consents:
        if consent.channel not in channels:
            faults.add(consent.place, f"unknown channel {consent.channel!r}", known(consent.channel, channels))
        if consent.purpose not in schema.purposes:
            faults.add(consent.place, f"unknown purpose {consent.purpose!r}", known(consent.purpose, schema.purposes))
    refuse(faults)


def _customer_reader(mapping: TableMapping) -> _Reader:
    def convert(cell: Any) -> str:
        try:
            return checked_customer_id(mapping.prefix + label_of(cell))
        except InvalidIdentifier as error:
            raise ValueError(str(error)) from error

    def put(facts: Facts, customer_id: str) -> None:
        facts.customer_id = customer_id

    return _Reader(str(mapping.customer.column), convert, (), put)


def _attribute_reader(feature: FeatureColumn, schema: Schema, said_by: str) -> _Reader:
    attribute = schema.attributes[feature.path]
    source, name = attribute.source or said_by, attribute.short_name

    def put(facts: Facts, value: Any) -> None:
        facts.attributes[source][name] = value

    return _Reader(feature.column, attribute_reader(attribute), feature.missing, put)


def _consent_readers(consent: ConsentColumn, missing: Collection[str], *, now_ms: int) -> Iterator[_Reader]:
    """Readers of a permission's column and of those that say more about it, in this order."""

    def moment(cell: Any) -> tuple[int, int]:
        at_ms = int(moment_ms(cell))
        if at_ms > now_ms + AHEAD_MS_MAX:
            raise ValueError("lies in the future")
        if at_ms < STATED_MS_MIN:
            raise ValueError("lies before May 1970. Write 2026-11-21T09:30:00Z, or milliseconds since 1970")
        return at_ms, at_ms + DAY_MS - 1 if is_day(cell) else at_ms

    def source(cell: Any) -> str:
        if not re.fullmatch(SOURCE_PATTERN, name := label_of(cell)):
            raise ValueError(f"expected {SOURCE_IN_WORDS}")
        return name

    def basis(cell: Any) -> str:
        if cell not in LAWFUL_BASES:
            raise ValueError(f"expected one of {', '.join(LAWFUL_BASES)}")
        return str(cell)

    def put(facts: Facts, granted: bool | None) -> None:
        if granted is not None:
            facts.consents[consent.channel, consent.purpose] = {"granted": granted}

    def put_time(facts: Facts, span: Any) -> None:
        """Of a day a permission is as old, and a withdrawal as young, as it can be: it must not lose to a yes."""
        stated = facts.consents.get((consent.channel, consent.purpose))
        if stated is not None and isinstance(span, tuple):  # else nothing, or a bad cell, whose row is rejected
            stated["at_ms"] = span[0] if stated["granted"] else min(span[1], max(span[0], now_ms))

    def putter(name: str) -> Callable[[Facts, Any], None]:
        def put_more(facts: Facts, value: Any) -> None:
            stated = facts.consents.get((consent.channel, consent.purpose))
            if stated is not None and value is not None:
                stated[name] = value

        return put_more

    yield _Reader(consent.column, flag_of, missing, put)
    more = {"time": (moment, put_time), "source": (source, putter("source")), "basis": (basis, putter("basis"))}
    for each, (convert, put_more) in more.items():
        if each in consent.beside:
            yield _Reader(consent.beside[each], convert, missing, put_more)
