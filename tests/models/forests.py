"""Forests for tests: random trees, and a trained model that is given some of them."""

from __future__ import annotations

import numpy as np

from models.forest import Forest, Node
from models.golden import golden_columns
from models.incremental import IncrementalModel
from models.propensity import GoldenRow, Posterior, PropensityModel

Tree = list[Node]


def random_tree(random: np.random.Generator, width: int, leaf_count: int) -> Tree:
    """A tree of any shape: leaves are split at random until there are enough of them."""
    tree, leaves = [_leaf(random)], [0]
    while len(leaves) < leaf_count:
        position = leaves.pop(random.integers(len(leaves)))
        left, right = len(tree), len(tree) + 1
        tree += [_leaf(random), _leaf(random)]
        leaves += [left, right]
        tree[position] = Node(int(random.integers(width)), float(random.normal()), left, right, 0.0)
    return tree


def _leaf(random: np.random.Generator) -> Node:
    return Node(-1, 0.0, -1, -1, float(random.normal()))


def walked(tree: Tree, encoded: np.ndarray) -> float:
    """The value of the leaf that one reaches on foot: the slow twin of a forest."""
    node = tree[0]
    while node.feature >= 0:
        node = tree[node.right if encoded[node.feature] > node.threshold else node.left]
    return node.value


def boosted(model: PropensityModel, tree_count: int = 30) -> PropensityModel:
    """The model with one more regressor: trees nobody grew, which weigh in for everything and for one action."""
    random = np.random.default_rng(5)
    forest = Forest.of_trees(
        [random_tree(random, model.encoder.width, int(random.integers(1, 17))) for _ in range(tree_count)],
        centre=0.5,
        scale=3.0,
    )
    own = model.posterior
    means, variances = (np.hstack([array, np.zeros((len(array), 1))]) for array in (own.means, own.variances))
    means[[0, -1], -1], variances[[0, -1], -1] = (0.3, -0.2), (0.01, 0.02)
    posterior = Posterior(own.nodes, means, variances)
    return _checked(PropensityModel(model.encoder, forest, posterior, model.prior_variances, [], model.evidence))


def with_uplifts(model: PropensityModel, form: str) -> PropensityModel:
    """The model with uplifts that nobody learnt."""
    random, nodes = np.random.default_rng(6), model.posterior.nodes
    width, effects = model.encoder.width, random.normal(size=len(nodes))
    if form == "constant":
        uplifts = IncrementalModel("label", width, nodes, effects, nothing=0.1)
    else:
        forest = Forest.of_trees([random_tree(random, width + 1, 8) for _ in range(20)])
        uplifts = IncrementalModel("label", width, nodes, effects, nothing=0.1, codes=effects[:, None], forest=forest)
    parts = (model.encoder, model.forest, model.posterior, model.prior_variances, model.golden, model.evidence)
    return PropensityModel(*parts, uplifts)


def _checked(model: PropensityModel) -> PropensityModel:
    parts = (model.encoder, model.forest, model.posterior, model.prior_variances, _golden(model), model.evidence)
    return PropensityModel(*parts, model.incremental)


def _golden(model: PropensityModel) -> list[GoldenRow]:
    """What a training library would have said, computed the long way: dense regressors, one node after the other."""
    columns, actions = golden_columns(model.encoder, model.actions, model.forest)
    rows = []
    for index, action in enumerate(actions):
        values = {path: column[index] for path, column in columns.items() if column[index] is not None}
        regressors = model.regressors(values)
        nodes = [node for node in model.posterior.nodes if node in ("", action) or action.startswith(f"{node}/")]
        logit = sum(model.posterior.means[model.posterior.nodes.index(node)] @ regressors for node in nodes)
        rows.append(GoldenRow(values, action, float(1 / (1 + np.exp(-logit)))))
    return rows
