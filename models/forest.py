"""Forest: boosted trees that give one number, read from the encoded columns of a customer.

Serving side: numpy only. All tests of all trees are made at once instead of walking down: a test that goes right rules
out the leaves on its left, the lowest leaf that nothing rules out is the one reached (the idea of QuickScorer). The
cost does not depend on depth, and a hundred trees cost a few microseconds. boost.py grows and exports trees,
propensity.py reads the score as one more regressor, incremental.py reads the leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidTable
from models.features import Floats, Indexes

LEAVES_MAX = 32  # as many as a mask has bits
CHUNK_ROWS = 256  # of a table at once: the tests of a row take tens of kilobytes
ONE = np.array(1, dtype=np.uint32)  # numpy adds an array in half the time that a number takes it

Masks = NDArray[np.uint32]


class Node(NamedTuple):
    """One node of a tree in plain form; a leaf has feature -1 and only its value counts."""

    feature: int  # encoded column
    threshold: float  # above it one goes right
    left: int  # position of the next node in the tree
    right: int
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees of at most LEAVES_MAX leaves; `score` is (sum of the leaves reached - centre) / scale."""

    feature: Indexes  # [trees, tests] encoded column; 0 in the padding of smaller trees
    threshold: Floats  # [trees, tests]; a value above it goes right; infinite in the padding
    ruled_out: Masks  # [trees, tests] leaves on the left of each test, leaf i as bit i
    leaf_values: Floats  # [trees, leaves]
    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Raises InvalidTable for arrays that do not describe trees."""
        shape, leaf_shape = self.feature.shape, self.leaf_values.shape
        if len(shape) != 2 or self.threshold.shape != shape or self.ruled_out.shape != shape:
            raise InvalidTable(f"the tests of a forest are of unequal shapes: {shape}, {self.threshold.shape}, …")
        if len(leaf_shape) != 2 or leaf_shape[0] != shape[0] or not 1 <= leaf_shape[1] <= LEAVES_MAX:
            raise InvalidTable(f"leaf values {leaf_shape} do not fit {shape[0]} trees of 1 to {LEAVES_MAX} leaves")
        if self.feature.size and self.feature.min() < 0:
            raise InvalidTable("a test of the forest reads a column before the first")
        if (self.ruled_out >> np.uint32(leaf_shape[1] - 1)).any():
            raise InvalidTable("a test of the forest rules out its last leaf, or one that does not exist")
        if np.isnan(self.threshold).any() or not np.isfinite(self.leaf_values).all():
            raise InvalidTable("the forest holds a number that is not finite")
        if not (np.isfinite([self.centre, self.scale]).all() and self.scale > 0.0):
            raise InvalidTable(f"a forest's centre {self.centre} and scale {self.scale} must be finite, scale positive")

    @classmethod
    def of_trees(cls, trees: Sequence[Sequence[Node]], *, centre: float = 0.0, scale: float = 1.0) -> Forest:
        """The forest of trees in plain form, root first. Raises InvalidTable for more than LEAVES_MAX leaves."""
        flat = [_flattened(tree) for tree in trees]
        test_count = max((len(tree.tests) for tree in flat), default=0)
        feature = np.zeros((len(flat), test_count), dtype=np.int64)
        threshold = np.full(feature.shape, np.inf)
        ruled_out = np.zeros(feature.shape, dtype=np.uint32)
        leaf_values = np.zeros((len(flat), test_count + 1))
        for row, tree in enumerate(flat):
            for column, test in enumerate(tree.tests):
                feature[row, column], threshold[row, column], ruled_out[row, column] = test
            leaf_values[row, : len(tree.leaves)] = tree.leaves
        return cls(feature, threshold, ruled_out, leaf_values, float(centre), float(scale))

    @property
    def columns(self) -> Indexes:
        """Encoded columns that some test reads, ascending."""
        return np.unique(self.feature[np.isfinite(self.threshold)])

    def leaves_of_table(self, encoded: Floats) -> Indexes:
        """int64[n, trees] for float64[n, width]: the leaf reached in each tree."""
        chunks = (encoded[start : start + CHUNK_ROWS] for start in range(0, len(encoded), CHUNK_ROWS))
        return np.concatenate([np.empty((0, len(self.feature)), dtype=np.int64), *map(self._leaves, chunks)])

    def _leaves(self, encoded: Floats) -> NDArray[np.uint8]:
        """uint8[..., trees] for float64[..., width]: one customer or some rows of a table."""
        fails = encoded.take(self.feature, axis=-1) > self.threshold
        ruled_out = np.bitwise_or.reduce(self.ruled_out * fails, axis=-1)
        lowest = ~ruled_out & (ruled_out + ONE)  # the lowest bit that is not set
        leaves: NDArray[np.uint8] = np.bitwise_count(lowest - ONE)
        return leaves

    def score(self, encoded: Floats) -> float:
        """The standardised score of one customer."""
        return float(self._scores(self._leaves(encoded)))

    def score_table(self, encoded: Floats) -> Floats:
        """float64[n]; each equal to `score` of its row, bit by bit."""
        return self._scores(self.leaves_of_table(encoded))

    def _scores(self, leaves: Indexes | NDArray[np.uint8]) -> Floats:
        first = np.arange(0, self.leaf_values.size, self.leaf_values.shape[1])  # of each tree
        reached = self.leaf_values.take(first + leaves)
        scores: Floats = (np.add.reduce(reached, axis=-1) - self.centre) / self.scale
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For an artifact; `from_arrays` reads it back."""
        names = ("feature", "threshold", "ruled_out", "leaf_values")
        return {name: getattr(self, name) for name in names} | {"standard": np.array([self.centre, self.scale])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Forest:
        """Raises InvalidTable for arrays that are missing, of another type, or no trees."""
        wanted = {"feature": "<i8", "threshold": "<f8", "ruled_out": "<u4", "leaf_values": "<f8", "standard": "<f8"}
        for name, kind in wanted.items():
            if name not in arrays or arrays[name].dtype != np.dtype(kind):
                raise InvalidTable(f"the forest's {name} is missing or not {kind}")
        if arrays["standard"].shape != (2,):
            raise InvalidTable("the forest's standard is not its centre and scale")
        centre, scale = arrays["standard"].tolist()
        return cls(
            feature=arrays["feature"],
            threshold=arrays["threshold"],
            ruled_out=arrays["ruled_out"],
            leaf_values=arrays["leaf_values"],
            centre=centre,
            scale=scale,
        )


class _Flat(NamedTuple):
    """One tree with its leaves numbered from left to right."""

    tests: list[tuple[int, float, int]]  # column, threshold, leaves on the left as bits
    leaves: list[float]


def _flattened(tree: Sequence[Node]) -> _Flat:
    flat = _Flat([], [])
    _visit(tree, 0, flat)
    if len(flat.leaves) > LEAVES_MAX:
        raise InvalidTable(f"a tree has {len(flat.leaves)} leaves, more than the {LEAVES_MAX} that are served")
    return flat


def _visit(tree: Sequence[Node], position: int, flat: _Flat) -> None:
    node = tree[position]
    if node.feature < 0:
        flat.leaves.append(float(node.value))
        return
    first = len(flat.leaves)
    _visit(tree, node.left, flat)
    on_the_left = (1 << len(flat.leaves)) - (1 << first)
    _visit(tree, node.right, flat)
    flat.tests.append((node.feature, float(node.threshold), on_the_left))
