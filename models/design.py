"""The design matrix of the hierarchical regression, and the way back from its coefficients to the nodes.

A row of the table gets its encoded features once for everything, and once more in the block of each node above its
action: its issue, its group, the action itself. The coefficients of a block are that node's deviation from the nodes
above. Bands exist for everything only: the shape of a response is learnt from all rows, an action deviates by slopes
and levels, and the matrix stays half as large. Training side: imports scipy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from models.features import Column, FeatureEncoder, Floats, Indexes
from models.hierarchy import ancestry, levels_of, row_keys_of

INTERCEPT_SD = 5.0  # prior of the overall log odds: wide enough for one positive in a million
DEVIATION_INTERCEPT_SD = 1.0  # an action is readily e times as popular as its group, whatever its customers look like
CHUNK_ROWS = 20_000  # tables are encoded in pieces: dense, 200,000 rows of 40 features would be half a gigabyte


class Prior(NamedTuple):
    """Standard deviations of the coefficients other than intercepts, around zero."""

    shared: float  # of what holds for everything
    deviation: float  # of what an issue, a group or an action adds


class Layout:
    """Which column of the design belongs to which node and feature."""

    def __init__(self, encoder: FeatureEncoder, actions: Sequence[str]) -> None:
        self.encoder = encoder
        self.actions = tuple(sorted(set(actions)))
        self.levels = levels_of(self.actions)
        self._deviating = np.flatnonzero(~encoder.is_band)
        starts = encoder.width + len(self._deviating) * np.cumsum([0, *map(len, self.levels)], dtype=np.int64)
        self.width = int(starts[-1])
        self._start_of = {
            node: int(start) + len(self._deviating) * index
            for level, start in zip(self.levels, starts[:-1], strict=True)
            for index, node in enumerate(level)
        }

    def scales(self, prior: Prior) -> Floats:
        """float64[width]: the prior sd of each column; scaling columns by it makes these priors a plain L2 penalty."""
        shared = np.full(self.encoder.width, prior.shared)
        shared[0] = INTERCEPT_SD
        deviation = np.full(len(self._deviating), prior.deviation)
        deviation[0] = DEVIATION_INTERCEPT_SD
        return np.concatenate([shared, np.tile(deviation, len(self._start_of))])

    def design(self, columns: Mapping[str, Column], actions: Sequence[str]) -> sparse.csr_matrix:
        """csr[rows, width], unscaled. An action outside this layout gets the blocks of its known ancestors only."""
        pieces = []
        for start in range(0, len(actions), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            encoded = self.encoder.encode_table({path: columns[path][rows] for path in self.encoder.paths})
            pieces.append(sparse.csr_matrix(encoded))
        shared = sparse.vstack(pieces, format="csr")
        deviating = shared[:, self._deviating]
        blocks = [self._block(deviating, level, actions) for level in self.levels]
        return sparse.hstack([shared, *blocks], format="csr")

    def by_node(self, coefficients: Floats) -> Floats:
        """float64[row keys, encoder.width]: the block of each node of the hierarchy, 0 where it has none."""
        keys = row_keys_of(self.actions)
        blocks = np.zeros((len(keys), self.encoder.width))
        blocks[0] = coefficients[: self.encoder.width]
        for block, key in zip(blocks, keys, strict=True):
            if key in self._start_of:
                start = self._start_of[key]
                block[self._deviating] = coefficients[start : start + len(self._deviating)]
        return blocks

    def _block(self, deviating: sparse.csr_matrix, level: Sequence[str], actions: Sequence[str]) -> sparse.csr_matrix:
        """The features moved to the columns of each row's node; rows of an unknown node are emptied."""
        node_of_row = _nodes_of_rows(level, actions)
        entry_counts = np.diff(deviating.indptr)
        shift = np.repeat(np.maximum(node_of_row, 0) * len(self._deviating), entry_counts)
        known = np.repeat(node_of_row >= 0, entry_counts)
        shape = (len(actions), len(level) * len(self._deviating))
        return sparse.csr_matrix((deviating.data * known, deviating.indices + shift, deviating.indptr), shape=shape)


def _nodes_of_rows(level: Sequence[str], actions: Sequence[str]) -> Indexes:
    """int64[rows]: position of each row's node within the level, -1 for a node that is not there."""
    position = {node: index for index, node in enumerate(level)}
    depth = level[0].count("/") + 1
    of_action = {action: position.get(ancestry(action)[depth], -1) for action in set(actions)}
    return np.fromiter((of_action[action] for action in actions), dtype=np.int64, count=len(actions))
