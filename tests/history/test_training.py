"""A mapping file turns a table into training columns, or names everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from decisioning.catalog.faults import Faults
from decisioning.catalog.features import features_of
from decisioning.catalog.schema import Schema, schema_of
from decisioning.catalog.yaml_text import Mapping, read_yaml
from decisioning.errors import MappingFaulty, TableFaulty
from decisioning.history.kinds import ByStrategy
from decisioning.history.mapping import TableMapping, mapping_of
from decisioning.history.training import read_training

MAPPING = """
customer: {column: row_id, prefix: "B-"}
missing: [unknown]
features:
  customer.age: age
  customer.job: job
  customer.pdays: {column: pdays, missing: [999]}
  customer.owner: {column: owner, kind: flag}
  context.month: month
action: {value: grow/deposits/term_deposit}
channel: {column: contact}
outcome: {column: y, positive: ["yes"], negative: ["no"]}
time: {column: row_id}
value: {column: worth}
"""
TABLE = """row_id,age,job,pdays,owner,month,contact,y,worth
1,57,services,999,yes,may,phone,no,
2,,unknown,3,no,jun,web,yes,12.5
3,9,clerk,5,maybe,jun,web,later,
4,37,clerk,6,,jun,,yes,1
"""


def mapping(text: str = MAPPING) -> TableMapping:
    return mapping_of("mapping.yaml", text.encode())


def table(tmp_path: Path, text: str = TABLE) -> Path:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    return path


def schema(text: str) -> Schema:
    faults = Faults()
    tree = read_yaml("schema.yaml", text.encode(), faults)
    assert isinstance(tree, Mapping)
    return schema_of(tree, faults)


def test_columns_are_typed_missing_labels_are_none_and_unlabelled_rows_are_left_out(tmp_path: Path) -> None:
    training = read_training([table(tmp_path)], mapping())

    assert training.columns == {
        "customer.age": [57.0, None],
        "customer.job": ["services", None],
        "customer.pdays": [None, 3.0],
        "customer.owner": [True, False],
        "context.month": ["may", "jun"],
        "channel": ["phone", "web"],
    }
    assert training.kinds["customer.age"] == "numeric" and training.kinds["customer.owner"] == "flag"
    assert training.labels.tolist() == [0, 1]
    assert training.actions == ["grow/deposits/term_deposit"] * 2
    assert training.customer_ids == ["B-1", "B-2"]
    assert training.order is not None and training.order.tolist() == [1.0, 2.0]
    assert training.value is not None and np.isnan(training.value[0]) and training.value[1] == 12.5
    assert training.logging_probability is None
    assert training.excluded == {"": 1, "later": 1}


def test_with_a_schema_invalid_values_are_missing_and_kept_attributes_stay_out(tmp_path: Path) -> None:
    rules = schema(
        "customer: {age: {type: int, min: 18}, job: {type: string, feature: false}, pdays: {type: int},"
        " owner: {type: bool}}\ncontext: {month: {type: string, enum: [may]}}"
    )
    adult = TABLE.replace("2,,", "2,17,")

    training = read_training([table(tmp_path, adult)], mapping(), ByStrategy(rules, {}, features_of(rules, [])))

    assert training.columns["customer.age"] == [57, None]
    assert training.columns["context.month"] == ["may", None]
    assert "customer.job" not in training.columns
    assert training.invalid == {"customer.age": 1, "context.month": 1}


def test_parquet_and_csv_give_the_same_training_table(tmp_path: Path) -> None:
    path = table(tmp_path)
    duckdb.sql(f"SELECT * FROM read_csv('{path}')").write_parquet(str(tmp_path / "calls.parquet"))

    ours, theirs = (read_training([each], mapping()) for each in (path, tmp_path / "calls.parquet"))

    assert ours.columns == theirs.columns and ours.customer_ids == theirs.customer_ids
    assert ours.labels.tolist() == theirs.labels.tolist()


@pytest.mark.parametrize("cell", ["1970-01-01T00:00:00.007Z", "1970-01-01T02:00:00.007+02:00", "7", "7.0"])
def test_times_order_rows_in_milliseconds(tmp_path: Path, cell: str) -> None:
    text = "id,at,y\n1," + cell + ",yes\n2," + cell + ",no\n"
    short = "customer: {column: id}\naction: {value: a/b/c}\nchannel: {value: web}\ntime: {column: at}\n"
    outcome = "outcome: {column: y, positive: ['yes'], negative: ['no']}"

    order = read_training([table(tmp_path, text)], mapping(short + outcome)).order

    assert order is not None and order.tolist() == [7.0, 7.0]


@pytest.mark.parametrize("impossible", ["0", "1.5", "-0.1"])
def test_a_logging_probability_that_cannot_be_is_refused_even_without_rows_of_nothing(
    tmp_path: Path, impossible: str
) -> None:
    text = MAPPING.replace("value: {column: worth}", "logging_probability: {column: worth}")
    calls = table(tmp_path, TABLE.replace("12.5", impossible) + f"5,40,clerk,1,no,may,web,no,{impossible}\n")

    with pytest.raises(TableFaulty, match=r"mapping.yaml:14: column 'worth', 2 of 3 rows: .* take logging_probability"):
        read_training([calls], mapping(text))


def test_times_that_are_missing_are_counted(tmp_path: Path) -> None:
    calls = table(tmp_path, TABLE + "5,40,clerk,1,no,may,web,no,\n6,40,clerk,1,no,may,web,no,3\n")
    timed_by_worth = mapping(MAPPING.replace("time: {column: row_id}", "time: {column: worth}"))

    with pytest.raises(TableFaulty, match="column 'worth', 2 of 4 rows: nothing there"):
        read_training([calls], timed_by_worth)


def test_all_faults_of_a_mapping_are_reported_at_once_with_their_places() -> None:
    faulty = """customer: {colum: row_id}
missing: unknown
features: {age: x, customer.b: {column: c, kind: number}}
consents: {email: y}
action: {value: a, column: b}
outcome: {column: y, positive: [], negative: [null]}
fetures: {}
"""
    with pytest.raises(MappingFaulty) as refused:
        mapping(faulty)

    places = [str(fault).split(": ")[0] for fault in refused.value.faults]
    assert places == [
        f"mapping.yaml:{place}"
        for place in ("1:1", "1:12", "2:10", "3:12", "3:50", "4:12", "5:9", "5:17", "6:32", "6:47", "7:1")
    ]


@pytest.mark.parametrize("content", ["", "customer: [", "- a"])
def test_a_file_that_is_no_mapping_is_refused(content: str) -> None:
    with pytest.raises(MappingFaulty):
        mapping(content)


def test_columns_that_the_table_lacks_are_all_named_where_the_mapping_names_them(tmp_path: Path) -> None:
    faulty = MAPPING.replace(": job", ": jbo").replace("column: y,", "column: z,")

    with pytest.raises(MappingFaulty) as refused:
        read_training([table(tmp_path)], mapping(faulty))

    assert [(fault.line, fault.column) for fault in refused.value.faults] == [(6, 17), (12, 19)]
    assert "Did you mean job?" in str(refused.value)


def test_training_needs_action_and_outcome(tmp_path: Path) -> None:
    with pytest.raises(MappingFaulty) as refused:
        read_training([table(tmp_path)], mapping("customer: {column: row_id}"))

    assert len(refused.value.faults) == 2


def test_labels_of_one_kind_only_are_refused_with_the_labels_found(tmp_path: Path) -> None:
    with pytest.raises(TableFaulty, match=r"no row is positive \(Yes\)\. Labels left: , later, yes"):
        read_training([table(tmp_path)], mapping(MAPPING.replace('"yes"', '"Yes"')))
