"""What a policy report says about rows with a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models import InvalidTable, PropensityModel
from models.features import FeatureEncoder
from models.hierarchy import row_keys_of
from models.incremental import NOTHING, IncrementalModel
from models.policy_report import PolicyReport, parts_in_top, policy_report
from models.propensity import Posterior, PriorVariances
from models.train_incremental import TrainedIncremental
from tests.models.waves import ACTIONS, Waves, older_gain_more

COST = 1.0


def model_with(encoder: FeatureEncoder, uplifts: IncrementalModel | None, best: int = 0) -> PropensityModel:
    """A model whose propensities favour one action for everybody, with these uplifts."""
    nodes = row_keys_of(ACTIONS)
    means = np.zeros((len(nodes), encoder.width))
    means[nodes.index(ACTIONS[best]), 0] = 1.0
    posterior = Posterior(nodes, means, np.zeros_like(means))
    priors = PriorVariances((1.0, 1.0, 1.0), (0.1, 0.1, 0.1))
    return PropensityModel(encoder, None, posterior, priors, [], dict.fromkeys(ACTIONS, 100), incremental=uplifts)


def report_on(model: PropensityModel, waves: Waves, **options: Any) -> PolicyReport:
    told: dict[str, Any] = {
        "actions": waves.actions,
        "outcomes": waves.outcomes,
        "probabilities": waves.probabilities,
        "persons": waves.persons,
    }
    return policy_report(model, waves.columns, **(told | options))


@pytest.fixture(scope="module")
def unseen() -> Waves:
    return Waves(older_gain_more, 3_000, seed=1)


@pytest.fixture(scope="module")
def model(ordered: tuple[Waves, TrainedIncremental]) -> PropensityModel:
    return model_with(ordered[0].encoder, ordered[1].model)


def test_values_and_differences_hold_the_truth(model: PropensityModel, unseen: Waves) -> None:
    found = report_on(model, unseen, contact_cost=COST)

    age = np.array(unseen.columns["customer.age"])
    gain = np.where(age > 50, 2.0 - COST, 0.0)  # of the best action, for those whom it moves
    everybody = np.where(age > 50, 2.0, 0.0) - COST
    assert found.over_nothing is not None and found.over_best_for_all is not None
    assert found.over_nothing.low <= gain.mean() <= found.over_nothing.high
    assert found.over_best_for_all.low <= (gain - everybody).mean() <= found.over_best_for_all.high
    assert found.over_best_for_all.low > 0.0
    assert found.contacted == pytest.approx((age > 50).mean(), abs=0.03)
    assert (found.best_action, found.form, found.unit) == ("grow/cards/gold", "ordered", "value")


def test_the_gain_lies_with_those_ranked_first_and_uplifts_are_of_the_right_size(
    model: PropensityModel, unseen: Waves
) -> None:
    found = report_on(model, unseen)

    assert found.top_gains["0.5"].value == pytest.approx(1.0, abs=0.06)
    assert found.top_gains["0.1"].value == pytest.approx(0.2, abs=0.06)
    assert found.uplift_scale is not None
    assert found.uplift_scale.low < 1.0 < found.uplift_scale.high


def test_equal_uplifts_put_nobody_before_another_whatever_the_order_of_the_rows(unseen: Waves) -> None:
    nodes = row_keys_of(ACTIONS)
    constant = IncrementalModel("value", unseen.encoder.width, nodes, np.ones(len(nodes)), nothing=0.0)

    found = report_on(model_with(unseen.encoder, constant), unseen)

    assert {share: gain.value for share, gain in found.top_gains.items()} == pytest.approx(
        {"0.1": 0.1, "0.3": 0.3, "0.5": 0.5}
    )


def test_a_block_of_equals_at_the_edge_of_the_top_is_in_it_in_part() -> None:
    assert parts_in_top(np.array([1.0, 3.0, 2.0, 2.0, 0.0]), 0.4).tolist() == [0.0, 1.0, 0.5, 0.5, 0.0]


def test_the_policy_that_is_valued_does_not_read_what_is_barred(model: PropensityModel, unseen: Waves) -> None:
    everything = frozenset(unseen.columns)

    free = report_on(model, unseen, contact_cost=COST)
    barred = report_on(model, unseen, contact_cost=COST, barred=dict.fromkeys(ACTIONS, everything))

    assert 0.0 < free.contacted < 1.0
    assert barred.contacted in (0.0, 1.0)  # knowing nothing of anybody, it treats all alike


def test_a_dearer_contact_is_made_less_often_and_is_worth_less(model: PropensityModel, unseen: Waves) -> None:
    reports = [report_on(model, unseen, contact_cost=cost) for cost in (0.0, 1.0, 5.0)]

    assert [report.contacted for report in reports] == sorted((r.contacted for r in reports), reverse=True)
    assert reports[0].contacted == 1.0
    assert reports[-1].contacted == 0.0
    values = [report.model.dr.value for report in reports if report.model.dr]
    assert values == sorted(values, reverse=True)
    assert reports[-1].over_nothing is not None and reports[-1].over_nothing.value == 0.0


def test_a_model_without_uplifts_takes_the_likeliest_action(unseen: Waves) -> None:
    found = report_on(model_with(unseen.encoder, None, best=1), unseen)

    assert (found.form, found.best_action, found.contacted) == (None, "grow/cards/plain", 1.0)
    assert found.over_best_for_all is not None and found.over_best_for_all.value == 0.0
    assert found.top_gains == {} and found.uplift_scale is None


def test_too_few_rows_give_no_difference_but_say_why(model: PropensityModel, unseen: Waves) -> None:
    few = slice(0, 120)
    found = policy_report(
        model,
        {path: column[few] for path, column in unseen.columns.items()},
        actions=unseen.actions[few],
        outcomes=unseen.outcomes[few],
        probabilities=unseen.probabilities[few],
        persons=unseen.persons[few],
    )

    assert found.over_best_for_all is None
    assert found.model.refused is not None and "draws of this policy" in found.model.refused


def test_rows_without_nothing_leave_only_the_best_action_as_a_rival(model: PropensityModel, unseen: Waves) -> None:
    acted = [index for index, action in enumerate(unseen.actions) if action != NOTHING]
    found = policy_report(
        model,
        {path: [column[index] for index in acted] for path, column in unseen.columns.items()},
        actions=[unseen.actions[index] for index in acted],
        outcomes=unseen.outcomes[acted],
        probabilities=np.full(len(acted), 1 / 3),
        persons=unseen.persons[acted],
    )

    assert found.nothing is None and found.over_nothing is None
    assert found.over_best_for_all is not None


def test_actions_of_the_log_that_the_model_never_saw_are_no_choice_of_its_policy(
    model: PropensityModel, unseen: Waves
) -> None:
    renamed = [action.replace("grow/cards/gold", "grow/cards/other") for action in unseen.actions]

    found = report_on(model, unseen, actions=renamed)

    assert found.model.weights.unsupported_share == 1.0
    assert found.model.refused is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probabilities": [0.5, 0.5]}, "different lengths"),
        ({"probabilities": np.r_[0.0, np.ones(8_998), 2.0]}, "2 of 9000 logging probabilities are missing, or not"),
        ({"outcomes": np.full(9_000, np.nan)}, "outcome is missing"),
        ({"contact_cost": float("nan")}, "a contact cost of nan is none"),
        ({"contact_cost": float("inf")}, "a contact cost of inf is none"),
    ],
)
def test_rows_that_say_nothing_about_a_policy_are_refused(
    model: PropensityModel, unseen: Waves, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidTable, match=message):
        report_on(model, unseen, **options)
