"""The design matrix of the hierarchical regression, and the way back from its coefficients to the nodes.

A row of the table gets its encoded features once for everything, and once more in the block of each node above its
action: its issue, its group, the action itself. The coefficients of a block are that node's deviation from the nodes
above. Bands exist for everything only: the shape of a response is learnt from all rows, an action deviates by slopes
and levels, and the matrix stays half as large. The score of the trees is added to the right, for everything and for
each node, because many scores are tried on one design. Training side: imports scipy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.features import Column, FeatureEncoder, Floats, Indexes
from models.hierarchy import ancestry, levels_of, row_keys_of

INTERCEPT_SD = 5.0  # prior of the overall log odds: wide enough for one positive in a million
DEVIATION_INTERCEPT_SD = 1.0  # an action is readily e times as popular as its group, whatever its customers look like
SCORE_SD = 1.0  # of the trees' score, whose scale is that of its spread: it is to be believed unless it is wrong
CHUNK_ROWS = 20_000  # tables are encoded in pieces: dense, 200,000 rows of 40 features would be half a gigabyte


class Prior(NamedTuple):
    """Standard deviations of the coefficients other than intercepts, around zero."""

    shared: float  # of what holds for everything
    bands: float  # of its steps between knots
    deviation: float  # of what an issue, a group or an action adds


class Layout:
    """Which column of the design belongs to which node and feature."""

    def __init__(self, encoder: FeatureEncoder, actions: Sequence[str]) -> None:
        self.encoder = encoder
        self.actions = tuple(sorted(set(actions)))
        self.levels = levels_of(self.actions)
        self._deviating = np.flatnonzero(~encoder.is_band)
        starts = encoder.width + len(self._deviating) * np.cumsum([0, *map(len, self.levels)], dtype=np.int64)
        self.width = int(starts[-1])  # without a score; with one, a column for everything and for each node follow
        self._start_of = {
            node: int(start) + len(self._deviating) * index
            for level, start in zip(self.levels, starts[:-1], strict=True)
            for index, node in enumerate(level)
        }
        self._score_of = {node: self.width + 1 + index for index, node in enumerate(self._start_of)}

    def scales(self, prior: Prior, *, scored: bool) -> Floats:
        """float64[columns]: the prior sd of each; scaling columns by it makes these priors a plain L2 penalty."""
        shared = np.where(self.encoder.is_band, prior.bands, prior.shared)
        shared[0] = INTERCEPT_SD
        deviation = np.full(len(self._deviating), prior.deviation)
        deviation[0] = DEVIATION_INTERCEPT_SD
        scores = [SCORE_SD, *[prior.deviation] * len(self._start_of)] if scored else []
        return np.concatenate([shared, np.tile(deviation, len(self._start_of)), scores])

    def design(
        self, columns: Mapping[str, Column], actions: Sequence[str], barred: Mapping[str, frozenset[str]]
    ) -> sparse.csr_matrix:
        """csr[rows, width], unscaled. An action outside this layout gets the blocks of its known ancestors only.

        barred  by action the attributes that may not be used for it: their columns are empty in its rows
        """
        keys = np.asarray(actions, dtype=np.str_)
        pieces = []
        for start in range(0, len(keys), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            encoded = self.encoder.encode_table({path: columns[path][rows] for path in self.encoder.paths})
            for action, paths in barred.items():
                encoded[np.ix_(keys[rows] == action, self.columns_of(paths))] = 0.0
            pieces.append(sparse.csr_matrix(encoded))
        shared = sparse.vstack(pieces, format="csr")
        deviating = shared[:, self._deviating]
        blocks = [self._block(deviating, level, keys) for level in self.levels]
        return sparse.hstack([shared, *blocks], format="csr")

    def with_scores(self, design: sparse.csr_matrix, actions: NDArray[np.str_], scores: Floats) -> sparse.csr_matrix:
        """The design of these rows with the trees' score beside it."""
        rows = np.arange(len(scores))
        columns = [sparse.csr_matrix(scores[:, None])]
        for level in self.levels:
            node_of_row = _nodes_of_rows(level, actions)
            known = node_of_row >= 0
            place = (rows[known], node_of_row[known])
            columns.append(sparse.csr_matrix((scores[known], place), shape=(len(scores), len(level))))
        return sparse.hstack([design, *columns], format="csr")

    def by_node(self, coefficients: Floats) -> Floats:
        """float64[row keys, encoder.width, and 1 with a score]: the block of each node, 0 where it has none."""
        keys = row_keys_of(self.actions)
        scored = len(coefficients) > self.width
        blocks = np.zeros((len(keys), self.encoder.width + scored))
        blocks[0, : self.encoder.width] = coefficients[: self.encoder.width]
        if scored:
            blocks[0, -1] = coefficients[self.width]
        for block, key in zip(blocks, keys, strict=True):
            if key in self._start_of:
                start = self._start_of[key]
                block[self._deviating] = coefficients[start : start + len(self._deviating)]
                if scored:
                    block[-1] = coefficients[self._score_of[key]]
        return blocks

    def columns_of(self, paths: frozenset[str]) -> Indexes:
        """Encoded columns of these attributes."""
        return np.flatnonzero([path in paths for path in self.encoder.column_paths])

    def tree_columns(self, barred: Mapping[str, frozenset[str]]) -> Indexes:
        """Encoded columns that trees may read: no bands, which they find themselves, and nothing barred for anybody."""
        may_read = ~self.encoder.is_band
        may_read[0] = False  # the constant
        may_read[self.columns_of(frozenset().union(*barred.values()))] = False
        return np.flatnonzero(may_read)

    def _block(
        self, deviating: sparse.csr_matrix, level: Sequence[str], actions: NDArray[np.str_]
    ) -> sparse.csr_matrix:
        """The features moved to the columns of each row's node; rows of an unknown node are emptied."""
        node_of_row = _nodes_of_rows(level, actions)
        entry_counts = np.diff(deviating.indptr)
        shift = np.repeat(np.maximum(node_of_row, 0) * len(self._deviating), entry_counts)
        known = np.repeat(node_of_row >= 0, entry_counts)
        shape = (len(actions), len(level) * len(self._deviating))
        return sparse.csr_matrix((deviating.data * known, deviating.indices + shift, deviating.indptr), shape=shape)


def _nodes_of_rows(level: Sequence[str], actions: NDArray[np.str_]) -> Indexes:
    """int64[rows]: position of each row's node within the level, -1 for a node that is not there."""
    position = {node: index for index, node in enumerate(level)}
    depth = level[0].count("/") + 1
    distinct, codes = np.unique(actions, return_inverse=True)
    nodes = np.array([position.get(ancestry(action)[depth], -1) for action in distinct.tolist()], dtype=np.int64)
    return nodes[codes]
