"""Features: from the attributes of a customer and a context to the numbers a model multiplies.

Learnt once from a training table, then fixed in the artifact. One function assembles the numbers for one customer and
for a table, so training and serving cannot drift apart. Encoded columns are, in this order: the constant 1; per
numeric its z-score; per numeric a mark for missing; per numeric one column for each band between its knots; per
categorical or flag one column for missing, for other, and for each level. Neighbours: train.py learns an encoder,
propensity.py asks it for one customer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidFeature

Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
Column = Sequence[Any] | NDArray[Any]

KINDS = ("numeric", "categorical", "flag")
# z-scores are clipped here, or a typing error would decide alone; 6 lost 0.05 AUC where interest rates fell.
Z_MAX = 8.0
BAND_COUNT = 8  # bands per numeric let a linear model bend; 16 gain under 0.001 AUC and cost more on later rows
SKEW_MAX = 2.0  # above it a non-negative numeric is read on a logarithmic scale: amounts, counts, durations
LEVEL_ROWS_MIN = 20  # rarer levels of a categorical share the column `other`, as do levels first seen when serving
NUMBER_MAX = 1e90  # larger ones are typing errors, and their cubes no numbers: scales are learnt without them
THINNED_ROWS = 20_000
LEVELS_MAX = 64  # an identifier declared as a categorical would otherwise get a column for each customer


@dataclass(frozen=True, slots=True)
class Feature:
    """Declares that an attribute is a feature, and how to read it."""

    path: str  # "customer.age", "context.page" or "channel"
    kind: str  # one of KINDS


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number: z-score, mark for missing, and bands between knots."""

    path: str
    logarithmic: bool  # z-score of log(1 + x) instead of x
    median: float  # stands in for a missing value
    mean: float  # of x or log(1 + x)
    sd: float
    knots: tuple[float, ...]  # ascending; a value equal to a knot lies in the band below it


@dataclass(frozen=True, slots=True)
class Coded:
    """A categorical or a flag: one column per level. The levels of a flag are false and true."""

    path: str
    kind: str
    levels: tuple[Any, ...]  # text, whole numbers or booleans


Learnt = Numeric | Coded


def learn(features: Sequence[Feature], columns: Mapping[str, Column]) -> FeatureEncoder:
    """The encoder for these features, with scales, knots and levels as they stand in the table.

    Raises InvalidFeature for no features, a kind that is not one of KINDS, a missing column, or values of the wrong
    kind.
    """
    if not features:
        raise InvalidFeature("there is no feature, and without one all customers look alike; name one or more")
    return FeatureEncoder([_learn_one(feature, columns) for feature in features])


class FeatureEncoder:
    """Turns attribute values into float64[width]; see the module's docstring for the columns."""

    __slots__ = (
        "_band_start", "_coded", "_first_mark", "_has_logarithms", "_highest", "_inverse_sd", "_knots", "_logarithmic",
        "_lowest", "_mean", "_median", "_numeric_paths", "_numerics", "column_paths", "features", "is_band",
        "real_count", "width",
    )  # fmt: skip

    def __init__(self, features: Sequence[Learnt]) -> None:
        """Sorts by path, the order of declarations changes nothing. Raises InvalidFeature for a repeated path."""
        self.features = tuple(sorted(features, key=lambda feature: feature.path))
        _refuse_repeats(self.features)
        numerics = [feature for feature in self.features if isinstance(feature, Numeric)]
        coded = [feature for feature in self.features if isinstance(feature, Coded)]
        self._learn_scales(numerics)
        self.real_count = 1 + len(numerics)
        self._first_mark = self.real_count
        band_counts = [len(feature.knots) + 1 for feature in numerics]
        first_band = self._first_mark + len(numerics)
        self._band_start = first_band + np.cumsum([0, *band_counts], dtype=np.int64)[:-1]
        self._numerics = [  # what `sparse` walks
            (one.path, one.median, int(start), one.knots, self._first_mark + position)
            for position, (start, one) in enumerate(zip(self._band_start, numerics, strict=True))
        ]
        first_level = first_band + sum(band_counts)
        self._coded, self.width = _lookups(coded, first_level)
        self.is_band = np.zeros(self.width, dtype=np.bool_)
        self.is_band[first_band:first_level] = True
        bands = (path for one, count in zip(numerics, band_counts, strict=True) for path in [one.path] * count)
        levels = (path for one in coded for path in [one.path] * (2 + len(one.levels)))
        self.column_paths: tuple[str | None, ...] = (None, *self._numeric_paths * 2, *bands, *levels)

    def _learn_scales(self, numerics: Sequence[Numeric]) -> None:
        self._numeric_paths = tuple(feature.path for feature in numerics)
        self._logarithmic = np.array([feature.logarithmic for feature in numerics], dtype=np.bool_)
        self._has_logarithms = bool(self._logarithmic.any())
        self._median = np.array([feature.median for feature in numerics], dtype=np.float64)
        self._mean = np.array([feature.mean for feature in numerics], dtype=np.float64)
        sd = np.array([feature.sd for feature in numerics], dtype=np.float64)
        self._inverse_sd = 1.0 / sd
        lowest, highest = self._mean - Z_MAX * sd, self._mean + Z_MAX * sd
        with np.errstate(over="ignore"):  # a bound beyond all numbers bounds nothing
            self._lowest = np.where(self._logarithmic, np.expm1(np.maximum(lowest, 0.0)), lowest)
            self._highest = np.where(self._logarithmic, np.expm1(np.maximum(highest, 0.0)), highest)
        self._knots = _padded([feature.knots for feature in numerics])

    @property
    def paths(self) -> tuple[str, ...]:
        """The attributes this encoder reads."""
        return tuple(feature.path for feature in self.features)

    def columns_of(self, path: str) -> Indexes:
        """int64[k]: the columns of an attribute."""
        return np.flatnonzero([column == path for column in self.column_paths])

    def encode(self, values: Mapping[str, Any]) -> Floats:
        """float64[width] for one customer; an absent key or None is a missing value.

        Raises InvalidFeature for a text where a number belongs, or a list anywhere.
        """
        return self.dense(*self.sparse(values))

    def dense(self, reals: Floats, ones: Sequence[int]) -> Floats:
        """float64[width]: what `sparse` says, written out."""
        encoded = np.zeros(self.width)
        encoded[: self.real_count] = reals
        encoded[ones] = 1.0
        return encoded

    def sparse(self, values: Mapping[str, Any]) -> tuple[Floats, list[int]]:
        """The same customer in short: float64[real_count], the first columns, and which of the others are 1.

        Most columns of a customer are 0: multiplying only these costs what its attributes do, not what all levels do.
        """
        value_of = values.get
        numbers: list[float] = []
        ones: list[int] = []
        marks: list[int] = []
        try:
            for path, median, first_band, knots, mark in self._numerics:
                number = value_of(path)
                if number is None or not isfinite(number):
                    number = median
                    marks.append(mark)
                number = float(number)
                numbers.append(number)
                ones.append(first_band + bisect_left(knots, number))
            ones += [lookup.get(value_of(path), other) for path, lookup, other in self._coded]
        except (TypeError, OverflowError) as error:
            raise _unreadable(values, self._numeric_paths, error) from error
        return self._reals(np.array(numbers)), ones + marks

    def encode_table(self, columns: Mapping[str, Column]) -> Floats:
        """float64[rows, width]; each row equals `encode` of that row's values, bit by bit."""
        reals, ones = self.sparse_table(columns)
        encoded = np.zeros((len(reals), self.width + 1))
        encoded[:, : self.real_count] = reals
        encoded[np.arange(len(reals))[:, None], ones] = 1.0
        return encoded[:, : self.width]

    def sparse_table(self, columns: Mapping[str, Column]) -> tuple[Floats, Indexes]:
        """As `sparse`, for a table: float64[rows, real_count], int64[rows, k], where `width` stands for no column.

        Row by row in the order of `sparse`, so that sums over the columns agree to the last bit.
        """
        row_count = len(columns[self.features[0].path]) if self.features else 0
        numbers = np.empty((row_count, len(self._numeric_paths)))
        for index, path in enumerate(self._numeric_paths):
            numbers[:, index] = numbers_of(columns[path])
        codes = np.empty((row_count, len(self._coded)), dtype=np.int64)
        for index, (path, lookup, other) in enumerate(self._coded):
            codes[:, index] = [lookup.get(value, other) for value in plain_values(columns[path])]
        known = np.isfinite(numbers)
        filled = np.where(known, numbers, self._median)
        bands = self._band_start + (filled[:, :, None] > self._knots).sum(axis=2)
        marks = np.where(known, self.width, self._first_mark + np.arange(len(self._numeric_paths)))
        return self._reals(filled), np.hstack([bands, codes, marks])

    def _reals(self, filled: Floats) -> Floats:
        """The constant and the z-scores, of one customer or of a table's rows; values are clipped, then scaled."""
        reals = np.empty((*filled.shape[:-1], self.real_count))
        reals[..., 0] = 1.0
        z_scores = np.maximum(filled, self._lowest, out=reals[..., 1:])
        np.minimum(z_scores, self._highest, out=z_scores)
        if self._has_logarithms:
            np.log1p(z_scores, out=z_scores, where=self._logarithmic)
        z_scores -= self._mean
        z_scores *= self._inverse_sd
        return reals


def _learn_one(feature: Feature, columns: Mapping[str, Column]) -> Learnt:
    if feature.kind not in KINDS:
        raise InvalidFeature(f"{feature.path}: kind {feature.kind!r} is unknown. Known: {', '.join(KINDS)}.")
    if feature.path not in columns:
        raise InvalidFeature(f"{feature.path}: the table has no such column. It has: {', '.join(sorted(columns))}.")
    try:
        if feature.kind == "numeric":
            return _learn_numeric(feature.path, numbers_of(columns[feature.path]))
        return _learn_coded(feature, plain_values(columns[feature.path]))
    except (InvalidFeature, TypeError) as error:
        raise InvalidFeature(f"{feature.path}, declared {feature.kind}: {error}") from error


def _learn_numeric(path: str, numbers: Floats) -> Numeric:
    known = numbers[np.abs(numbers) <= NUMBER_MAX]
    if not len(known):
        return Numeric(path, False, 0.0, 0.0, 1.0, ())
    logarithmic = bool(known.min() >= 0.0 and _skewness(known) > SKEW_MAX)
    amounts = np.log1p(known) if logarithmic else known
    sd = float(amounts.std())
    return Numeric(
        path=path,
        logarithmic=logarithmic,
        median=float(np.median(known)),
        mean=float(amounts.mean()),
        sd=sd if sd > 0.0 else 1.0,
        knots=_knots(known),
    )


def _learn_coded(feature: Feature, values: Sequence[Any]) -> Coded:
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    counts.pop(None, None)
    if feature.kind == "flag":
        if strange := [value for value in counts if value not in (False, True)]:
            raise InvalidFeature(f"{strange[0]!r} is neither true nor false")
        return Coded(feature.path, "flag", (False, True))
    if strange := [value for value in counts if not isinstance(value, (str, int))]:
        raise InvalidFeature(f"{strange[0]!r} is neither a text nor a whole number")
    frequent = [value for value, count in counts.items() if count >= LEVEL_ROWS_MIN]
    frequent.sort(key=lambda value: (-counts[value], repr(value)))
    return Coded(feature.path, "categorical", tuple(sorted(frequent[:LEVELS_MAX], key=repr)))


def _skewness(known: Floats) -> float:
    centred = known - known.mean()
    sd = float(centred.std())
    return float((centred**3).mean()) / sd**3 if sd > 0.0 else 0.0


def _knots(known: Floats) -> tuple[float, ...]:
    distinct = np.unique(known)
    if len(distinct) <= BAND_COUNT:
        return tuple(((distinct[1:] + distinct[:-1]) / 2).tolist())
    inner = np.arange(1, BAND_COUNT) / BAND_COUNT
    return tuple(np.unique(np.quantile(known, inner)).tolist())


def _padded(knots: Sequence[tuple[float, ...]]) -> Floats:
    """float64[numerics, most knots]; no value exceeds the infinite padding, so it opens no band."""
    padded = np.full((len(knots), max(map(len, knots), default=0)), np.inf)
    for row, own in zip(padded, knots, strict=True):
        row[: len(own)] = own
    return padded


def _lookups(coded: Sequence[Coded], start: int) -> tuple[tuple[tuple[str, dict[Any, int], int], ...], int]:
    """Per feature its path, the column of each value (None is missing), and the column of every other value."""
    lookups = []
    for feature in coded:
        columns = {None: start, **{level: start + 2 + index for index, level in enumerate(feature.levels)}}
        lookups.append((feature.path, columns, start + 1))
        start += 2 + len(feature.levels)
    return tuple(lookups), start


def _unreadable(values: Mapping[str, Any], numeric_paths: Sequence[str], error: Exception) -> InvalidFeature:
    """What is wrong with one customer's values, in the words that a table's column would be refused with."""
    try:
        numbers_of([values.get(path) for path in numeric_paths])
    except InvalidFeature as refusal:
        return refusal
    return InvalidFeature(f"a list or mapping cannot be a feature's value: {error}")


def numbers_of(values: Column) -> Floats:
    """float64[n]; None becomes NaN. A text is refused even when it looks like a number: nothing is guessed."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values.astype(np.float64)
    plain = plain_values(values)
    if str in set(map(type, plain)):
        text = next(value for value in plain if isinstance(value, str))
        raise InvalidFeature(f"{text!r} is a text where a number belongs")
    try:
        numbers = np.array(plain, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidFeature(f"not every value is a number: {error}") from error
    if numbers.ndim != 1:
        raise InvalidFeature("a list cannot be a feature's value")
    return numbers


def plain_values(values: Column) -> Sequence[Any]:
    """Python values: hashing numpy scalars one by one costs several times as much."""
    return values.tolist() if isinstance(values, np.ndarray) else values


def thinned(columns: Mapping[str, Column], paths: Sequence[str], rows_max: int = THINNED_ROWS) -> dict[str, Column]:
    """These columns of a table, of at most so many rows at equal distances: enough to describe a distribution."""
    row_count = len(columns[paths[0]]) if paths else 0
    rows = np.linspace(0, row_count - 1, min(row_count, rows_max)).astype(np.int64)
    return {path: taken(columns[path], rows) for path in paths}


def taken(column: Column, rows: Indexes) -> Column:
    """These rows of a column, whatever it is made of."""
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows.tolist()]


def _refuse_repeats(features: Sequence[Learnt]) -> None:
    for before, after in pairwise(features):
        if before.path == after.path:
            raise InvalidFeature(f"{after.path} is declared twice")
