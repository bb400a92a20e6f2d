"""What is refused at load, and where the fault is said to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rules import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    Environment,
    RuleFault,
    RuleTypeError,
    Signature,
    check,
    list_of,
    map_of,
    object_of,
    parse,
)

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases/faults.json").read_text("utf-8"))
ENVIRONMENT = Environment(
    {
        "customer": object_of(
            {"age": INT, "tenure_days": INT, "tier": STRING, "balance": DOUBLE, "segments": list_of(STRING)},
            name="customer",
        ),
        "prices": map_of(STRING, DOUBLE),
        "history": object_of({}, name="history"),
    },
    {("history", "count"): Signature((STRING, STRING, DURATION), INT)},
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_a_fault_is_named_with_its_place_and_way_out(case: dict[str, Any]) -> None:
    with pytest.raises(RuleFault) as caught:
        check(parse(case["rule"]), ENVIRONMENT, BOOL)

    fault = caught.value
    assert [type(fault).__name__, fault.message, fault.line, fault.column] == case["fault"]


def test_all_faults_are_reported_together_in_their_order() -> None:
    rule = "customer.tenur > 3 &&\n customer.ag > 18 && customer.tier.startsWith(4)"

    with pytest.raises(RuleTypeError) as caught:
        check(parse(rule), ENVIRONMENT, BOOL)

    places = [(fault.line, fault.column) for fault in caught.value.faults]
    assert places == [(1, 10), (2, 11), (2, 36)]
    assert str(caught.value) == "line 1, column 10: unknown attribute 'tenur'. Known nearby: tenure_days"


def test_a_single_fault_is_its_own_list_of_faults() -> None:
    fault = RuleTypeError("no", 1, 2)

    assert fault.faults == (fault,)


@pytest.mark.parametrize("rule", ["dyn(customer.age)", "dyn(1) == 1", "customer.age == 1"])
def test_a_condition_may_be_of_unknown_type(rule: str) -> None:
    checked = check(parse(rule), ENVIRONMENT, BOOL)

    assert checked.expected == BOOL
