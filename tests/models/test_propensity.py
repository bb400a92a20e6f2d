"""Serving: the same number for the same customer and action, whoever else is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import InvalidTable
from models.features import Numeric
from models.golden import edges_of
from models.propensity import Posterior, PriorVariances, PropensityModel
from models.train import TrainedModel
from tests.models.forests import boosted, with_uplifts
from tests.models.tables import ACTIONS, Table

UNTRAINED = ["grow/cards/new", "grow/new/new", "new/new/new"]


@pytest.fixture(scope="module", params=["linear", "boosted"])
def model(request: pytest.FixtureRequest, trained: TrainedModel) -> PropensityModel:
    return trained.model if request.param == "linear" else boosted(trained.model)


@given(asked=st.lists(st.sampled_from(ACTIONS + UNTRAINED), min_size=1, max_size=40), customer=st.integers(0, 3_999))
@settings(max_examples=60, deadline=None)
def test_a_score_does_not_depend_on_who_else_is_asked_for(
    model: PropensityModel, contacts: Table, asked: list[str], customer: int
) -> None:
    values = contacts.row(customer)

    together = model.paired(asked).scores(values)

    alone = [model.paired([action]).scores(values) for action in asked]
    assert together.propensity.tolist() == [scores.propensity[0] for scores in alone]
    assert together.optimistic.tolist() == [scores.optimistic[0] for scores in alone]


@pytest.mark.parametrize("form", ["constant", "ordered"])
def test_what_nobody_has_to_answer_is_certain_and_changes_nothing_else(
    model: PropensityModel, contacts: Table, form: str
) -> None:
    certain = np.arange(len(ACTIONS)) % 2 == 0
    asked = with_uplifts(model, form)
    plain, paired = asked.paired(ACTIONS), asked.paired(ACTIONS, certain=certain)

    for row in range(20):
        values = contacts.row(row)
        for found, learnt in zip(paired.scores(values), plain.scores(values), strict=True):
            assert found.tolist() == np.where(certain, 1.0, learnt).tolist()


def test_a_table_gives_the_numbers_of_its_rows_one_by_one(model: PropensityModel, contacts: Table) -> None:
    columns = {path: column[:300] for path, column in contacts.columns.items()}
    paired = model.paired(ACTIONS + UNTRAINED)

    of_table = model.propensities_of_table(columns, contacts.actions[:300])

    one_by_one = [paired.scores(contacts.row(row)).propensity for row in range(300)]
    position = [paired.action_keys.index(action) for action in contacts.actions[:300]]
    assert of_table.tolist() == [chances[index] for chances, index in zip(one_by_one, position, strict=True)]


def test_regressors_of_a_table_are_those_of_its_rows(model: PropensityModel, contacts: Table) -> None:
    of_table = model.regressors_of_table({path: column[:300] for path, column in contacts.columns.items()})

    assert of_table.shape == (300, model.width)
    assert of_table.tobytes() == np.array([model.regressors(contacts.row(row)) for row in range(300)]).tobytes()


def test_scores_are_the_sums_over_everything_that_stands_above_an_action(
    model: PropensityModel, contacts: Table
) -> None:
    regressors = model.regressors(contacts.row(7))
    rows = [model.posterior.nodes.index(node) for node in ("", "grow", "grow/cards", "grow/cards/gold")]

    scores = model.paired(ACTIONS).scores(contacts.row(7))

    logit = sum(model.posterior.means[row] @ regressors for row in rows)
    variance = sum(model.posterior.variances[row] @ regressors**2 for row in rows)
    assert scores.propensity[0] == pytest.approx(1 / (1 + np.exp(-logit)), abs=2e-9)
    assert scores.optimistic[0] == pytest.approx(1 / (1 + np.exp(-logit - np.sqrt(variance))), abs=2e-9)


def test_scores_are_rounded_chances_and_optimism_only_adds(model: PropensityModel, contacts: Table) -> None:
    scores = model.paired(ACTIONS + UNTRAINED).scores(contacts.row(0))

    for chances in (scores.propensity, scores.optimistic):
        assert chances.tolist() == np.round(chances, 9).tolist()
        assert ((chances > 0) & (chances < 1)).all()
    assert (scores.optimistic > scores.propensity).all()


def test_an_untrained_action_stands_where_its_nearest_known_ancestor_does_but_wider(trained: TrainedModel) -> None:
    paired = trained.model.paired([*UNTRAINED, *ACTIONS])
    scores = paired.scores({})

    logits = np.log(scores.propensity / (1 - scores.propensity))
    spreads = np.log(scores.optimistic / (1 - scores.optimistic)) - logits

    regressors, row_of = trained.model.regressors({}), trained.model.posterior.nodes.index
    group = sum(trained.model.posterior.means[row_of(node)] @ regressors for node in ("", "grow", "grow/cards"))
    assert logits[0] == pytest.approx(group, abs=1e-6)
    assert paired.is_new.tolist() == [True, True, True, False, False, False, False]
    assert spreads[2] > spreads[1] > spreads[0] > spreads[3:].max()


def test_a_newer_posterior_decides_and_may_know_new_actions(model: PropensityModel, contacts: Table) -> None:
    own = model.posterior
    new = np.zeros(model.width)
    new[0] = 2.0
    newer = Posterior(
        (*own.nodes, "grow/cards/new"), np.vstack([own.means, new]), np.vstack([own.variances, np.zeros(model.width)])
    )

    before = model.paired(["grow/cards/new"]).scores(contacts.row(1))
    after = model.paired(["grow/cards/new"], posterior=newer).scores(contacts.row(1))

    odds = [scores.propensity[0] / (1 - scores.propensity[0]) for scores in (before, after)]
    assert odds[1] == pytest.approx(odds[0] * np.exp(2.0), rel=1e-6)
    assert after.optimistic[0] < before.optimistic[0] * np.exp(2.0)  # its own deviation is certain now


def test_a_barred_attribute_moves_nothing_of_the_action_it_is_barred_for(trained: TrainedModel) -> None:
    gold, platinum = ACTIONS[:2]
    paired = trained.model.paired([gold, platinum], barred={gold: frozenset({"customer.age"})})

    young, old = (paired.scores({"customer.age": age, "customer.tier": "gold"}) for age in (20, 80))

    assert young.propensity[0] == old.propensity[0]
    assert young.optimistic[0] == old.optimistic[0]
    assert young.propensity[1] != old.propensity[1]


def test_a_forest_that_reads_a_barred_attribute_is_silent_where_it_is_barred(trained: TrainedModel) -> None:
    model = boosted(trained.model)
    read = {model.encoder.column_paths[column] for column in model.forest.columns} if model.forest else set()
    assert read >= {"customer.age", "customer.income"}

    silent = model.columns_barred(frozenset({"customer.age"}))

    assert silent[-1]
    paired = model.paired([ACTIONS[0]], barred={ACTIONS[0]: frozenset({"customer.age"})})
    assert len({paired.scores({"customer.age": age}).propensity[0] for age in range(20, 80, 5)}) == 1


def test_attributes_the_model_does_not_know_are_ignored(model: PropensityModel, contacts: Table) -> None:
    values, paired = contacts.row(0), model.paired(ACTIONS)

    scores = paired.scores(values | {"customer.shoe_size": 43})

    assert scores.propensity.tolist() == paired.scores(values).propensity.tolist()


def test_golden_rows_stand_on_the_edges_of_bands_and_trees(trained: TrainedModel) -> None:
    model = boosted(trained.model)
    edges = edges_of(model.encoder, model.forest)

    asked = {path: {row.values[path] for row in model.golden if path in row.values} for path in edges}

    for path, knots in {one.path: one.knots for one in model.encoder.features if isinstance(one, Numeric)}.items():
        assert asked[path] & set(knots)
        assert asked[path] & (set(edges[path]) - set(knots))
    assert model.parity_gap() <= 1e-9


def rebuilt(model: PropensityModel, **changes: Any) -> PropensityModel:
    parts = {name: getattr(model, name) for name in ("encoder", "forest", "posterior", "prior_variances", "evidence")}
    return PropensityModel(**{**parts, "golden": [], **changes})


def test_the_version_names_what_decides(model: PropensityModel) -> None:
    posterior = model.posterior
    wider = PriorVariances(intercept=(1.0, 1.0, 2.0), slope=model.prior_variances.slope)

    versions = {
        rebuilt(model, posterior=replace(posterior, means=posterior.means + 1e-12 * (posterior.means != 0))).version,
        rebuilt(model, posterior=replace(posterior, variances=posterior.variances * (1 + 1e-12))).version,
        rebuilt(model, prior_variances=wider).version,
        rebuilt(model, evidence={**model.evidence, ACTIONS[0]: 1}).version,
        model.version,
    }

    assert rebuilt(model).version == model.version
    assert len(versions) == 5


def test_a_posterior_that_does_not_fit_is_refused(trained: TrainedModel) -> None:
    model, own = trained.model, trained.model.posterior
    bent = own.means.copy()
    bent[1, model.is_band] = 0.1
    faulty = {
        "are asked for": replace(own, means=own.means[:, :-1], variances=own.variances[:, :-1]),
        "not the actions and all": Posterior(own.nodes[:-1], own.means[:-1], own.variances[:-1]),
        "bands of its own": replace(own, means=bent),
    }

    for said, posterior in faulty.items():
        with pytest.raises(InvalidTable, match=said):
            rebuilt(model, posterior=posterior)


@pytest.mark.parametrize(
    ("means", "variances", "said"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), "do not fit"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), "not all finite"),
        (np.zeros((2, 3)), np.full((2, 3), -1.0), "negative"),
        (np.zeros((2, 3), dtype=np.float32), np.zeros((2, 3)), "float64"),
    ],
)
def test_a_posterior_of_impossible_numbers_is_refused(means: Any, variances: Any, said: str) -> None:
    with pytest.raises(InvalidTable, match=said):
        Posterior(("", "grow"), means, variances)


def test_a_node_named_twice_is_refused() -> None:
    with pytest.raises(InvalidTable, match="twice"):
        Posterior(("", ""), np.zeros((2, 3)), np.zeros((2, 3)))


def test_prior_variances_are_one_for_each_level() -> None:
    with pytest.raises(InvalidTable, match="three numbers"):
        PriorVariances(intercept=(1.0, 1.0, -1.0), slope=(0.1, 0.1, 0.1))
