"""What a stranger's table says in its own words becomes rows that a model can learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from decisioning.errors import MappingFaulty, TableFaulty
from decisioning.history.kinds import ByStrategy
from decisioning.history.mapping import TableMapping, mapping_of
from decisioning.history.training import read_training
from decisioning.moment import moment_of
from decisioning.request import Request
from models.incremental import NOTHING
from tests.decisioning.bank import FILES, NOW_MS, customer, strategy

MAPPING = """
customer: {column: id}
person: {column: household}
validation: time
features: {customer.since: since, customer.score: score}
action: {column: offer, keys: {"Gold card": grow/cards/gold, Loan: grow/loans/loan}, nothing: [none, control]}
outcome: {column: y, positive: [1], negative: [0]}
time: {column: at}
logging_probability: {value: 0.25}
"""
TABLE = """id,household,since,score,offer,y,at
1,h1,2026-01-01,3,Gold card,1,2026-01-11
2,h1,2025-12-31T12:00:00Z,,none,0,2026-01-01
3,h2,, ,grow/cards/silver,0,2026-02-01T00:00:00+00:00
"""


def mapping(text: str = MAPPING) -> TableMapping:
    return mapping_of("mapping.yaml", text.encode())


def table(tmp_path: Path, text: str = TABLE) -> list[Path]:
    path = tmp_path / "past.csv"
    path.write_text(text)
    return [path]


def test_labels_become_actions_and_nothing_and_persons_hold_rows_together(tmp_path: Path) -> None:
    training = read_training(table(tmp_path), mapping())

    assert training.actions == ["grow/cards/gold", NOTHING, "grow/cards/silver"]
    assert training.is_nothing.tolist() == [False, True, False]
    assert training.persons == ["h1", "h1", "h2"] and training.customer_ids == ["1", "2", "3"]
    assert training.logging_probability is not None and training.logging_probability.tolist() == [0.25] * 3
    assert mapping().validation == "time"
    assert training.where(training.is_nothing).columns == {"customer.since": [0.5], "customer.score": [None]}


def test_a_time_is_read_as_days_before_the_row_and_blanks_are_empty(tmp_path: Path) -> None:
    training = read_training(table(tmp_path), mapping())

    assert training.columns == {"customer.since": [10.0, 0.5, None], "customer.score": [3.0, None, None]}
    assert training.kinds == {"customer.since": "numeric", "customer.score": "numeric"}


def test_one_moment_for_all_rows_orders_none_of_them(tmp_path: Path) -> None:
    text = MAPPING.replace("{column: at}", '{value: "2026-01-01"}').replace("validation: time", "validation: random")

    training = read_training(table(tmp_path), mapping(text))

    assert training.columns["customer.since"] == [0.0, 0.5, None]
    assert training.order is None


def test_days_are_those_that_a_decision_would_read(tmp_path: Path) -> None:
    bank = strategy(
        {"schema.yaml": FILES["schema.yaml"].replace("context:", "  since: {type: timestamp, source: crm}\ncontext:")}
    )
    since = "2020-05-06T07:08:09.123Z"
    moment = moment_of(Request("C-1", "web", (), {}), customer(since=since), bank, frozenset(bank.features))
    text = MAPPING.replace("customer.score: score", "customer.age: score")
    rows = f"id,household,since,score,offer,y,at\n1,h,{since},44,Loan,1,{NOW_MS}\n2,h,{since},5,Loan,0,{NOW_MS}\n"

    training = read_training(table(tmp_path, rows), mapping(text), ByStrategy.of(bank))

    assert training.columns["customer.since"][0] == moment.values(frozenset({"customer.since"}))["customer.since"]
    assert training.columns["customer.age"] == [44, None] and training.invalid == {"customer.age": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Gold card", "Golden card"), r"mapping.yaml:6: column 'offer' holds labels that are no action: 'Golden"),
        (("2026-01-11", "yesterday"), r"mapping.yaml:8: column 'at', 1 of 3 rows: date or time expected"),
        (("2026-01-11", "7"), r"the time of a row is a plain number, .* Leave customer.since out"),
        (("3,h2", ",h2"), None),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, change: tuple[str, str], message: str | None) -> None:
    rows = table(tmp_path, TABLE.replace(*change))

    if message is None:
        assert read_training(rows, mapping()).excluded == {"": 1}
    else:
        with pytest.raises(TableFaulty, match=message):
            read_training(rows, mapping())


def test_a_time_without_a_moment_to_count_from_is_a_fault_of_the_mapping(tmp_path: Path) -> None:
    text = MAPPING.replace("time: {column: at}", "")

    with pytest.raises(MappingFaulty, match="validation: time needs rows in the order of time"):
        read_training(table(tmp_path), mapping(text))
    with pytest.raises(MappingFaulty, match=r"mapping.yaml:5:28: customer.since is a time, .* Name the moment: time:"):
        read_training(table(tmp_path), mapping(text.replace("validation: time", "")))


def test_faults_of_the_new_entries_are_reported_together() -> None:
    faulty = """customer: {column: id}
validation: later
action: {value: grow/cards/gold, nothing: [none], keys: {Gold: gold}}
logging_probability: {value: 0}
features: {customer.since: {column: since, kind: date}, now.hour: hour}
time: {column: at, value: "2026-01-01"}
"""
    with pytest.raises(MappingFaulty) as refused:
        mapping(faulty)

    assert [(fault.line, fault.column) for fault in refused.value.faults] == [
        (2, 13), (3, 34), (3, 51), (3, 64), (4, 30), (5, 50), (5, 57), (6, 7)
    ]  # fmt: skip


def test_a_feature_that_a_strategy_types_otherwise_or_does_not_know_is_a_fault(tmp_path: Path) -> None:
    text = MAPPING.replace("customer.since: since", "customer.tier: {column: since, kind: numeric}")

    with pytest.raises(MappingFaulty) as refused:
        read_training(table(tmp_path), mapping(text), ByStrategy.of(strategy()))

    assert "customer.tier is categorical in the schema" in str(refused.value)
    assert "unknown attribute customer.score" in str(refused.value)


def test_derived_attributes_are_features_where_the_strategy_has_them(tmp_path: Path) -> None:
    bank = strategy({"derived.yaml": "adult: {expression: 'customer.age >= 18'}\n"})
    text = MAPPING.replace("customer.since: since, customer.score: score", "derived.adult: score")
    rows = TABLE.replace(",3,", ",true,").replace(", ,", ",no,")

    training = read_training(table(tmp_path, rows), mapping(text), ByStrategy.of(bank))

    assert training.columns == {"derived.adult": [True, None, False]}
    assert training.kinds == {"derived.adult": "flag"}
