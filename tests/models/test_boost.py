"""Trees: grown out of fold, exported exactly, taken where they help, and blind to what is barred."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import ArtifactFaulty, Feature, boost, evaluate
from models.boost import Grown, exported, grow
from models.train import TrainedModel
from tests.models.tables import Table

ROWS = 2_400
FEATURES = [Feature("customer.age", "numeric"), Feature("customer.income", "numeric")]
GOLD, CAR = "grow/cards/gold", "grow/loans/car"


def crossing(row_count: int = ROWS, *, seed: int = 0, missing: float = 0.1) -> Table:
    """The young and poor accept, and the old and rich: no attribute says anything by itself."""
    random = np.random.default_rng(seed)
    age, income = random.normal(size=(2, row_count))
    chances = np.where(age * income > 0, 0.6, 0.1)
    known = random.random(row_count) > missing
    return Table(
        columns={
            "customer.age": [value if seen else None for value, seen in zip(age.tolist(), known, strict=True)],
            "customer.income": income.tolist(),
        },
        actions=random.choice([GOLD, CAR], row_count).tolist(),
        labels=(random.random(row_count) < chances).astype(float),
        chances=chances,
    )


@pytest.fixture(scope="module")
def crossed() -> Table:
    return crossing()


@pytest.fixture(scope="module")
def with_trees(crossed: Table) -> TrainedModel:
    return crossed.trained(features=FEATURES)


def grown_on(inputs: np.ndarray, labels: np.ndarray, people: np.ndarray) -> Grown:
    return grow(inputs, labels, folds=people % 4, priority=people)


def test_trees_are_taken_where_attributes_cross(crossed: Table, with_trees: TrainedModel) -> None:
    fresh = crossing(1_000, seed=1)

    chances = with_trees.model.propensities_of_table(fresh.columns, fresh.actions)

    assert with_trees.report.choices["form"] == "linear with trees"
    assert evaluate.auc(fresh.labels, chances) > evaluate.auc(fresh.labels, fresh.chances) - 0.06
    assert evaluate.calibration_slope(fresh.labels, chances) == pytest.approx(1.0, abs=0.25)
    assert with_trees.model.parity_gap() <= 1e-9


def test_the_same_table_grows_the_same_trees(crossed: Table, with_trees: TrainedModel) -> None:
    assert crossed.trained(features=FEATURES[::-1]).model.version == with_trees.model.version


def test_exported_trees_say_what_scikit_learn_says_on_every_row() -> None:
    random = np.random.default_rng(0)
    encoded = np.round(random.normal(size=(800, 5)), 1)  # rounded, so that many values stand on a split
    labels = (encoded[:, 1] * encoded[:, 3] + random.normal(size=800) > 0).astype(float)
    columns = np.array([1, 3, 4])

    grown = grown_on(encoded[:, columns], labels, np.arange(800))
    forest = exported(grown, columns, encoded)

    assert forest.score_table(encoded) == pytest.approx(grown.scores(encoded[:, columns]), abs=1e-12)
    assert set(forest.columns.tolist()) <= set(columns.tolist())


def test_an_export_that_says_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = np.random.default_rng(0).normal(size=(400, 1))
    grown = grown_on(inputs, (inputs[:, 0] > 0).astype(float), np.arange(400))
    as_it_is = boost.plain_nodes
    monkeypatch.setattr(
        boost,
        "plain_nodes",
        lambda *tree: [node._replace(left=node.right, right=node.left) for node in as_it_is(*tree)],
    )

    with pytest.raises(ArtifactFaulty, match="differ from scikit-learn's by"):
        exported(grown, np.array([0]), inputs)


def test_a_row_is_scored_by_trees_that_did_not_know_its_person() -> None:
    # The label belongs to the person, and so does the only attribute: whoever knows the person knows the answer.
    people = np.repeat(np.arange(80), 40)
    labels = (np.random.default_rng(0).random(80) < 0.5)[people].astype(float)
    inputs = people[:, None].astype(float)

    grown = grown_on(inputs, labels, people)

    assert evaluate.auc(labels, grown.scores(inputs)) > 0.7
    assert evaluate.auc(labels, grown.unseen) < 0.6


def test_trees_of_a_large_table_grow_on_some_people_and_score_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boost, "GROWN_ROWS", 600)
    random = np.random.default_rng(0)
    people = np.arange(1_500)
    inputs = random.normal(size=(1_500, 1))
    labels = (inputs[:, 0] > 0).astype(float)
    wrong = np.where(people < 600, labels, 1.0 - labels)  # what those of low priority say must not count

    grown = grown_on(inputs, wrong, people)

    assert evaluate.auc(labels, grown.scores(inputs)) > 0.95
    assert np.isfinite(grown.unseen).all()


def test_what_is_barred_for_an_action_moves_neither_its_own_coefficients_nor_the_trees(crossed: Table) -> None:
    plain = replace(
        crossed, columns=crossed.columns | {"customer.income": [abs(x) for x in crossed.columns["customer.income"]]}
    )
    model = plain.trained(features=FEATURES, barred={GOLD: frozenset({"customer.income"})}).model
    income = model.encoder.columns_of("customer.income")
    row = {node: index for index, node in enumerate(model.posterior.nodes)}

    assert not model.posterior.means[row["grow/cards"], income].any()
    assert model.posterior.means[row["grow/loans"], income].any()
    assert model.forest is None or not set(model.forest.columns.tolist()) & set(income.tolist())
