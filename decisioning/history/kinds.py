"""Kinds: how the cells of a feature are read, as a strategy types it, as a trained model knows it, or as they look.

With a strategy, values pass the same quality rules as in a profile, so that a model never learns from what a decision
would treat as missing. A time becomes the days between it and the moment of its row, as it does in a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from decisioning.catalog.derived import DerivedAttribute
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.schema import Schema
from decisioning.catalog.strategy import Strategy
from decisioning.history.cells import (
    attribute_reader,
    bad_cells,
    converted,
    flag_of,
    label_of,
    moment_ms,
    number_of,
)
from decisioning.history.mapping import FeatureColumn
from models import PropensityModel
from models.features import Coded
from rules import TIMESTAMP as TIMESTAMP_TYPE

TIMESTAMP = "timestamp"
READERS: dict[str, Callable[[Any], Any]] = {
    "numeric": number_of,
    "categorical": label_of,
    "flag": flag_of,
    TIMESTAMP: moment_ms,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a column of cells means."""

    kind: str  # numeric, categorical, flag or timestamp; the values of the last are milliseconds
    convert: Callable[[Any], Any]  # raises ValueError


class Typing(Protocol):
    """Who says what the cells of a feature mean."""

    def kept(self, features: Sequence[FeatureColumn], faults: Faults) -> list[FeatureColumn]:
        """The columns that are features here; what is wrong with the mapping's word on them is noted."""
        ...

    def reading(self, feature: FeatureColumn, cells: Sequence[Any]) -> Reading:
        """How one of them is read."""
        ...


@dataclass(frozen=True, slots=True)
class ByLooks:
    """Nobody says: the mapping's kind, or what all cells can be read as."""

    def kept(self, features: Sequence[FeatureColumn], faults: Faults) -> list[FeatureColumn]:
        return list(features)

    def reading(self, feature: FeatureColumn, cells: Sequence[Any]) -> Reading:
        kind = feature.kind or _kind_by_looks(cells, feature)
        return Reading(kind, READERS[kind])


@dataclass(frozen=True, slots=True)
class ByStrategy:
    """A strategy's schema and derived attributes say; what the schema keeps from models is left out."""

    schema: Schema
    derived: Mapping[str, DerivedAttribute]  # by short name
    features: Mapping[str, str]  # attribute path -> numeric, categorical or flag

    @classmethod
    def of(cls, strategy: Strategy) -> ByStrategy:
        return cls(strategy.schema, strategy.derived, strategy.features)

    def kept(self, features: Sequence[FeatureColumn], faults: Faults) -> list[FeatureColumn]:
        names = [*self.schema.attributes, *(each.name for each in self.derived.values())]
        for feature in features:
            kind = self._kind(feature.path)
            if feature.path not in names:
                faults.add(feature.place, f"unknown attribute {feature.path}", known(feature.path, names))
            elif kind and feature.kind not in (None, kind, *(() if kind == TIMESTAMP else ("categorical", "flag"))):
                faults.add(feature.place, f"{feature.path} is {kind} in the schema", f"Remove kind: {feature.kind}")
        return [feature for feature in features if feature.path in self.features]

    def reading(self, feature: FeatureColumn, cells: Sequence[Any]) -> Reading:
        kind = feature.kind or self.features[feature.path]
        attribute = self.schema.attributes.get(feature.path)
        if self._is_time(feature.path):
            read = attribute_reader(attribute) if attribute else _as_is
            return Reading(TIMESTAMP, lambda cell: moment_ms(read(cell)))
        return Reading(kind, attribute_reader(attribute) if attribute else READERS[kind])

    def _kind(self, path: str) -> str | None:
        return TIMESTAMP if self._is_time(path) else self.features.get(path)

    def _is_time(self, path: str) -> bool:
        attribute, derived = self.schema.attributes.get(path), self.derived.get(path.removeprefix("derived."))
        return derived.type == TIMESTAMP_TYPE if derived else attribute is not None and attribute.type == TIMESTAMP


@dataclass(frozen=True, slots=True)
class ByModel:
    """A trained model says: its features, each as it learnt to read it."""

    model: PropensityModel

    def kept(self, features: Sequence[FeatureColumn], faults: Faults) -> list[FeatureColumn]:
        return [feature for feature in features if feature.path in self.model.features]

    def reading(self, feature: FeatureColumn, cells: Sequence[Any]) -> Reading:
        learnt = next(each for each in self.model.encoder.features if each.path == feature.path)
        if isinstance(learnt, Coded):
            is_counted = learnt.kind == "categorical" and any(type(level) is int for level in learnt.levels)
            return Reading(learnt.kind, _whole_number if is_counted else READERS[learnt.kind])
        is_time = (feature.kind or _kind_by_looks(cells, feature)) == TIMESTAMP
        return Reading(TIMESTAMP, moment_ms) if is_time else Reading("numeric", number_of)


def _kind_by_looks(cells: Sequence[Any], feature: FeatureColumn) -> str:
    if all(isinstance(cell, bool) for cell in cells if cell is not None):
        return "flag"
    for kind in ("numeric", TIMESTAMP):
        if not bad_cells(converted(cells, READERS[kind], feature.missing)):
            return kind
    return "categorical"


def _as_is(cell: Any) -> Any:
    return cell


def _whole_number(cell: Any) -> int:
    number = number_of(cell)
    if not number.is_integer():
        raise ValueError("whole number expected")
    return int(number)
