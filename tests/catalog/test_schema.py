"""Attributes: strict typing, quality rules, age and source."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle
from decisioning.catalog.schema import DAY_MS, Schema
from decisioning.customer import Profile, SourceFacts
from decisioning.errors import InvalidAttribute
from rules import STRING, Timestamp, list_of
from tests.catalog.strategies import loaded, small

CASES = json.loads((Path(__file__).parent / "cases" / "attributes.json").read_text())
NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def schema() -> Schema:
    return loaded().schema


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_case(case: dict[str, Any], schema: Schema) -> None:
    if "fault" in case:
        with pytest.raises(InvalidAttribute, match=case["fault"]):
            schema.typed(case["attribute"], case["raw"])
    else:
        value = schema.typed(case["attribute"], case["raw"])
        assert value == case["typed"] and type(value) is type(case["typed"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_numbers_that_are_not_finite_are_refused(value: float, schema: Schema) -> None:
    with pytest.raises(InvalidAttribute):
        schema.typed("customer.balance_avg_3m", value)


def test_text_is_bounded_by_code_points(schema: Schema) -> None:
    assert schema.typed("customer.first_name", "é" * 4096)
    with pytest.raises(InvalidAttribute, match="at most 4096"):
        schema.typed("customer.first_name", "é" * 4097)


def test_times_become_timestamps(schema: Schema) -> None:
    assert schema.typed("customer.since", "2026-03-01T09:30:00.5+01:00") == Timestamp.parse("2026-03-01T08:30:00.5Z")


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists)


@settings(deadline=None)
@given(st.sampled_from(["age", "balance_avg_3m", "first_name", "card_tier", "in_arrears", "products", "since"]), JSON)
def test_any_json_is_typed_or_refused(name: str, raw: object) -> None:
    schema = loaded().schema
    profile = Profile({"crm": SourceFacts(NOW_MS, {name: raw}), "core_banking": SourceFacts(NOW_MS, {name: raw})})

    try:
        expected = {name: schema.typed(f"customer.{name}", raw)}
    except InvalidAttribute:
        expected = {}

    assert schema.attributes_of(profile, NOW_MS, None) == expected


def test_invalid_unknown_and_stale_attributes_are_missing(schema: Schema) -> None:
    profile = Profile(
        {
            "crm": SourceFacts(NOW_MS - 900 * DAY_MS, {"age": "44", "shoe_size": 44, "card_tier": "gold"}),
            "core_banking": SourceFacts(NOW_MS - 40 * DAY_MS, {"balance_avg_3m": 10, "in_arrears": False}),
        }
    )

    assert schema.attributes_of(profile, NOW_MS, None) == {
        "card_tier": "gold",
        "balance_avg_3m": 10.0,
        "in_arrears": False,
    }
    assert schema.attributes_of(profile, NOW_MS + 1, None) == {"card_tier": "gold", "in_arrears": False}


def test_only_the_declared_source_counts(schema: Schema) -> None:
    profile = Profile({"web": SourceFacts(NOW_MS, {"age": 44}), "crm": SourceFacts(0, {"card_tier": "gold"})})

    assert schema.attributes_of(profile, NOW_MS, None) == {"card_tier": "gold"}


def test_without_a_declared_source_the_latest_word_counts() -> None:
    schema = load_bundle(small({"schema.yaml": [["max: 120, source: crm", "max: 120"]]})).schema
    profile = Profile(
        {"a": SourceFacts(2, {"age": 30}), "b": SourceFacts(9, {"age": 31}), "c": SourceFacts(5, {"age": 32})}
    )

    assert schema.attributes_of(profile, NOW_MS, None) == {"age": 31}


def test_the_latest_word_about_an_attribute_counts_whatever_its_source_said_about_others_since() -> None:
    schema = load_bundle(small({"schema.yaml": [["max: 120, source: crm", "max: 120"]]})).schema
    silent_since, older = SourceFacts(9, {"age": 30}, {"age": 1}), SourceFacts(5, {"age": 31})

    for said, age in [
        ({"load": silent_since, "api": older}, 31),
        ({"api": silent_since, "load": older}, 31),
        ({"api": SourceFacts(1, {"age": 32}, {"age": 7}), "load": older}, 32),
        ({"api": SourceFacts(1, {"age": 32}, {"age": 5}), "load": older}, 31),  # said at once: by the source's name
        ({"api": SourceFacts(1, {"age": 3}, {"age": 7}), "load": older}, 31),  # below its minimum: no word
    ]:
        assert schema.attributes_of(Profile(said), NOW_MS, None) == {"age": age}


def test_attributes_nobody_asks_for_are_not_decoded(schema: Schema) -> None:
    profile = Profile({"crm": SourceFacts(NOW_MS, {"age": 44, "card_tier": "gold"})})

    assert schema.attributes_of(profile, NOW_MS, frozenset({"customer.age", "context.page", "history"})) == {"age": 44}
    assert schema.attributes_of(None, NOW_MS, None) == {}


def test_context_is_strict(schema: Schema) -> None:
    assert schema.context_of({"page": "home", "month": 3}) == {"page": "home", "month": 3}
    with pytest.raises(InvalidAttribute, match=r"context.pag: unknown attribute. Did you mean context.page"):
        schema.context_of({"pag": "home"})
    with pytest.raises(InvalidAttribute, match="not one of"):
        schema.context_of({"page": "elsewhere"})


def test_who_misspells_a_context_is_told_nothing_of_customers(schema: Schema) -> None:
    for name in ("age", "card_tie", "customer.age", "x"):
        with pytest.raises(InvalidAttribute) as refused:
            schema.context_of({name: 1})
        assert "customer." not in str(refused.value).replace(f"context.{name}", "")


def test_rules_see_the_declared_types(schema: Schema) -> None:
    assert schema.type_of("customer.products") == list_of(STRING)
    assert schema.purposes == ("marketing", "service", "risk")
    assert schema.attributes["customer.age"].allowed_for == {"marketing", "service"}
    assert not schema.attributes["customer.first_name"].feature
