"""The Bank Marketing calls, from table to decision: load, train and decide for everybody, by the code that serves."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from decisioning.catalog.load import load_bundle, load_directory, read_bundle
from decisioning.decide import decide
from decisioning.errors import ModelRefused
from decisioning.history.load import load_customers
from decisioning.history.mapping import read_mapping
from decisioning.personas import failures
from decisioning.request import Request
from decisioning.scoring import ModelScorer, load_model
from decisioning.store.memory import MemoryStore
from decisioning.training import train_model

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bank_calls"
TABLE = ROOT.parent / "shared" / "data" / "bank_marketing" / "bank_additional_dev.csv.gz"
DEPOSIT = "grow/deposits/term_deposit"

needs_table = pytest.mark.skipif(not TABLE.exists(), reason=f"the shared data {TABLE.name} are not here")


def first_rows(folder: Path, count: int) -> Path:
    """Every n-th row of the table, so that a small sample still spans all of its time."""
    with gzip.open(TABLE, "rt", newline="") as source:
        rows = list(csv.reader(source))
    path = folder / "calls.csv"
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([rows[0], *rows[1 :: len(rows) // count]])
    return path


def decided_for_all(table: Path, folder: Path) -> Counter[str]:
    """Load, train and decide for each row of the table."""
    strategy = load_directory(EXAMPLE)
    trained = train_model([table], EXAMPLE / "mapping.yaml", folder / "models", lambda what, done, total: None)
    scorer = ModelScorer(strategy, load_model(trained.folder))
    store = MemoryStore()
    summary = asyncio.run(
        load_customers(
            [table], strategy.schema, store, channels=strategy.channels, mapping=read_mapping(EXAMPLE / "mapping.yaml"),
            at_ms=time.time_ns() // 1_000_000, rejects_path=folder / "rejects.csv", progress=lambda done, total: None,
        )
    )  # fmt: skip
    keys = sorted(store._cells)
    assert summary.rejected == 0 and summary.loaded == len(keys)
    outcomes: Counter[str] = Counter()
    for snapshot in asyncio.run(store.read(keys)):
        context = {"month": "may", "day_of_week": "mon"}
        request = Request(snapshot.customer_key, "call_center", ("call_center.next_action",), context)
        (placed,) = decide(request, snapshot, strategy, scorer, decision_id="d").placements
        assert placed.reasons and (placed.content is None) == (placed.outcome == "nothing")
        outcomes[placed.outcome] += 1
    return outcomes


def test_the_example_has_no_fault_and_its_personas_get_what_they_expect():
    assert failures(load_directory(EXAMPLE), now_ms=time.time_ns() // 1_000_000) == []


@needs_table
def test_some_customers_are_worth_the_call_and_some_are_not(tmp_path: Path):
    outcomes = decided_for_all(first_rows(tmp_path, 3000), tmp_path)

    assert outcomes["offer"] > 300 and outcomes["nothing"] > 300


@needs_table
def test_a_mapping_that_lets_the_length_of_the_call_through_is_refused_by_name(tmp_path: Path):
    mapping = tmp_path / "mapping.yaml"
    text = (EXAMPLE / "mapping.yaml").read_text()
    mapping.write_text(text.replace("\nfeatures:\n", "\nfeatures:\n  customer.duration: duration\n", 1))

    with pytest.raises(ModelRefused, match=r"customer\.duration"):
        train_model([TABLE], mapping, tmp_path / "models", lambda what, done, total: None)


@needs_table
def test_a_feature_that_is_vouched_for_is_learnt_from(tmp_path: Path):
    mapping = tmp_path / "mapping.yaml"
    text = (EXAMPLE / "mapping.yaml").read_text()
    vouched = text.replace(
        "\nfeatures:\n", "\nknown_before: [customer.duration]\nfeatures:\n  customer.duration: duration\n", 1
    )
    mapping.write_text(vouched)

    trained = train_model([first_rows(tmp_path, 3000)], mapping, tmp_path / "models", lambda *_: None)

    assert trained.report.overall.auc > 0.88


@needs_table
def test_a_feature_not_allowed_for_the_purpose_of_an_action_decides_nothing_about_it(tmp_path: Path):
    files = read_bundle(EXAMPLE)
    schema = files["schema.yaml"].decode()
    schema = schema.replace("purposes: [", "purposes: [risk, ")
    files["schema.yaml"] = re.sub(r"  marital: +{", "  marital: {allowed_for: [risk], ", schema).encode()
    narrowed = load_bundle(files)

    trained = train_model(
        [first_rows(tmp_path, 1000)], EXAMPLE / "mapping.yaml", tmp_path, lambda *_: None, strategy=narrowed
    )

    model = load_model(trained.folder)
    married, single = (model.paired([DEPOSIT]).scores({"customer.marital": each}) for each in ("married", "single"))
    assert married.propensity == single.propensity
    assert f"customer.marital is no feature of {DEPOSIT}" in trained.told[-1]


@needs_table
@pytest.mark.proof
def test_everybody_in_the_table_gets_a_decision(tmp_path: Path):
    outcomes = decided_for_all(TABLE, tmp_path)

    print(json.dumps(outcomes))
    assert outcomes.total() == 28_879
