"""History as tables, empty or full, and a page that explains each column of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decisioning.errors import HistoryFaulty
from decisioning.history import reader
from decisioning.history.archive import Archive
from decisioning.history.datasets import DATASETS, PLACEMENT_COLUMNS, row_of
from decisioning.history.reader import SHARED, count_between, find_decisions, open_history
from tests.history.record_examples import AT_MS, decision, logged

PAGE = Path(__file__).parents[2] / "docs" / "history.md"
EXPLAINED = {dataset.name: [column.name for column in dataset.columns] for dataset in DATASETS}
EXPLAINED["placements"] = [*SHARED, *(column.name for column in PLACEMENT_COLUMNS)]


@pytest.mark.parametrize("view", EXPLAINED)
def test_views_have_their_columns_while_history_is_empty(tmp_path: Path, view: str) -> None:
    found = open_history(tmp_path).execute(f"SELECT * FROM {view}")

    assert [column[0] for column in found.description] == EXPLAINED[view]
    assert found.fetchall() == []


def test_placements_have_one_row_each(tmp_path: Path) -> None:
    first = decision(1)["placements"][0]
    two = decision(1, placements=[first, first | {"placement": "web.home.tile", "outcome": "nothing", "action": None}])
    archive = Archive(tmp_path)
    archive.commit(archive.prepare([row_of(two["decision_id"], logged(two).body)], [], {}))

    query = "SELECT decision_id, placement, outcome, propensity FROM placements"
    rows = open_history(tmp_path).execute(query).fetchall()

    assert rows == [
        (two["decision_id"], "web.home.hero", "offer", 0.137),
        (two["decision_id"], "web.home.tile", "nothing", 0.137),
    ]


def test_a_torn_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.commit(archive.prepare([row_of(decision(1)["decision_id"], logged(decision(1)).body)], [], {}))
    [file] = tmp_path.glob("decisions/*/*.parquet")
    file.write_bytes(file.read_bytes()[:-20])

    with pytest.raises(HistoryFaulty, match=rf"{file.name}.*Restore the file"):
        count_between(tmp_path, 0, AT_MS * 2)


@pytest.mark.parametrize("decision_id", ["", "x", "000-1-0000000000000000", f"000-{AT_MS:x}-{'0' * 16}", "'; DROP"])
def test_an_unknown_id_finds_nothing(tmp_path: Path, decision_id: str) -> None:
    archive = Archive(tmp_path)
    archive.commit(archive.prepare([row_of(decision(1)["decision_id"], logged(decision(1)).body)], [], {}))

    assert find_decisions(tmp_path, [decision_id]) == {}


def test_decisions_are_found_with_one_query_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midnight_ms = (AT_MS // 86_400_000 + 1) * 86_400_000
    on_the_border = decision(1, at_ms=midnight_ms - 1) | {"at_ms": midnight_ms + 5}  # logged later than asked
    records = [on_the_border, *(decision(number, at_ms=AT_MS + number % 2 * 5 * 86_400_000) for number in range(2, 40))]
    archive = Archive(tmp_path)
    archive.commit(archive.prepare([row_of(each["decision_id"], logged(each).body) for each in records], [], {}))
    queried: list[str] = []
    table = reader._table
    monkeypatch.setattr(reader, "_table", lambda dataset, files: queried.append(dataset.name) or table(dataset, files))

    found = find_decisions(tmp_path, ["unknown", *(each["decision_id"] for each in records[:-1])])

    assert found == {each["decision_id"]: each for each in records[:-1]}
    assert len(queried) == 3  # the two days on either side of the border, and the one five days later


@pytest.mark.docs
@pytest.mark.parametrize("table", EXPLAINED)
def test_the_page_explains_every_column_with_its_type(table: str) -> None:
    columns = {column.name: column.type for dataset in DATASETS for column in dataset.columns if dataset.name == table}
    columns = columns or {column.name: column.type for column in PLACEMENT_COLUMNS}
    section = PAGE.read_text().split(f"## {table}\n")[1].split("\n## ")[0]

    explained = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \| [^|]+ \|$", section, re.MULTILINE))

    structs = {name for name, type in columns.items() if type.startswith("STRUCT")}
    assert explained == columns | dict.fromkeys(structs, "list of structs")
