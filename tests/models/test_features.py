"""Encoding: what a model multiplies is the same for one customer and for a table, whatever the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Feature, InvalidFeature
from models.features import LEVEL_ROWS_MIN, Z_MAX, FeatureEncoder, Numeric, learn
from tests.models.tables import FEATURES, Table, table

ENCODER = learn(FEATURES, table(500).columns)
NUMBER = st.one_of(st.none(), st.floats(), st.integers(-(10**15), 10**15))
VALUES = st.fixed_dictionaries(
    {
        "customer.age": NUMBER,
        "customer.income": NUMBER,
        "customer.tier": st.sampled_from([None, "basic", "silver", "gold", "diamond", ""]),
        "customer.owner": st.sampled_from([None, True, False]),
    }
)


@given(st.lists(VALUES, min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_a_table_row_is_encoded_like_the_customer_alone_bit_by_bit(rows: list[dict[str, Any]]) -> None:
    columns = {path: [row[path] for row in rows] for path in ENCODER.paths}

    encoded = ENCODER.encode_table(columns)

    alone = np.array([ENCODER.encode(row) for row in rows])
    assert encoded.tobytes() == alone.tobytes()
    assert np.isfinite(encoded).all()


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_every_attribute_lights_exactly_one_of_its_columns(values: dict[str, Any]) -> None:
    encoded = ENCODER.encode(values)

    assert encoded[0] == 1.0
    assert encoded[ENCODER.is_band].sum() == 2  # one band for each of two numerics
    assert encoded[-(5 + 4) :].sum() == 2  # of five columns for the tier and four for the flag, one each
    assert np.abs(encoded).max() <= Z_MAX + 1e-9


def test_a_missing_number_is_the_median_with_a_mark() -> None:
    encoder = FeatureEncoder([Numeric("customer.age", False, median=40.0, mean=38.0, sd=4.0, knots=(30.0, 50.0))])

    absent, none, nan = (encoder.encode(values) for values in ({}, {"customer.age": None}, {"customer.age": np.nan}))

    assert absent.tolist() == [1.0, 0.5, 1.0, 0.0, 1.0, 0.0]  # constant, z of the median, mark, three bands
    assert absent.tolist() == none.tolist() == nan.tolist()


@pytest.mark.parametrize(
    ("age", "band"), [(29.9, 0), (30.0, 0), (30.1, 1), (50.0, 1), (50.1, 2), (1e308, 2), (-1e308, 0)]
)
def test_a_value_on_a_knot_lies_in_the_band_below(age: float, band: int) -> None:
    encoder = FeatureEncoder([Numeric("customer.age", False, median=40.0, mean=38.0, sd=4.0, knots=(30.0, 50.0))])

    bands = encoder.encode({"customer.age": age})[3:]

    assert bands.argmax() == band
    assert bands.sum() == 1


def test_amounts_are_read_on_a_logarithmic_scale_and_ages_are_not(contacts: Table) -> None:
    learnt = {feature.path: feature for feature in learn(FEATURES, contacts.columns).features}

    assert learnt["customer.income"].logarithmic
    assert not learnt["customer.age"].logarithmic


def test_rare_and_unseen_levels_share_one_column() -> None:
    tiers = ["basic"] * 100 + ["rare"] * (LEVEL_ROWS_MIN - 1)
    encoder = learn([Feature("customer.tier", "categorical")], {"customer.tier": tiers})

    rare, unseen = encoder.encode({"customer.tier": "rare"}), encoder.encode({"customer.tier": "unseen"})

    assert rare.tolist() == unseen.tolist() == [1.0, 0.0, 1.0, 0.0]


def test_the_order_of_declarations_changes_nothing(contacts: Table) -> None:
    there, back = learn(FEATURES, contacts.columns), learn(FEATURES[::-1], contacts.columns)

    assert there.features == back.features


def test_a_feature_without_a_single_value_is_harmless() -> None:
    columns = {feature.path: [None] * 10 for feature in FEATURES}

    encoder = learn(FEATURES, columns)

    assert np.isfinite(encoder.encode({"customer.age": 30, "customer.tier": "gold"})).all()


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_all_reason_spoil_no_scale() -> None:
    ages = [20.0, 30.0, 40.0] * 10

    sane, typed = (
        learn([Feature("customer.age", "numeric")], {"customer.age": each}) for each in (ages, [*ages, 1e308])
    )

    assert typed.features == sane.features
    assert typed.encode({"customer.age": 1e308})[1] == Z_MAX


def test_a_model_without_features_is_refused() -> None:
    with pytest.raises(InvalidFeature, match="there is no feature"):
        learn([], {"customer.age": [1]})


@pytest.mark.parametrize(
    ("feature", "values", "said"),
    [
        (Feature("customer.age", "number"), [1], "kind 'number' is unknown"),
        (Feature("customer.height", "numeric"), [1], "no such column"),
        (Feature("customer.age", "numeric"), [1, "2"], "'2' is a text where a number belongs"),
        (Feature("customer.age", "numeric"), np.array(["1", "2"]), "'1' is a text where a number belongs"),
        (Feature("customer.age", "numeric"), [[1], [2]], "a list cannot be"),
        (Feature("customer.age", "flag"), [True, "yes"], "'yes' is neither true nor false"),
        (Feature("customer.age", "categorical"), [0.5], "0.5 is neither a text nor a whole number"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_by_name(feature: Feature, values: Any, said: str) -> None:
    with pytest.raises(InvalidFeature, match=feature.path) as refused:
        learn([feature], {"customer.age": values})

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"customer.age": "45"}, "'45' is a text where a number belongs"),
        ({"customer.age": 10**400}, "not every value is a number"),
        ({"customer.age": [45]}, "not every value is a number"),
        ({"customer.tier": ["gold"]}, "a list or mapping cannot be a feature's value"),
    ],
)
def test_serving_guesses_no_value_of_the_wrong_kind(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidFeature, match=said):
        ENCODER.encode(values)


def test_a_path_declared_twice_is_refused(contacts: Table) -> None:
    with pytest.raises(InvalidFeature, match=r"customer\.age is declared twice"):
        learn([*FEATURES, FEATURES[0]], contacts.columns)
