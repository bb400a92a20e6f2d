"""Serving: the same number for the same customer and action, whoever else is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import InvalidTable
from models.propensity import PropensityModel
from models.train import TrainedModel
from tests.models.tables import ACTIONS, Table

UNTRAINED = ["grow/cards/new", "grow/new/new", "new/new/new"]


@given(rows=st.lists(st.integers(0, 8), min_size=1, max_size=40), customer=st.integers(0, 3_999))
@settings(max_examples=80, deadline=None)
def test_a_propensity_does_not_depend_on_who_else_is_asked_for(
    trained: TrainedModel, contacts: Table, rows: list[int], customer: int
) -> None:
    values = contacts.row(customer)

    together = trained.model.propensities(values, np.array(rows))

    alone = [trained.model.propensities(values, np.array([row]))[0] for row in rows]
    assert together.tolist() == alone


def test_a_table_gives_the_numbers_of_its_rows_one_by_one(trained: TrainedModel, contacts: Table) -> None:
    model = trained.model
    columns = {path: column[:200] for path, column in contacts.columns.items()}
    rows = model.rows_for(contacts.actions[:200])

    of_table = model.propensities_of_table(columns, rows)

    assert of_table.tolist() == [model.propensities(contacts.row(i), rows[i : i + 1])[0] for i in range(200)]


def test_propensities_are_rounded_chances(trained: TrainedModel, contacts: Table) -> None:
    rows = trained.model.rows_for(trained.model.actions)

    chances = trained.model.propensities(contacts.row(0), rows)

    assert chances.tolist() == np.round(chances, 9).tolist()
    assert ((chances > 0) & (chances < 1)).all()


def test_an_untrained_action_stands_where_its_nearest_known_ancestor_does(trained: TrainedModel) -> None:
    model = trained.model

    rows = model.rows_for([*UNTRAINED, ACTIONS[0]])

    assert [model.row_keys[row] for row in rows] == ["grow/cards", "grow", "", ACTIONS[0]]


def test_the_row_of_a_group_lies_between_its_actions(trained: TrainedModel, contacts: Table) -> None:
    model = trained.model
    rows = model.rows_for(["grow/cards/platinum", "grow/cards/new", "grow/cards/gold"])

    means = np.mean([model.propensities(contacts.row(i), rows) for i in range(200)], axis=0)

    assert means[0] < means[1] < means[2]


def test_attributes_the_model_does_not_know_are_ignored(trained: TrainedModel, contacts: Table) -> None:
    values, rows = contacts.row(0), trained.model.rows_for(ACTIONS)

    chances = trained.model.propensities(values | {"customer.shoe_size": 43}, rows)

    assert chances.tolist() == trained.model.propensities(values, rows).tolist()


def test_the_version_names_what_decides(trained: TrainedModel) -> None:
    model = trained.model
    same = PropensityModel(model.encoder, model.actions, model.weights.copy(), [])
    other = PropensityModel(model.encoder, model.actions, model.weights + 1e-12, model.golden)

    assert same.version == model.version != other.version


def test_weights_that_do_not_fit_are_refused(trained: TrainedModel) -> None:
    model = trained.model

    for weights in (model.weights[:-1], model.weights[:, :-1], np.full_like(model.weights, np.nan)):
        with pytest.raises(InvalidTable, match="finite numbers asked for"):
            PropensityModel(model.encoder, model.actions, weights, [])
