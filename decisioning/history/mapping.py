"""Mapping files: which column of a table is what.

Read with positions like a strategy, and refused with all faults at once. One file serves loading customers and
training: each takes the entries it needs. docs/history.md has all entries.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.shape import WORD, Listed, Named, Number, Record, Shape, Text, describe
from decisioning.catalog.yaml_text import Listing, Node, Scalar, read_yaml
from decisioning.catalog.yaml_text import Mapping as Entries
from decisioning.errors import MappingFaulty

CONSENT_MORE = ("time", "source", "basis")  # what a table may say about a consent besides yes and no
KINDS = ("numeric", "categorical", "flag", "timestamp")
VALIDATIONS = ("random", "time")
ATTRIBUTE = re.compile(r"(customer|context|derived)\.[a-z][a-z0-9_]{0,63}")
ACTION = re.compile(rf"{WORD.pattern}/{WORD.pattern}/{WORD.pattern}")
CONSENT = re.compile(rf"{WORD.pattern}\.{WORD.pattern}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: a column, or one constant for all rows."""

    column: str | None
    value: str | float | None
    place: Node


@dataclass(frozen=True, slots=True)
class ActionSource(Source):
    """What was done on a row, and how the table calls it."""

    keys: Mapping[str, str]  # label -> issue/group/action; a label that is not here must be an action's key itself
    nothing: frozenset[str]  # labels of rows on which, by design, nothing was done


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """An attribute and its column."""

    path: str
    column: str
    kind: str | None  # one of KINDS; None: as the schema types it, or as its values look
    missing: frozenset[str]  # labels that mean missing here, those of the whole table included
    place: Node


@dataclass(frozen=True, slots=True)
class OutcomeColumn:
    """The column with what came of it, and the labels that count; rows with other labels are left out."""

    column: str
    positive: frozenset[str]
    negative: frozenset[str]
    place: Node


@dataclass(frozen=True, slots=True)
class ConsentColumn:
    """A permission and its yes-or-no column."""

    channel: str
    purpose: str
    column: str
    place: Node
    beside: Mapping[str, str] = field(default_factory=dict)  # of CONSENT_MORE, the column that says it


@dataclass(frozen=True, slots=True)
class TableMapping:
    """What the columns of a table are. Entries that a mapping file does not have are None."""

    place: Node  # of the file
    customer: Source
    prefix: str = ""  # put before the customer column, so that row numbers of two tables stay apart
    missing: frozenset[str] = frozenset()
    source: str | None = None
    person: Source | None = None  # whose rows belong together, when the customer column is finer
    features: tuple[FeatureColumn, ...] = ()
    consents: tuple[ConsentColumn, ...] = ()
    validation: str = "random"  # one of VALIDATIONS: on whom the model will be used
    action: ActionSource | None = None
    channel: Source | None = None
    outcome: OutcomeColumn | None = None
    time: Source | None = None
    value: Source | None = None
    logging_probability: Source | None = None
    known_before: frozenset[str] = (
        frozenset()
    )  # features that really are known before the decision, whatever it looks like

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where everything but features, consents and the outcome comes from."""
        optional = (self.person, self.action, self.channel, self.time, self.value, self.logging_probability)
        return (self.customer, *(each for each in optional if each))

    def check_columns(self, names: Collection[str], table: Path) -> None:
        """Raise MappingFaulty for every column the table does not have."""
        faults = Faults()
        for column, place in self._columns():
            if column not in names:
                faults.add(place, f"{table.name} has no column {column!r}", known(column, names))
        refuse(faults)

    def _columns(self) -> Iterator[tuple[str, Node]]:
        yield from ((each.column, each.place) for each in self.sources if each.column is not None)
        yield from ((feature.column, feature.place) for feature in self.features)
        for consent in self.consents:
            yield from ((column, consent.place) for column in (consent.column, *consent.beside.values()))
        if self.outcome:
            yield self.outcome.column, self.outcome.place


def read_mapping(path: Path) -> TableMapping:
    """Read a mapping file; raises MappingFaulty with all faults."""
    return mapping_of(path.name, path.read_bytes())


def mapping_of(file: str, content: bytes) -> TableMapping:
    """The mapping in a file's content; `file` is its name in faults."""
    faults = Faults()
    start = Node(file, 1, 1)
    tree = read_yaml(file, content, faults)
    if tree is None and not faults:
        faults.add(start, "the file is empty", "Begin with customer: {column: …}")
    refuse(faults)
    entries = SHAPE.check(tree or start, faults)
    refuse(faults)
    assert isinstance(entries, Entries)  # a Record's check leaves nothing else
    return _Builder(entries, start).build()


def refuse(faults: Faults) -> None:
    """Raise MappingFaulty if there is any fault."""
    if faults:
        raise MappingFaulty(faults.sorted())


@dataclass(frozen=True, slots=True)
class Label:
    """A value as it stands in a table: text, a number, true or false."""

    def check(self, node: Node, faults: Faults) -> Node | None:
        if isinstance(node, Scalar) and node.value is not None:
            return node
        faults.add(node, f"expected a label, found {describe(node)}", "Write it as it stands in the table")
        return None


@dataclass(frozen=True, slots=True)
class Either:
    """A short form or a long one."""

    short: Text
    long: Record

    def check(self, node: Node, faults: Faults) -> Node | None:
        return (self.long if isinstance(node, Entries) else self.short).check(node, faults)


@dataclass(frozen=True, slots=True)
class OneOf:
    """A record with exactly one of several entries; what more it may have goes with the first of them."""

    choices: Mapping[str, Shape]
    more: Mapping[str, Shape] = field(default_factory=dict)

    def check(self, node: Node, faults: Faults) -> Node | None:
        left = Record(optional={**self.choices, **self.more}).check(node, faults)
        if not isinstance(node, Entries):
            return left
        first, names = next(iter(self.choices)), " or ".join(self.choices)
        found = [name for name in self.choices if name in node.entries]
        if len(found) != 1:
            faults.add(node, f"expected {names}, found {len(found)} of them", f"Give one of {names}")
        for name in self.more:
            if name in node.entries and first not in found:
                faults.add(node.keys[name], f"{name} goes with a {first}", f"Remove it, or name a {first}")
        return left


_LABELS = Listed(Label(), least=1)
_COLUMN = Record(required={"column": Text()})
_COLUMN_OR_VALUE = OneOf({"column": Text(), "value": Text()})
_ACTION_KEY = Text(ACTION, "an action, like grow/cards/gold_upgrade")
_ACTION = OneOf(
    {"column": Text(), "value": _ACTION_KEY}, more={"keys": Named(_ACTION_KEY, pattern=None), "nothing": _LABELS}
)
_PROBABILITY = OneOf({"column": Text(), "value": Number(1e-6, 1.0)})
_FEATURE = Either(Text(), Record(required={"column": Text()}, optional={"kind": Text(words=KINDS), "missing": _LABELS}))
_CONSENT = Either(Text(), Record(required={"column": Text()}, optional=dict.fromkeys(CONSENT_MORE, Text())))
SHAPE = Record(
    required={"customer": Record(required={"column": Text()}, optional={"prefix": Text()})},
    optional={
        "missing": _LABELS,
        "source": Text(pattern=WORD, form="a name of lower-case letters, digits and _"),
        "person": _COLUMN,
        "validation": Text(words=VALIDATIONS),
        "features": Named(_FEATURE, ATTRIBUTE, "an attribute, like customer.age or context.page"),
        "consents": Named(_CONSENT, CONSENT, "a channel and a purpose, like email.marketing"),
        "action": _ACTION,
        "channel": _COLUMN_OR_VALUE,
        "outcome": Record(required={"column": Text(), "positive": _LABELS, "negative": _LABELS}),
        "time": _COLUMN_OR_VALUE,
        "value": _COLUMN,
        "logging_probability": _PROBABILITY,
        "known_before": Listed(Text(pattern=ATTRIBUTE, form="an attribute, like customer.age")),
    },
)


@dataclass(frozen=True, slots=True)
class _Builder:
    """From entries whose shape is checked to the mapping."""

    entries: Entries
    start: Node

    def build(self) -> TableMapping:
        customer = self._source("customer")
        assert customer is not None  # required by the shape
        return TableMapping(
            place=self.start,
            customer=customer,
            prefix=self.entries.mapping("customer").value("prefix", ""),
            missing=_labels(self.entries, "missing"),
            source=self.entries.value("source"),
            person=self._source("person"),
            features=tuple(self._features()),
            consents=tuple(self._consents()),
            validation=self.entries.value("validation", VALIDATIONS[0]),
            action=self._action(),
            channel=self._source("channel"),
            outcome=self._outcome(),
            time=self._source("time"),
            value=self._source("value"),
            logging_probability=self._source("logging_probability"),
            known_before=frozenset(node.value for node in self.entries.scalars("known_before")),
        )

    def _source(self, name: str) -> Source | None:
        if name not in self.entries.entries:
            return None
        entry = self.entries.mapping(name)
        return Source(entry.value("column"), entry.value("value"), entry.scalar("column") or entry)

    def _action(self) -> ActionSource | None:
        source, entry = self._source("action"), self.entries.mapping("action")
        if source is None:
            return None
        keys = {label: node.value for label, node in entry.mapping("keys").entries.items() if isinstance(node, Scalar)}
        return ActionSource(source.column, source.value, source.place, keys, _labels(entry, "nothing"))

    def _features(self) -> Iterator[FeatureColumn]:
        missing = _labels(self.entries, "missing")
        features = self.entries.mapping("features")
        for path, node in features.entries.items():
            if isinstance(node, Entries):
                own = missing | _labels(node, "missing")
                place = node.scalar("column") or node
                yield FeatureColumn(path, node.value("column"), node.value("kind"), own, place)
            else:
                yield FeatureColumn(path, features.value(path), None, missing, node)

    def _consents(self) -> Iterator[ConsentColumn]:
        consents = self.entries.mapping("consents")
        for name, node in consents.entries.items():
            channel, _, purpose = name.partition(".")
            if isinstance(node, Entries):
                beside = {each: node.value(each) for each in CONSENT_MORE if each in node.entries}
                place = node.scalar("column") or node
                yield ConsentColumn(channel, purpose, node.value("column"), place, beside)
            else:
                yield ConsentColumn(channel, purpose, consents.value(name), node)

    def _outcome(self) -> OutcomeColumn | None:
        entry = self.entries.mapping("outcome")
        if not entry.entries:
            return None
        place = entry.scalar("column") or entry
        return OutcomeColumn(entry.value("column"), _labels(entry, "positive"), _labels(entry, "negative"), place)


def _labels(entries: Entries, name: str) -> frozenset[str]:
    """Labels as the file spells them: 01 and TRUE are not rewritten."""
    node = entries.entries.get(name)
    items: Sequence[Node] = node.items if isinstance(node, Listing) else ()
    scalars = (item for item in items if isinstance(item, Scalar))
    return frozenset(item.value if isinstance(item.value, str) else str(item.source) for item in scalars)
