"""Boost: trees that turn the encoded columns of a customer into one score, grown with scikit-learn.

The score does not know the action: it is one more regressor, which everything, issues, groups and actions weigh in the
regression. What fits those weights must not have grown the trees, or a confident score is taken for a good one; so
every row of a table is scored by trees that saw no row of its customer, and trees of all rows are grown for serving.
forest.py serves what is grown here, train.py asks for it. Training side: imports scikit-learn.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from models.errors import ArtifactFaulty
from models.evaluate import log_loss
from models.features import Floats, Indexes
from models.forest import Forest, Node
from models.regression import sigmoid

LEARNING_RATE = 0.1
LEAVES = 16  # 8 lose 0.001 AUC on the larger public tables, 31 gain nothing and serve no faster
LEAF_ROWS_MIN = 30
PENALTY = 1.0
ROUNDS_MAX = 70
ROUNDS_STEP = 5  # how finely the number of trees is chosen
GROWN_ROWS = 40_000  # of customers drawn at random: more rows move a log loss by less than it is known to
GAP_MAX = 1e-9  # between the exported trees and scikit-learn's, on rows of the training table


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """Trees of some rows, and what trees that did not know each of these rows say about it."""

    booster: HistGradientBoostingClassifier
    centre: float
    scale: float
    unseen: Floats  # [rows] standardised score of each row, by trees that saw no row of its fold

    def scores(self, inputs: Floats) -> Floats:
        """float64[n]: standardised scores of rows that the trees were not grown on."""
        with one_thread():
            standardised: Floats = (self.booster.decision_function(inputs) - self.centre) / self.scale
        return standardised


def grow(inputs: Floats, labels: Floats, folds: Indexes, priority: Indexes) -> Grown:
    """Trees for n rows, with as many rounds as score the rows of other folds best.

    inputs    float64[n, columns]: the encoded columns that tests may read
    folds     int64[n]: the rows of a customer are in one fold; without any one of them there are both labels
    priority  int64[n]: a random order of customers; trees grow on the first GROWN_ROWS of it, all rows are scored
    """
    grows = priority <= np.sort(priority)[:GROWN_ROWS][-1]
    stages = np.empty((ROUNDS_MAX // ROUNDS_STEP, len(labels)))
    with one_thread():
        for fold in np.unique(folds):
            held_out = folds == fold
            booster = _boosted(inputs[grows & ~held_out], labels[grows & ~held_out], ROUNDS_MAX)
            for index, raw in enumerate(booster.staged_decision_function(inputs[held_out])):
                if (index + 1) % ROUNDS_STEP == 0:
                    stages[index // ROUNDS_STEP, held_out] = raw.ravel()
        best = int(np.argmin([log_loss(labels, sigmoid(stage)) for stage in stages]))
        booster = _boosted(inputs[grows], labels[grows], (best + 1) * ROUNDS_STEP)
    centre, scale = float(stages[best].mean()), float(stages[best].std()) or 1.0
    return Grown(booster, centre, scale, (stages[best] - centre) / scale)


def one_thread() -> AbstractContextManager[None]:
    """Several threads wait for each other in a loop: beside other work on the machine they cost five times the time."""
    limits: AbstractContextManager[None] = threadpool_limits(1, user_api="openmp")
    return limits


def exported(grown: Grown, columns: Indexes, encoded: Floats) -> Forest:
    """The trees in the form that is served. The layout of scikit-learn's nodes is no promise of theirs.

    columns  which encoded columns the inputs were
    encoded  float64[n, width] rows of the training table, on which both must agree
    Raises ArtifactFaulty when they differ by more than GAP_MAX.
    """
    trees = [plain_nodes(predictors[0].nodes, columns) for predictors in grown.booster._predictors]
    baseline = float(np.ravel(grown.booster._baseline_prediction)[0])
    forest = Forest.of_trees(trees, centre=grown.centre - baseline, scale=grown.scale)
    gap = float(np.abs(forest.score_table(encoded) - grown.scores(encoded[:, columns])).max())
    if not gap <= GAP_MAX:
        raise ArtifactFaulty(f"the exported trees differ from scikit-learn's by {gap:.2g}, allowed is {GAP_MAX:.0e}")
    return forest


def _boosted(inputs: Floats, labels: Floats, rounds: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=LEARNING_RATE,
        max_iter=rounds,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAF_ROWS_MIN,
        l2_regularization=PENALTY,
        early_stopping=False,
        random_state=0,
    ).fit(inputs, labels)


def plain_nodes(table: NDArray[np.void], columns: Indexes) -> list[Node]:
    """One tree of scikit-learn in plain form; no value is missing among encoded columns, none is categorical."""
    return [
        Node(
            feature=-1 if node["is_leaf"] else int(columns[node["feature_idx"]]),
            threshold=float(node["num_threshold"]),
            left=int(node["left"]),
            right=int(node["right"]),
            value=float(node["value"]),
        )
        for node in table
    ]
