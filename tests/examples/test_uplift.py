"""examples/uplift: what the converter makes of the event files, and what the mappings make of the tables."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

import pytest

from decisioning.history.mapping import read_mapping
from decisioning.history.training import NOTHING, read_training
from tests.skips import SHARED

EXAMPLE = Path(__file__).parents[2] / "examples" / "uplift"
STARBUCKS = SHARED / "data" / "starbucks_offers"
HILLSTROM = SHARED / "data" / "hillstrom" / "hillstrom_dev.csv.gz"

OFFERS = [
    {"id": "b", "offer_type": "bogo", "difficulty": 5, "reward": 5, "duration": 7.0},
    {"id": "m", "offer_type": "informational", "difficulty": 0, "reward": 0, "duration": 3.0},
]
PEOPLE = [
    {"id": "ann", "age": 118, "gender": None, "income": None, "became_member_on": 20180702},
    {"id": "bob", "age": 40, "gender": "M", "income": 50000.0, "became_member_on": "20170801"},
]
EVENTS = [
    ("ann", "offer received", 0, {"offer id": "b"}),
    ("ann", "offer viewed", 6, {"offer id": "b"}),
    ("ann", "transaction", 0, {"amount": 3.0}),
    ("ann", "transaction", 71, {"amount": 2.5}),
    ("ann", "offer completed", 71, {"offer_id": "b", "reward": 5}),
    ("ann", "offer completed", 71, {"offer_id": "b", "reward": 5}),
    ("ann", "transaction", 72, {"amount": 100.0}),
    ("ann", "offer received", 168, {"offer id": "m"}),
]


def converter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("starbucks", EXAMPLE / "starbucks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("events")
    events = [dict(zip(("person", "event", "time", "value"), event, strict=True)) for event in EVENTS]
    (folder / "portfolio.json").write_text("\n".join(map(json.dumps, OFFERS)))
    (folder / "profile.jsonl").write_text("\n".join(map(json.dumps, PEOPLE)))
    with gzip.open(folder / "transcript.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, events)))
    return list(converter().waves(folder))


def test_every_person_has_a_row_for_each_wave(rows: list[dict[str, Any]]) -> None:
    assert [(row["customer"], row["hour"]) for row in rows] == [
        (name, hour) for name in ("ann", "bob") for hour in (0, 168, 336, 408, 504, 576)
    ]


def test_a_window_begins_with_its_wave_and_ends_before_72_hours(rows: list[dict[str, Any]]) -> None:
    first = rows[0]

    assert first["spend"] == 5.5
    assert first["value"] == -4.5  # the same offer was completed twice and paid twice
    assert (first["action"], first["probability"], first["bought"]) == ("grow/bogo/bogo_5_for_5_7d", 0.075, "yes")


def test_features_are_what_was_known_before_the_wave(rows: list[dict[str, Any]]) -> None:
    first, second, third = rows[:3]

    assert (first["spent_per_week"], first["hours_since_purchase"], first["open_offers"]) == (None, None, 0)
    assert (second["spent_per_week"], second["hours_since_purchase"]) == (105.5, 96)
    assert (second["completed_count"], second["viewed_count"], second["open_offers"]) == (2, 1, 0)
    assert (third["spent_per_week"], third["action"], third["probability"]) == (52.75, NOTHING, 0.25)


def test_a_person_without_demographics_and_one_with(rows: list[dict[str, Any]]) -> None:
    ann, bob = rows[0], rows[6]

    assert (ann["age"], ann["income"], ann["tenure_days"]) == (None, None, 30)
    assert (bob["age"], bob["income"], bob["tenure_days"]) == (40, 50000.0, 365)


@pytest.mark.skipif(not STARBUCKS.is_dir(), reason="the shared data starbucks_offers are not here")
def test_the_means_of_the_data_sets_page_come_out(tmp_path: Path) -> None:
    sums: dict[str, list[float]] = {}
    for row in converter().waves(STARBUCKS):
        group = row["action"].split("/")[1] if row["action"] != NOTHING else NOTHING
        sums.setdefault(group, []).append(row["value"])

    means = {group: round(sum(values) / len(values), 2) for group, values in sums.items()}

    assert sum(map(len, sums.values())) == 71_184
    assert means == pytest.approx({NOTHING: 7.50, "message": 11.15, "discount": 11.52, "bogo": 10.47}, abs=0.006)


def test_what_the_converter_writes_its_mapping_reads(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "waves.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    table = read_training([path], read_mapping(EXAMPLE / "starbucks.yaml"))

    assert table.actions[:3] == ["grow/bogo/bogo_5_for_5_7d", "grow/message/message_3d", NOTHING]
    assert table.value is not None and table.value[0] == -4.5
    assert table.logging_probability is not None and table.logging_probability[2] == 0.25
    assert table.columns["customer.age"][0] is None


@pytest.mark.skipif(not HILLSTROM.exists(), reason="the shared data hillstrom are not here")
@pytest.mark.parametrize("outcome", ["visit", "spend"])
def test_the_hillstrom_mappings_read_the_real_table(outcome: str, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    with gzip.open(HILLSTROM, "rt") as file:
        path.write_text("".join(line for _, line in zip(range(3_000), file, strict=False)))

    table = read_training([path], read_mapping(EXAMPLE / f"hillstrom_{outcome}.yaml"))

    assert set(table.actions) == {"grow/email/mens", "grow/email/womens", NOTHING}
    assert (table.value is not None) == (outcome == "spend")
    assert table.labels.mean() == pytest.approx(0.147, abs=0.03)


@pytest.mark.proof
@pytest.mark.skipif(not STARBUCKS.is_dir(), reason="the shared data starbucks_offers are not here")
def test_the_commands_learn_from_some_people_whom_to_contact_among_others(tmp_path: Path) -> None:
    fitted, held_out = tmp_path / "fitted.csv", tmp_path / "held_out.csv"
    with fitted.open("w", newline="") as some, held_out.open("w", newline="") as others:
        waves = list(converter().waves(STARBUCKS))
        writers = [csv.DictWriter(file, list(waves[0])) for file in (some, others)]
        for writer in writers:
            writer.writeheader()
        for row in waves:
            writers[crc32(row["customer"].encode()) % 10 < 3].writerow(row)
    mapping = ("--mapping", str(EXAMPLE / "starbucks.yaml"))

    said = nextbest("train", "--history", str(fitted), *mapping, "--out", str(tmp_path))
    folder = said.splitlines()[-1]
    found = {}
    for cost in ("0", "2", "4"):
        answer = nextbest("evaluate", folder, "--history", str(held_out), *mapping, "--contact-cost", cost, "--json")
        found[cost] = json.loads(answer)["policy"]

    gains = {cost: policy["over_best_for_all"] for cost, policy in found.items()}
    told = {cost: f"{gain['value']:+.3f} ± {gain['standard_error']:.3f}" for cost, gain in gains.items()}
    share = found["0"]["top_gains"]["0.3"]["value"]
    rows, people = found["0"]["rows"], found["0"]["persons"]
    print(f"\n{rows} rows of {people} people not trained on: {told}; first 30 %: {share:.2f} of the gain")
    assert "ordered" in said
    assert gains["0"]["value"] >= -gains["0"]["standard_error"]
    assert all(gains[cost]["value"] >= gains[cost]["standard_error"] for cost in ("2", "4"))
    assert share >= 0.6


def nextbest(*arguments: str) -> str:
    """What the command prints."""
    command = [str(Path(sys.executable).with_name("nextbest")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
