"""The directory: merged files replace their parts for every reader, and a lost manifest costs time only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from decisioning.errors import HistoryFaulty
from decisioning.history.archive import GRACE_S, MERGE_COUNT, Archive, live_files, locked
from decisioning.history.datasets import day_of, row_of
from decisioning.history.reader import find_decisions, open_history
from tests.history.record_examples import AT_MS, decision, logged, response

DAY = day_of(AT_MS)


def move(archive: Archive, *numbers: int) -> None:
    records = [logged(make(number)) for number in numbers for make in (decision, response)]
    rows = [row_of(record.record_id, record.body) for record in records]
    archive.commit(archive.prepare(rows, [], {"0": f"{max(numbers)}-0"}))


def draws(directory: Path) -> list[int]:
    return [row[0] for row in open_history(directory).execute("SELECT draw_index FROM decisions ORDER BY 1").fetchall()]


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "decisions" / f"day={DAY}").iterdir())


def test_small_files_of_a_day_that_is_over_become_one(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for number in (1, 2, 3):
        move(archive, number)

    archive.merge("2000-01-01")

    assert files(tmp_path) == ["1-1.parquet", "1-3.parquet", "2-2.parquet", "3-3.parquet"]
    assert [span.path.name for span in live_files(tmp_path / "decisions" / f"day={DAY}")] == ["1-3.parquet"]
    assert draws(tmp_path) == [1, 2, 3]
    wanted = decision(2)["decision_id"]
    assert find_decisions(tmp_path, [wanted]) == {wanted: decision(2)}


def test_merged_files_go_once_no_reader_can_still_want_them(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    move(archive, 1)
    move(archive, 2)
    archive.merge("2000-01-01")
    merged = tmp_path / "decisions" / f"day={DAY}" / "1-2.parquet"
    os.utime(merged, (merged.stat().st_atime, merged.stat().st_mtime - GRACE_S - 1))

    archive.merge("2000-01-01")

    assert files(tmp_path) == ["1-2.parquet"]
    assert draws(tmp_path) == [1, 2]


def test_today_is_merged_only_when_it_has_many_files(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for number in range(MERGE_COUNT - 1):
        move(archive, number)
    archive.merge(DAY)
    before = len(files(tmp_path))
    move(archive, MERGE_COUNT)
    archive.merge(DAY)

    assert before == MERGE_COUNT - 1
    assert f"1-{MERGE_COUNT}.parquet" in files(tmp_path)


def test_a_repeat_of_a_merged_record_is_recognised(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    move(archive, 1)
    move(archive, 2)
    archive.merge("2000-01-01")

    move(archive, 1, 3)

    assert draws(tmp_path) == [1, 2, 3]


def test_after_the_loss_of_the_manifest_everything_can_be_moved_again(tmp_path: Path) -> None:
    move(Archive(tmp_path), 1, 2)
    (tmp_path / "manifest.json").unlink()

    again = Archive(tmp_path)
    move(again, 1, 2, 3)

    assert again.manifest.batch == 2
    assert draws(tmp_path) == [1, 2, 3]


def test_an_unreadable_manifest_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")

    with pytest.raises(HistoryFaulty, match="Delete it"):
        Archive(tmp_path)


def test_a_directory_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path) as first, locked(tmp_path) as second:
        assert first and not second
    with locked(tmp_path) as third:
        assert third
