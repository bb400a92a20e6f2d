"""Propensity: the calibrated chance of a positive response, for one customer and many actions.

Serving side: numpy only. A customer becomes regressors: the encoded columns and, with a forest, its score. Each node
of the hierarchy has a normal coefficient for each regressor; an action's logit sums over the nodes above it, and so
does its variance. `paired` sums them once for the actions of a strategy; only then scoring a customer is cheap. Sums
run column by column in one order, never through a library for linear algebra, so that neither the other actions nor
the machine's threads change a number. artifact.py stores a model, train.py makes one, adaptive.py moves a posterior.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidTable
from models.features import Column, FeatureEncoder, Floats, Indexes, Learnt, Numeric
from models.forest import Forest
from models.hierarchy import ancestry, depth_of, row_keys_of
from models.incremental import IncrementalModel

UNITS = 1e9  # propensities are rounded to one in so many before anything is ranked: machines differ around the 16th
LOGIT_MAX = 30.0  # beyond it a propensity is 0 or 1 after rounding; exp() stays far from overflow
NOTHING_BARRED: Mapping[str, frozenset[str]] = MappingProxyType({})

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """A made-up customer with the propensity that the training library computed; never a real customer's values."""

    values: Mapping[str, Any]
    action: str
    propensity: float


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What is known about each coefficient of each node: independent normals. Deviations never bend bands."""

    nodes: tuple[str, ...]  # keys of the hierarchy: "", "grow", "grow/cards", "grow/cards/gold_upgrade"
    means: Floats  # [nodes, width]
    variances: Floats  # [nodes, width]

    def __post_init__(self) -> None:
        """Raises InvalidTable for arrays of another shape, repeated nodes, or numbers that cannot be."""
        if len(set(self.nodes)) < len(self.nodes):
            raise InvalidTable("a node of the posterior is there twice")
        for name, array in (("means", self.means), ("variances", self.variances)):
            if array.ndim != 2 or array.shape != (len(self.nodes), self.means.shape[1]):
                raise InvalidTable(f"{name} {array.shape} do not fit {len(self.nodes)} nodes {self.means.shape}")
            if array.dtype != np.float64 or not np.isfinite(array).all():
                raise InvalidTable(f"{name} are not all finite float64 numbers")
        if self.variances.size and self.variances.min() < 0.0:
            raise InvalidTable("a variance is negative")


@dataclass(frozen=True, slots=True)
class PriorVariances:
    """How far a node first seen when serving may lie from the node above it: issue, group and action, in this order."""

    intercept: tuple[float, float, float]
    slope: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Raises InvalidTable unless there are three finite variances of each kind."""
        for variances in (self.intercept, self.slope):
            if len(variances) != 3 or not all(0.0 <= variance < float("inf") for variance in variances):
                raise InvalidTable(f"prior variances {variances} are not three numbers from 0 up")


class Scores(NamedTuple):
    """One customer's numbers, per action in the order they were paired."""

    chances: Floats  # [2, actions] 0..1, rounded: the mean of what is known, then one standard deviation above it
    uplift: Floats | None  # what acting adds over doing nothing; None where the model has learnt none

    @property
    def propensity(self) -> Floats:
        """float64[actions]: by the mean of what is known."""
        chances: Floats = self.chances[0]
        return chances

    @property
    def optimistic(self) -> Floats:
        """float64[actions]: one standard deviation of the logit above it."""
        chances: Floats = self.chances[1]
        return chances


class PropensityModel:
    """A trained model; immutable by convention, safe to share between threads."""

    __slots__ = (
        "actions", "encoder", "evidence", "forest", "golden", "incremental", "is_band", "posterior", "prior_variances",
        "version", "width",
    )  # fmt: skip

    def __init__(
        self,
        encoder: FeatureEncoder,
        forest: Forest | None,
        posterior: Posterior,
        prior_variances: PriorVariances,
        golden: Sequence[GoldenRow],
        evidence: Mapping[str, int],
        incremental: IncrementalModel | None = None,
    ) -> None:
        """The posterior covers the actions in training, the keys of `evidence`, and all nodes above them.

        evidence     training rows of each action
        incremental  what acting adds over doing nothing, where that was learnt too
        Raises InvalidTable for a posterior of other nodes or width, or a forest that reads columns not encoded.
        """
        self.encoder = encoder
        self.forest = forest
        self.posterior = posterior
        self.prior_variances = prior_variances
        self.incremental = incremental
        self.golden = tuple(golden)
        self.evidence = dict(sorted(evidence.items()))
        self.actions = tuple(self.evidence)
        self.width = encoder.width + (forest is not None)
        self.is_band = np.append(encoder.is_band, np.zeros(self.width - encoder.width, dtype=np.bool_))
        self._refuse_misfits()
        self.version = _digest(self)

    @property
    def features(self) -> tuple[str, ...]:
        """Paths of the attributes the model asks for; anything else in `values` is ignored."""
        return self.encoder.paths

    def regressors(self, values: Mapping[str, Any]) -> Floats:
        """float64[width]: the encoded columns and, last, the forest's score; absent values are missing.

        Raises InvalidFeature for a value that cannot be read as its feature's kind.
        """
        row: Floats = self.with_score(self.encoder.encode(values)[None, :])[0]
        return row

    def regressors_of_table(self, columns: Mapping[str, Column]) -> Floats:
        """float64[n, width]; each row equal to `regressors` of its values, bit by bit."""
        return self.with_score(self.encoder.encode_table(columns))

    def columns_barred(self, paths: frozenset[str]) -> Flags:
        """bool[width]: the regressors that may not be used where these attributes may not, the score among them."""
        barred = np.array([path in paths for path in self.encoder.column_paths], dtype=np.bool_)
        if self.forest is None:
            return barred
        return np.append(barred, barred[self.forest.columns].any())

    def deviation_variances(self, node: str) -> Floats:
        """float64[width]: how uncertain the deviations of a node are that no training row belonged to."""
        level = depth_of(node) - 1
        variances = np.where(self.is_band, 0.0, self.prior_variances.slope[level])
        variances[0] = self.prior_variances.intercept[level]
        return variances

    def paired(
        self,
        action_keys: Sequence[str],
        *,
        posterior: Posterior | None = None,
        barred: Mapping[str, frozenset[str]] = NOTHING_BARRED,
        certain: Flags | None = None,
    ) -> Paired:
        """Ready to score these actions, known or new.

        posterior  newer than the model's own, from a learner that began with this model
        barred     by action key the attributes that may not be used for it, whatever the model learnt
        certain    bool[actions]: those that nobody has to answer; all their numbers are 1
        Raises InvalidTable for a key that is not issue/group/action, or a posterior of another width.
        """
        nobody = np.zeros(len(action_keys), dtype=np.bool_)
        return Paired(self, action_keys, posterior or self.posterior, barred, nobody if certain is None else certain)

    def propensities_of_table(
        self,
        columns: Mapping[str, Column],
        action_keys: Sequence[str],
        *,
        barred: Mapping[str, frozenset[str]] = NOTHING_BARRED,
    ) -> Floats:
        """float64[n] for n table rows with their actions; equal to scoring them one by one. barred as for `paired`."""
        distinct = sorted(set(action_keys))
        position = {key: index for index, key in enumerate(distinct)}
        index = np.fromiter((position[key] for key in action_keys), dtype=np.int64, count=len(action_keys))
        return self.paired(distinct, barred=barred).propensities_of_table(columns, index)

    def parity_gap(self) -> float:
        """Largest difference on the golden rows between this model, here, and the library that trained it."""
        if not self.golden:
            return float("inf")
        asked = [row.action for row in self.golden]
        paired = self.paired(asked)
        here = [paired.scores(row.values).propensity[index] for index, row in enumerate(self.golden)]
        return float(np.abs(np.array(here) - [row.propensity for row in self.golden]).max())

    def with_score(self, encoded: Floats) -> Floats:
        """float64[n, width]: encoded rows with the forest's score beside them, if there is a forest."""
        if self.forest is None:
            return encoded
        return np.hstack([encoded, self.forest.score_table(encoded)[:, None]])

    def _refuse_misfits(self) -> None:
        wanted = (len(self.posterior.nodes), self.width)
        if self.posterior.means.shape != wanted:
            raise InvalidTable(f"a posterior of {self.posterior.means.shape} numbers, where {wanted} are asked for")
        if self.posterior.nodes != row_keys_of(self.actions):
            raise InvalidTable("the posterior's nodes are not the actions and all that stands above them, sorted")
        if self.posterior.means[1:, self.is_band].any() or self.posterior.variances[1:, self.is_band].any():
            raise InvalidTable("a node below everything has bands of its own")
        if self.forest is not None and self.forest.feature.max(initial=0) >= self.encoder.width:
            raise InvalidTable(f"the forest reads a column beyond the {self.encoder.width} encoded ones")
        if self.incremental is not None and self.incremental.width != self.encoder.width:
            raise InvalidTable(f"uplifts of {self.incremental.width} columns, where {self.encoder.width} are encoded")


class Paired:
    """A model and the actions it is asked for, in their order; immutable by convention."""

    __slots__ = (
        "_certain", "_encoder", "_forest", "_incremental", "_ones", "_reals", "_uplift_rows", "action_keys", "is_new",
    )  # fmt: skip

    def __init__(
        self,
        model: PropensityModel,
        action_keys: Sequence[str],
        posterior: Posterior,
        barred: Mapping[str, frozenset[str]],
        certain: Flags,
    ) -> None:
        """See PropensityModel.paired."""
        if posterior.means.shape[1] != model.width:
            raise InvalidTable(f"a posterior of width {posterior.means.shape[1]} for a model of {model.width}")
        self.action_keys = tuple(action_keys)
        self.is_new = np.array([key not in model.evidence for key in self.action_keys], dtype=np.bool_)
        self._encoder, self._forest, self._incremental = model.encoder, model.forest, model.incremental
        if model.incremental is not None:
            read = {model.encoder.column_paths[column] for column in model.incremental.columns}
            constant = {key for key, paths in barred.items() if not read.isdisjoint(paths)}
            self._uplift_rows = model.incremental.rows_for(self.action_keys, constant=constant)
        summed = _summed(model, self.action_keys, posterior)
        for paths in set(barred.values()):
            concerned = np.array([barred.get(key) == paths for key in self.action_keys], dtype=np.bool_)
            summed *= ~(model.columns_barred(paths)[:, None, None] & concerned)
        summed *= ~certain
        summed[0, 0, certain] = LOGIT_MAX  # of the constant: a chance of 1 once it is rounded
        self._certain = certain
        real = np.r_[0 : model.encoder.real_count, model.encoder.width : model.width]
        self._reals = summed[real]
        # One row more than there are columns, of zeros: what stands for "no column" in a table.
        self._ones = np.zeros((model.encoder.width + 1, 2, len(self.action_keys)))
        self._ones[:-1] = summed[: model.encoder.width]

    def scores(self, values: Mapping[str, Any]) -> Scores:
        """Scores of all actions; values are keyed by attribute path, absent means missing.

        Raises InvalidFeature for a value that cannot be read as its feature's kind.
        """
        reals, ones = self._encoder.sparse(values)
        uplift = None
        if self._forest is not None or self._incremental is not None:
            encoded = self._encoder.dense(reals, ones)
            if self._forest is not None:
                reals = np.concatenate((reals, (self._forest.score(encoded),)))
            if self._incremental is not None:
                uplift = self._incremental.uplifts(encoded, self._uplift_rows)
                uplift[self._certain] = 1.0
        return Scores(self._chances(reals, ones), uplift)

    def _chances(self, reals: Floats, ones: list[int]) -> Floats:
        """float64[2, actions]: the propensity of each action, then the optimistic one."""
        amounts = np.empty((len(reals), 2, 1))  # a mean goes with a regressor, a variance with its square
        amounts[:, 0, 0] = reals
        np.multiply(reals, reals, out=amounts[:, 1, 0])
        sums = np.add.reduce(self._reals * amounts, axis=0)
        sums += np.add.reduce(self._ones.take(np.array(ones, dtype=np.int64), axis=0), axis=0)
        logits, spreads = sums
        np.sqrt(spreads, out=spreads)
        spreads += logits
        return _rounded_sigmoid(sums)

    def propensities_of_table(self, columns: Mapping[str, Column], action_index: Indexes) -> Floats:
        """float64[n] for n table rows, each with the position of its own action; equal to `scores` row by row."""
        reals, ones = self._encoder.sparse_table(columns)
        if len(reals) != len(action_index):
            raise InvalidTable(f"{len(reals)} rows of values but {len(action_index)} actions")
        if self._forest is not None:
            scores = self._forest.score_table(self._encoder.encode_table(columns))
            reals = np.hstack([reals, scores[:, None]])
        # Column by column, in the order in which `scores` adds them up.
        logits = reals[:, 0] * self._reals[0, 0, action_index]
        for column in range(1, reals.shape[1]):
            logits += reals[:, column] * self._reals[column, 0, action_index]
        lit = np.zeros(len(logits))
        for column in ones.T:
            lit += self._ones[column, 0, action_index]
        return _rounded_sigmoid(logits + lit)

    def uplifts_of_table(self, columns: Mapping[str, Column]) -> Floats | None:
        """float64[n, actions] for n table rows; equal to `scores` row by row. None where none were learnt."""
        if self._incremental is None:
            return None
        return self._incremental.uplifts_of_table(self._encoder.encode_table(columns), self._uplift_rows)


def describe(model: PropensityModel) -> dict[str, Any]:
    """Everything that decides beside the arrays, as plain data."""
    return {
        "evidence": model.evidence,
        "features": [_described(feature) for feature in model.encoder.features],
        "incremental": None if model.incremental is None else model.incremental.described(),
        "prior_variances": asdict(model.prior_variances),
    }


def arrays_of(model: PropensityModel) -> dict[str, NDArray[Any]]:
    """All arrays that decide, by name."""
    arrays: dict[str, NDArray[Any]] = {"means": model.posterior.means, "variances": model.posterior.variances}
    if model.forest is not None:
        arrays |= {f"forest.{name}": array for name, array in model.forest.arrays().items()}
    if model.incremental is not None:
        arrays |= {f"incremental.{name}": array for name, array in model.incremental.arrays().items()}
    return arrays


def _summed(model: PropensityModel, action_keys: Sequence[str], posterior: Posterior) -> Floats:
    """float64[width, 2, actions]: mean and variance of each coefficient, summed over the nodes above each action."""
    row_of = {node: row for row, node in enumerate(posterior.nodes)}
    means = np.zeros((len(action_keys), model.width))
    variances = np.zeros_like(means)
    for level in zip(*map(ancestry, action_keys), strict=True):
        rows = np.array([row_of.get(node, -1) for node in level], dtype=np.int64)
        known = rows >= 0
        means[known] += posterior.means.take(rows[known], axis=0)
        variances[known] += posterior.variances.take(rows[known], axis=0)
        if not known.all():
            variances[~known] += model.deviation_variances(level[int(np.argmin(known))])
    summed = np.empty((model.width, 2, len(action_keys)))
    summed[:, 0], summed[:, 1] = means.T, variances.T
    return summed


def _described(feature: Learnt) -> dict[str, Any]:
    kind = {"kind": "numeric"} if isinstance(feature, Numeric) else {}
    return asdict(feature) | kind


def _digest(model: PropensityModel) -> str:
    """The version names what decides: equal versions give equal propensities, whoever trained them and when."""
    text = json.dumps(describe(model), sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays_of(model).items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _rounded_sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-logit)), in place: for two numbers per action, new arrays would cost as much as the arithmetic."""
    np.maximum(logits, -LOGIT_MAX, out=logits)
    np.negative(logits, out=logits)
    np.exp(logits, out=logits)
    logits += 1.0
    np.divide(UNITS, logits, out=logits)
    np.rint(logits, out=logits)
    logits /= UNITS
    return logits
