"""A stranger's path: train on a table, judge on rows the model never saw, score people; each refusal says why."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from api.cli.main import commands
from decisioning.errors import NextbestError
from decisioning.scoring import load_model

PAGE = Path(__file__).parents[2] / "docs" / "history.md"
MAPPING = """
customer: {column: id, prefix: "P-"}
features:
  customer.age: age
  customer.city: city
  customer.region: {column: region, kind: categorical}
  customer.member: {column: member, kind: flag}
  customer.since: since
action: {column: offer, keys: {Card: grow/cards/card, Loan: grow/loans/loan}}
outcome: {column: answer, positive: ["yes"], negative: ["no"]}
time: {column: at}
"""
CARD, LOAN = "grow/cards/card", "grow/loans/loan"


def people(path: Path, *, rows: int, seed: int) -> Path:
    """A table in which the older take the card and members the loan, with gaps."""
    random = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "age", "city", "region", "member", "since", "at", "offer", "answer"])
        for row in range(rows):
            age, member, offer = random.integers(18, 80), random.random() < 0.5, random.choice(["Card", "Loan"])
            chance = age / 120 if offer == "Card" else 0.1 + 0.4 * member
            writer.writerow(
                [
                    row,
                    age if random.random() < 0.9 else "",
                    random.choice(["Szeged", "Pécs", "Győr"]),
                    random.integers(1, 5),
                    "yes" if member else "no",
                    f"202{random.integers(0, 5)}-01-01",
                    f"2026-01-{random.integers(1, 28):02d}T10:00:00Z",
                    offer,
                    "yes" if random.random() < chance else "no",
                ]
            )
    return path


def run(*words: str | Path) -> str:
    """What a command prints; its expected errors are raised as they are."""
    done = CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=True)
    if isinstance(done.exception, NextbestError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two tables, a mapping and a model of the first table."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "mapping.yaml").write_text(MAPPING)
    people(folder / "past.csv", rows=1500, seed=1)
    people(folder / "later.csv", rows=600, seed=2)
    told = run("train", "--history", folder / "past.csv", *mapped(folder), "--out", folder / "models").splitlines()
    assert Path(told[-1]).is_dir() and Path(told[-1]).parent == folder / "models"
    assert "1,500 rows of 1,500 persons" in told[-3]
    assert {"card.md", "card.html"} < {each.name for each in Path(told[-1]).iterdir()}
    return folder


def mapped(folder: Path, name: str = "mapping.yaml") -> tuple[str, Path]:
    return "--mapping", folder / name


def judged(folder: Path, *more: str | Path) -> dict[str, Any]:
    """The JSON of evaluate on the later table."""
    told = run("evaluate", folder / "models", "--history", folder / "later.csv", *mapped(folder), "--json", *more)
    found: dict[str, Any] = json.loads(told)
    return found


def test_a_model_is_judged_on_rows_it_never_saw(stranger: Path) -> None:
    found = judged(stranger)

    assert [each["action"] for each in found["actions"]] == [CARD, LOAN]
    assert found["overall"]["rows"] == 600 and found["persons"] == 600
    assert 0.65 < found["overall"]["auc"] < 0.8
    assert found["overall"]["calibration_error"] < 0.12


def test_scores_are_those_of_a_serving_process_bit_for_bit(stranger: Path) -> None:
    out = stranger / "scores.parquet"
    run("score", stranger / "models", "--history", stranger / "later.csv", *mapped(stranger), "--out", out)

    rows = duckdb.sql(f"SELECT row, customer, action, propensity FROM '{out}' ORDER BY row").fetchall()
    table = list(csv.DictReader((stranger / "later.csv").open()))
    model = load_model(next((stranger / "models").iterdir()))
    assert [(row, customer) for row, customer, _, _ in rows] == [(each + 1, f"P-{each}") for each in range(600)]
    for index in range(0, 600, 60):
        served = model.paired([CARD, LOAN]).scores(values_of(table[index])).propensity
        assert rows[index][3] == served[0 if table[index]["offer"] == "Card" else 1]


def values_of(row: dict[str, str]) -> dict[str, Any]:
    """What a decision at that moment would hand to the model."""
    days = (np.datetime64(row["at"].rstrip("Z")) - np.datetime64(row["since"])) / np.timedelta64(1, "D")
    values = {"customer.city": row["city"], "customer.region": row["region"], "customer.member": row["member"] == "yes"}
    return values | {"customer.since": days} | ({"customer.age": float(row["age"])} if row["age"] else {})


def test_without_an_action_everybody_is_scored_for_every_action_and_labels_are_not_needed(stranger: Path) -> None:
    out = stranger / "all.csv"
    (stranger / "people.yaml").write_text("".join(line for line in MAPPING.splitlines(True) if "action" not in line))
    duckdb.sql(f"SELECT * EXCLUDE (answer, offer) FROM read_csv('{stranger}/later.csv', all_varchar=true)").write_csv(
        str(stranger / "people.csv")
    )

    run("score", stranger / "models", "--history", stranger / "people.csv", *mapped(stranger, "people.yaml"),
        "--out", out)  # fmt: skip

    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 1200
    assert [(row["row"], row["action"]) for row in rows[:3]] == [("1", CARD), ("1", LOAN), ("2", CARD)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("  customer.age: age\n", ""), r"the model reads customer\.age, and no column is named for it"),
        (("city: city", "city: town"), r"later\.csv has no column 'town'"),
        (('negative: ["no"]', 'negative: ["never"]'), r"no row is negative \(never\)\. Labels left: no\."),
        (("grow/cards/card", "keep/cards/card"), None),
        (("Card: grow/cards/card, Loan: grow/loans/loan", "Card: a/b/c, Loan: a/b/d"),
         r"no action of the table is one of the model's\. It has: a/b/c, a/b/d\. Known: grow/cards/card"),
    ],
)  # fmt: skip
def test_rows_that_say_nothing_about_the_model_are_refused(
    stranger: Path, change: tuple[str, str], message: str | None
) -> None:
    (stranger / "other.yaml").write_text(MAPPING.replace(*change))
    words = ("evaluate", stranger / "models", "--history", stranger / "later.csv", *mapped(stranger, "other.yaml"))

    if message is None:
        assert json.loads(run(*words, "--json"))["untrained"] == ["keep/cards/card"]
    else:
        with pytest.raises(NextbestError, match=message):
            run(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "."), r"holds no model: there is no model\.json in it"),
        (("score", "models", "--out", "scores.txt"), r"The name must end in \.csv or \.parquet"),
        (("score", "models", "--out", "nowhere/scores.csv"), r"there is no directory"),
    ],
)
def test_a_wrong_name_is_refused_with_the_way_out(stranger: Path, words: tuple[str, ...], message: str) -> None:
    command, model, *more = words
    target = stranger / model if model != "." else stranger.parent / "empty"
    target.mkdir(exist_ok=True)
    paths = [stranger / each if "scores" in each else each for each in more]

    with pytest.raises(NextbestError, match=message):
        run(command, target, "--history", stranger / "later.csv", *mapped(stranger), *paths)


def test_rows_of_nothing_teach_what_acting_adds_and_probabilities_what_that_is_worth(
    stranger: Path, tmp_path: Path
) -> None:
    (tmp_path / "mapping.yaml").write_text(
        MAPPING.replace(", Loan: grow/loans/loan}", "}, nothing: [Loan]") + "logging_probability: {value: 0.5}\n"
    )
    table = people(tmp_path / "past.csv", rows=1500, seed=3)
    told = run("train", "--history", table, *mapped(tmp_path), "--out", tmp_path / "models", "--previous",
               stranger / "models")  # fmt: skip

    people(tmp_path / "later.csv", rows=1500, seed=4)
    found = judged(tmp_path)
    run("score", tmp_path / "models", "--history", tmp_path / "later.csv", *mapped(tmp_path), "--out",
        tmp_path / "scores.csv")  # fmt: skip

    report = json.loads((Path(told.splitlines()[-1]) / "report.json").read_text())
    assert report["drift"]["previous"] == next((stranger / "models").iterdir()).name
    assert "uplift over nothing, in labels" in told
    assert found["policy"]["unit"] == "label" and found["policy"]["best_action"] == CARD
    assert found["policy"]["model"]["dr"]["low"] < found["policy"]["model"]["dr"]["value"]
    assert found["overall"]["rows"] < 1500 == found["policy"]["rows"]
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    table_rows = list(csv.DictReader((tmp_path / "later.csv").open()))
    model = load_model(next((tmp_path / "models").iterdir()))
    served = model.paired([CARD]).scores(values_of(table_rows[int(rows[0]["row"]) - 1])).uplift
    assert {row["action"] for row in rows} == {CARD}
    assert served is not None and float(rows[0]["uplift"]) == served[0]


def test_train_asks_for_tables_or_for_what_was_recorded() -> None:
    for words in (["train"], ["train", "--recorded", "--mapping", __file__], ["train", "--history", __file__]):
        done = CliRunner().invoke(commands, words)

        assert done.exit_code == 2 and "or --recorded" in done.output


@pytest.mark.docs
def test_the_page_explains_every_field_of_an_evaluation(stranger: Path) -> None:
    section = PAGE.read_text().split("### Judging a model\n")[1].split("\n## ")[0]
    explained = set(re.findall(r"`(\w+)`", section))
    found = judged(stranger)

    assert sorted((found.keys() | found["overall"].keys() | found["actions"][0].keys()) - explained) == []
