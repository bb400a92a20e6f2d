"""Uplifts on made-up tables whose truth is known: what is learnt of it, and what is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models import InvalidTable
from models.features import FeatureEncoder
from models.incremental import NOTHING, IncrementalModel
from models.train_incremental import TrainedIncremental
from tests.models.waves import ACTIONS, Waves, older_gain_more, same_for_all, tiers_differ, young_are_annoyed


def uplifts_at(model: IncrementalModel, encoder: FeatureEncoder, **values: Any) -> dict[str, float]:
    encoded = encoder.encode({f"customer.{name}": value for name, value in values.items()})
    return dict(zip(ACTIONS, model.uplifts(encoded, model.rows_for(ACTIONS)).tolist(), strict=True))


def test_equal_gains_are_served_as_one_mean_for_everybody() -> None:
    waves = Waves(same_for_all)

    trained = waves.trained()
    model = trained.model

    assert (trained.report.form, model.form, model.best_action) == ("constant", "constant", "grow/cards/gold")
    assert "the single best action stays the best for all" in trained.report.reason
    young, old = (uplifts_at(model, waves.encoder, age=age, tier="basic") for age in (25, 75))
    assert young == old
    assert young == pytest.approx(
        {action: same_for_all(np.ones(1), np.ones(1), action)[0] for action in ACTIONS}, abs=0.1
    )


def test_gains_that_differ_in_size_are_served_by_person_in_one_order(
    ordered: tuple[Waves, TrainedIncremental],
) -> None:
    waves, trained = ordered

    young, old = (uplifts_at(trained.model, waves.encoder, age=age, tier="basic") for age in (30, 70))

    assert trained.report.form == trained.model.form == "ordered"
    assert old == pytest.approx({"grow/cards/gold": 2.0, "grow/cards/plain": 1.6, "grow/loans/car": 0.6}, abs=0.35)
    assert max(young.values()) < 0.3
    assert old["grow/cards/gold"] > old["grow/cards/plain"] > old["grow/loans/car"] > 0.0


def test_gains_that_cross_are_served_with_another_best_action_for_each() -> None:
    waves = Waves(tiers_differ)

    trained = waves.trained()

    assert trained.report.form == trained.model.form == "free"
    gold, basic = (uplifts_at(trained.model, waves.encoder, age=50, tier=tier) for tier in ("gold", "basic"))
    assert max(gold, key=gold.__getitem__) == "grow/cards/gold"
    assert max(basic, key=basic.__getitem__) != "grow/cards/gold"


def test_harm_that_is_shown_is_served_below_zero_and_no_other(ordered: tuple[Waves, TrainedIncremental]) -> None:
    waves = Waves(young_are_annoyed)

    model = waves.trained().model

    assert uplifts_at(model, waves.encoder, age=25, tier="gold")["grow/cards/gold"] < -1.0
    harmless = ordered[1].model
    table = harmless.uplifts_of_table(waves.encoder.encode_table(waves.columns), harmless.rows_for(ACTIONS))
    assert harmless.harmless and table.min() > 0.0


def test_a_row_and_a_table_agree_to_the_last_bit(ordered: tuple[Waves, TrainedIncremental]) -> None:
    waves, trained = ordered
    rows = trained.model.rows_for([*ACTIONS, "grow/new/one"])
    encoded = waves.encoder.encode_table(waves.columns)[:600]

    table = trained.model.uplifts_of_table(encoded, rows)

    assert all((table[index] == trained.model.uplifts(encoded[index], rows)).all() for index in range(600))


def test_other_actions_asked_for_change_no_uplift(ordered: tuple[Waves, TrainedIncremental]) -> None:
    waves, trained = ordered
    encoded = waves.encoder.encode({"customer.age": 60, "customer.tier": "gold"})

    alone = trained.model.uplifts(encoded, trained.model.rows_for(["grow/loans/car"]))
    among = trained.model.uplifts(encoded, trained.model.rows_for(["grow/cards/gold", "grow/loans/car"] * 40))

    assert alone[0] == among[1]


def test_a_new_action_adds_what_its_group_does(ordered: tuple[Waves, TrainedIncremental]) -> None:
    waves, trained = ordered
    encoded = waves.encoder.encode({"customer.age": 70, "customer.tier": "gold"})
    keys = ["grow/cards/plain", "grow/cards/new", "grow/cards/gold", "grow/loans/new", "grow/loans/car", "keep/x/y"]

    plain, new_card, gold, new_loan, car, foreign = trained.model.uplifts(encoded, trained.model.rows_for(keys))

    assert plain <= new_card <= gold
    assert new_loan == car
    assert car < foreign < gold


def test_an_action_that_may_know_nothing_of_the_customer_adds_its_mean(
    ordered: tuple[Waves, TrainedIncremental],
) -> None:
    waves, trained = ordered
    rows = trained.model.rows_for(ACTIONS, constant={"grow/cards/plain"})

    young, old = (
        trained.model.uplifts(waves.encoder.encode({"customer.age": age, "customer.tier": "gold"}), rows)
        for age in (25, 75)
    )

    assert young[1] == old[1] == pytest.approx(0.8, abs=0.15)
    assert young[0] < old[0]


def test_arrays_and_description_bring_the_model_back(ordered: tuple[Waves, TrainedIncremental]) -> None:
    waves, trained = ordered
    model = trained.model

    back = IncrementalModel.from_arrays(model.described(), model.arrays())

    encoded = waves.encoder.encode_table(waves.columns)[:50]
    rows = model.rows_for(ACTIONS)
    assert (back.uplifts_of_table(encoded, rows) == model.uplifts_of_table(encoded, rows)).all()
    assert (back.form, back.best_action, back.nothing) == (model.form, model.best_action, model.nothing)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"effects": np.array([1.0])}, "effects do not fit"),
        ({"codes": np.zeros((2, 1))}, "codes"),
        ({"codes": np.full((7, 1), np.nan)}, "not finite"),
        ({"codes": np.zeros((7, 0))}, "beyond the encoded ones"),
    ],
)
def test_damaged_arrays_are_refused(
    ordered: tuple[Waves, TrainedIncremental], spoilt: dict[str, np.ndarray], message: str
) -> None:
    model = ordered[1].model
    assert len(model.nodes) == 7

    with pytest.raises(InvalidTable, match=message):
        IncrementalModel.from_arrays(model.described(), model.arrays() | spoilt)


@pytest.mark.parametrize("changed", [{"unit": "euro"}, {"nodes": ["", "grow"]}, {"scale": float("nan")}, {"width": 1}])
def test_a_damaged_description_is_refused(ordered: tuple[Waves, TrainedIncremental], changed: dict[str, Any]) -> None:
    model = ordered[1].model

    with pytest.raises(InvalidTable):
        IncrementalModel.from_arrays(model.described() | changed, model.arrays())


def test_the_same_rows_give_the_same_uplifts_again() -> None:
    waves = Waves(older_gain_more, 500)

    once, again = waves.trained(), waves.trained()

    assert again.report == once.report
    assert "forest.leaf_values" in once.model.arrays()
    assert all((again.model.arrays()[name] == array).all() for name, array in once.model.arrays().items())


def test_an_action_too_rare_to_be_valued_is_served_as_its_group() -> None:
    waves = Waves(older_gain_more, 500)
    actions = list(waves.actions)
    actions[:20] = ["grow/loans/boat"] * 20

    trained = waves.trained(actions=actions)

    assert "grow/loans/boat" not in trained.report.effects
    boat, car = trained.model.rows_for(["grow/loans/boat", "grow/loans/car"])
    assert trained.model.effects[boat] == trained.model.effects[car]


def test_an_action_whose_many_rows_are_of_one_person_is_served_as_its_group() -> None:
    waves = Waves(older_gain_more, 500)
    actions, persons = list(waves.actions), waves.persons.copy()
    actions[:300], persons[:300] = ["grow/loans/boat"] * 300, -1

    trained = waves.trained(actions=actions, persons=persons)

    assert "grow/loans/boat" not in trained.report.effects


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda waves: {"actions": ["grow/cards/gold"] * len(waves.actions)}, "50 persons with nothing"),
        (lambda waves: {"probabilities": np.where(waves.probabilities < 0.3, np.nan, 0.4)}, "probability is missing"),
        (lambda waves: {"outcomes": np.r_[np.nan, waves.outcomes[1:]]}, "outcome is missing"),
        (lambda waves: {"outcomes": np.r_[1e160, waves.outcomes[1:]]}, "outcome is missing or beyond"),
        (lambda waves: {"persons": np.where(np.array(waves.actions) == NOTHING, -1, waves.persons)}, "50 persons with"),
        (lambda waves: {"persons": [1, 2]}, "different lengths"),
    ],
)
def test_rows_that_show_no_uplift_are_refused_with_the_reason(
    ordered: tuple[Waves, TrainedIncremental], changed: Callable[[Waves], dict[str, Any]], message: str
) -> None:
    with pytest.raises(InvalidTable, match=message):
        ordered[0].trained(**changed(ordered[0]))
