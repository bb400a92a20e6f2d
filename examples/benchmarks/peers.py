"""Peers: what a data scientist would fit in an afternoon with scikit-learn, on the same rows.

Gradient boosting as it comes, and three tamer variants; logistic regression on z-scores and one column per level, with
three penalties. The action, where there are several, is one more categorical. Categoricals go to the boosting as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from decisioning.history.training import TrainingTable

MISSING = "missing"
BOOSTINGS: dict[str, dict[str, Any]] = {
    "boosting, default": {},
    "boosting, 8 leaves": {"learning_rate": 0.06, "max_iter": 150, "max_leaf_nodes": 8},
    "boosting, 16 leaves": {
        "learning_rate": 0.06,
        "max_leaf_nodes": 16,
        "min_samples_leaf": 30,
        "l2_regularization": 1,
    },
    "boosting, 31 leaves": {"learning_rate": 0.06, "max_iter": 80, "min_samples_leaf": 50, "l2_regularization": 5},
}
LOGISTICS = {"logistic, C = 0.01": 0.01, "logistic, C = 0.1": 0.1, "logistic, C = 1": 1.0}
ITERATIONS_MAX = 500

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def peers_of(table: TrainingTable) -> Iterator[tuple[str, Any, Floats]]:
    """Per peer its name, an estimator that is not fitted yet, and the columns it takes."""
    values = _matrix(table)
    is_categorical = np.array([kind != "numeric" for kind in table.kinds.values()] + [True])
    for name, settings in BOOSTINGS.items():
        yield (
            name,
            HistGradientBoostingClassifier(categorical_features=is_categorical, random_state=0, **settings),
            values,
        )
    encoded = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), ~is_categorical),
        (OneHotEncoder(handle_unknown="ignore"), is_categorical),
    )
    for name, strength in LOGISTICS.items():
        yield name, make_pipeline(encoded, LogisticRegression(C=strength, max_iter=ITERATIONS_MAX)), values


def chances_of(peer: Any, values: Floats, labels: NDArray[np.int8], seen: Rows, held_out: Rows) -> Floats:
    """float64[held-out rows]: what a peer fitted on the seen rows says of them."""
    # A number that is always missing so far says nothing, and gradient boosting refuses it.
    useful = np.where(np.isnan(values[seen]).all(axis=0), 0.0, values)
    chances: Floats = peer.fit(useful[seen], labels[seen]).predict_proba(useful[held_out])[:, 1]
    return chances


def _matrix(table: TrainingTable) -> Floats:
    """Numbers as they are, NaN where missing; everything else, and the action, as codes."""
    columns = [
        np.array([np.nan if value is None else value for value in table.columns[path]], dtype=np.float64)
        if kind == "numeric"
        else _codes(table.columns[path])
        for path, kind in table.kinds.items()
    ]
    return np.column_stack([*columns, _codes(table.actions)])


def _codes(values: list[Any]) -> Floats:
    labels = [MISSING if value is None else str(value) for value in values]
    return np.unique(labels, return_inverse=True)[1].astype(np.float64)
