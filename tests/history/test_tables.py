"""Tables are read as they are written, or refused with the line that is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from decisioning.errors import TableFaulty
from decisioning.history.tables import column_names, read_table, row_count


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


SAME_TABLE = {
    "a.csv": "id,name\n007,Éva\n8,\n",
    "a.csv.gz": "id,name\n007,Éva\n8,\n",
    "semicolon.csv": '\ufeffid;name\r\n"007";"Éva"\r\n8;\r\n',
    "a.tsv": "id\tname\n007\tÉva\n8\t\n",
    "a.jsonl": '{"id": "007", "name": "Éva"}\n\n{"id": "8"}\n',
    "a.ndjson.gz": '{"id": "007", "name": "Éva"}\n{"id": "8", "name": null}\n',
}


@pytest.mark.parametrize("name", SAME_TABLE)
def test_every_format_gives_the_same_columns(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, SAME_TABLE[name])

    assert list(read_table(path)) == [{"id": ["007", "8"], "name": ["Éva", None]}]
    assert column_names(path) == ["id", "name"]
    assert row_count(path) == 2


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql("SELECT 7 AS id, 0.1::DOUBLE AS p, ['x'] AS tags").write_parquet(str(path))

    assert list(read_table(path, ["tags", "id"])) == [{"tags": [["x"]], "id": [7]}]


def test_quoted_cells_hold_separators_line_ends_and_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, "a[1] 'x'.csv", 'a,b\n"1,2","line\nend"\n"say ""hi""",#4\n')

    assert list(read_table(path)) == [{"a": ["1,2", 'say "hi"'], "b": ["line\nend", "#4"]}]


def test_batches_follow_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "n\n" + "".join(f"{n}\n" for n in range(25)))

    batches = [batch["n"] for batch in read_table(path, batch_rows=10)]

    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [int(n) for batch in batches for n in batch] == list(range(25))


FAULTY = {
    "too many cells": ("a.csv", "a,b\n1,2\nsecret,4,5\n", r"a\.csv:3: Expected Number of Columns: 2 Found: 3"),
    "too few cells": ("a.csv", "a,b\nsecret\n", r"a\.csv:2: Expected Number of Columns: 2 Found: 1"),
    "an open quote": ("a.csv", 'a,b\n"secret,2\n', r"a\.csv:2: Value with unterminated quote"),
    "another encoding": ("a.csv", "a\nsecreté\n".encode("latin-1"), "must be UTF-8"),
    "no names": ("a.csv", "", "no line of column names"),
    "a name twice": ("a.csv", "a,b,a\n", "column 'a' twice"),
    "no gzip": ("a.jsonl", b"\x1f\x8b\x00secret", "must be UTF-8"),
    "broken JSON": ("a.jsonl", '{"a": 1}\n{"a": secret}\n', r"a\.jsonl:2: not JSON"),
    "no object": ("a.jsonl", '["secret"]\n', r"a\.jsonl:1: not a JSON object"),
    "no Parquet": ("a.parquet", "secret", "cannot be read as parquet"),
    "an unknown format": ("a.xlsx", "secret", r"unknown format\. The name must end in"),
    "a missing column": ("a.csv", "id,b\nsecret,1\n", "no column 'a'. Columns: id, b"),
}


@pytest.mark.parametrize(("name", "content", "message"), FAULTY.values(), ids=FAULTY.keys())
def test_a_faulty_table_is_refused_without_quoting_its_rows(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = written(tmp_path, name, content)

    with pytest.raises(TableFaulty, match=message) as refused:
        list(read_table(path, ["a"]))

    assert "secret" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableFaulty, match=r"gone\.csv: no such file"):
        read_table(tmp_path / "gone.csv")
