"""Propensity: the calibrated chance of a positive response, for one customer and many actions.

Serving side: numpy only. A row of weights per action, per group, per issue and for everything; one product of that
matrix with the encoded customer. The product always runs over all rows and picks afterwards, so that who else is
asked for cannot change a number: libraries for linear algebra sum in another order for another shape. artifact.py
stores a model, train.py makes one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.errors import InvalidTable
from models.features import Column, FeatureEncoder, Floats, Indexes, Learnt, Numeric
from models.hierarchy import row_keys_of

DECIMALS = 9  # propensities are rounded to this before anything is ranked: machines differ around the 16th
LOGIT_MAX = 30.0  # beyond it a propensity is 0 or 1 after rounding; exp() stays far from overflow


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """A made-up customer with the propensity that the training library computed; never a real customer's values."""

    values: Mapping[str, Any]
    action: str
    propensity: float


class PropensityModel:
    """A trained model; immutable by convention, safe to share between threads."""

    __slots__ = ("_row_of", "_weights", "actions", "encoder", "golden", "row_keys", "version")

    def __init__(
        self, encoder: FeatureEncoder, actions: Sequence[str], weights: Floats, golden: Sequence[GoldenRow]
    ) -> None:
        """weights is float64[r, encoder.width], one row for each of hierarchy.row_keys_of(actions), in that order.

        Raises InvalidTable for another shape, or a weight that is not finite.
        """
        self.encoder = encoder
        self.actions = tuple(sorted(actions))
        self.row_keys = row_keys_of(self.actions)
        self.golden = tuple(golden)
        if weights.shape != (len(self.row_keys), encoder.width) or not np.isfinite(weights).all():
            wanted = (len(self.row_keys), encoder.width)
            raise InvalidTable(f"weights {weights.shape} are not the {wanted} finite numbers asked for")
        self._weights = np.ascontiguousarray(weights, dtype=np.float64)
        self._weights.flags.writeable = False
        self._row_of = {key: row for row, key in enumerate(self.row_keys)}
        self.version = _digest(encoder, self.actions, self._weights)

    @property
    def features(self) -> tuple[str, ...]:
        """Paths of the attributes the model asks for; anything else in `values` is ignored."""
        return self.encoder.paths

    @property
    def weights(self) -> Floats:
        """float64[rows, columns], read-only."""
        return self._weights

    def rows_for(self, action_keys: Sequence[str]) -> Indexes:
        """int64[n]: the row of each action, or of its group, its issue or everything when it was not in training."""
        return np.fromiter((self._row_for(key) for key in action_keys), dtype=np.int64, count=len(action_keys))

    def propensities(self, values: Mapping[str, Any], rows: Indexes) -> Floats:
        """float64[len(rows)], 0..1, rounded; values are keyed by attribute path, absent means missing.

        Raises InvalidFeature for a value that cannot be read as its feature's kind.
        """
        return _rounded_sigmoid((self._weights @ self.encoder.encode(values)).take(rows))

    def propensities_of_table(self, columns: Mapping[str, Column], rows: Indexes) -> Floats:
        """float64[n] for n table rows, each with its own row of weights; equal to asking `propensities` one by one."""
        encoded = self.encoder.encode_table(columns)
        if len(encoded) != len(rows):
            raise InvalidTable(f"{len(encoded)} rows of values but {len(rows)} rows of weights asked for")
        # Customer by customer on purpose: one product for the whole table would sum in another order.
        logits = np.fromiter(
            ((self._weights @ customer)[row] for customer, row in zip(encoded, rows, strict=True)),
            dtype=np.float64,
            count=len(rows),
        )
        return _rounded_sigmoid(logits)

    def parity_gap(self) -> float:
        """Largest difference on the golden rows between this model, here, and the library that trained it."""
        if not self.golden:
            return float("inf")
        expected = np.array([row.propensity for row in self.golden])
        here = [self.propensities(row.values, self.rows_for([row.action]))[0] for row in self.golden]
        return float(np.abs(here - expected).max())

    def _row_for(self, key: str) -> int:
        while key not in self._row_of:
            key, _, _ = key.rpartition("/")
        return self._row_of[key]


def describe(encoder: FeatureEncoder, actions: Sequence[str]) -> dict[str, Any]:
    """Everything that decides beside the weights, as plain data."""
    return {"actions": list(actions), "features": [_described(feature) for feature in encoder.features]}


def _described(feature: Learnt) -> dict[str, Any]:
    kind = {"kind": "numeric"} if isinstance(feature, Numeric) else {}
    return asdict(feature) | kind


def _digest(encoder: FeatureEncoder, actions: Sequence[str], weights: Floats) -> str:
    """The version names what decides: equal versions give equal propensities, whoever trained them and when."""
    text = json.dumps(describe(encoder, actions), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode() + b"\n" + weights.astype("<f8").tobytes()).hexdigest()


def _rounded_sigmoid(logits: Floats) -> Floats:
    bounded = np.minimum(np.maximum(logits, -LOGIT_MAX), LOGIT_MAX)
    return np.round(1.0 / (1.0 + np.exp(-bounded)), DECIMALS)
