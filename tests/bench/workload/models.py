"""Models of any size that nobody trained, and customers for them: what scoring costs does not depend on the weights.

The thirty attributes are those of portfolio.py, counts, amounts, flags, choices, page and device, and the channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from models import Feature, Posterior, PropensityModel
from models.features import Column, FeatureEncoder, learn
from models.forest import Forest, Node
from models.hierarchy import row_keys_of
from models.propensity import PriorVariances
from tests.bench.workload.portfolio import AMOUNTS, CHOICES, CONTEXT, COUNTS, FLAGS

CHANNELS = ("web", "email", "call_center")
TABLE_ROWS = 2_000
GROUP_COUNT, ISSUE_COUNT = 20, 4
TREE_COUNT, LEAF_COUNT = 100, 16
GAP_SHARE = 0.05  # of a customer's values


def table(random: Random, row_count: int = TABLE_ROWS) -> dict[str, Column]:
    """Values by attribute path, drawn as the rules' customers are; amounts are skewed."""
    rows = range(row_count)
    choices = {f"customer.{name}": known for name, known in CHOICES.items()}
    choices |= {f"context.{name}": known for name, known in CONTEXT.items()} | {"channel": CHANNELS}
    return {
        **{f"customer.{name}": [random.randint(*limits) for _ in rows] for name, limits in COUNTS.items()},
        **{f"customer.{name}": [high * random.betavariate(1, 9) for _ in rows] for name, high in AMOUNTS.items()},
        **{f"customer.{name}": [random.random() < share for _ in rows] for name, share in FLAGS.items()},
        **{path: random.choices(known, k=row_count) for path, known in choices.items()},
    }


def customers(columns: dict[str, Column], random: Random, count: int) -> list[dict[str, Any]]:
    """The first rows of a table, each with a few gaps."""
    return [
        {path: values[row] for path, values in columns.items() if random.random() > GAP_SHARE} for row in range(count)
    ]


def encoder_of(columns: dict[str, Column]) -> FeatureEncoder:
    return learn([Feature(path, _kind(values[0])) for path, values in columns.items()], columns)


def _kind(value: object) -> str:
    return "flag" if isinstance(value, bool) else "categorical" if isinstance(value, str) else "numeric"


def actions(count: int) -> list[str]:
    return [f"issue_{index % ISSUE_COUNT}/group_{index % GROUP_COUNT:02}/action_{index:04}" for index in range(count)]


def model_of(encoder: FeatureEncoder, action_keys: Sequence[str], forest: Forest | None) -> PropensityModel:
    """Random weights, about as large as learnt ones are."""
    random, nodes = np.random.default_rng(1), row_keys_of(action_keys)
    shape = (len(nodes), encoder.width + (forest is not None))
    means, variances = random.normal(0.0, 0.05, shape), random.uniform(0.0, 0.01, shape)
    bands = np.flatnonzero(encoder.is_band)
    means[1:, bands] = variances[1:, bands] = 0.0
    means[0, 0] = -3.0
    prior_variances = PriorVariances(intercept=(1.0, 1.0, 1.0), slope=(0.1, 0.1, 0.1))
    evidence = dict.fromkeys(action_keys, TABLE_ROWS)
    return PropensityModel(encoder, forest, Posterior(nodes, means, variances), prior_variances, [], evidence)


def forest_of(width: int, random: Random) -> Forest:
    """TREE_COUNT trees of LEAF_COUNT leaves, split at random."""
    return Forest.of_trees([_tree(width, random) for _ in range(TREE_COUNT)], scale=10.0)


def _tree(width: int, random: Random) -> list[Node]:
    tree, leaves = [_leaf(random)], [0]
    while len(leaves) < LEAF_COUNT:
        position = leaves.pop(random.randrange(len(leaves)))
        left, right = len(tree), len(tree) + 1
        tree += [_leaf(random), _leaf(random)]
        leaves += [left, right]
        tree[position] = Node(random.randrange(width), random.gauss(0, 1), left, right, 0.0)
    return tree


def _leaf(random: Random) -> Node:
    return Node(-1, 0.0, -1, -1, random.gauss(0, 1))
