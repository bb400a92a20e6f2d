"""Simulated banks: the same bytes every time, nothing for `nextbest check` to say, answers of all kinds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli.main import commands
from decisioning.catalog.load import load_directory
from decisioning.decide import decide
from decisioning.errors import NextbestError
from decisioning.history.load import load_customers
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from decisioning.simulated import Size, write
from decisioning.simulated.actions import COUNT_MAX, places
from decisioning.simulated.attributes import COUNT_MAX as ATTRIBUTES_MAX
from decisioning.simulated.attributes import attributes
from decisioning.simulated.customers import customer_rows, interactions
from decisioning.simulated.past import remember
from decisioning.simulated.writer import write_strategy
from decisioning.store.memory import MemoryStore

SMALL = Size(actions=50, customers=200, interactions=2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("simulated") / "small"
    write(directory, SMALL)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_another_process_writes_the_same_bytes(small: Path, tmp_path: Path) -> None:
    sizes = ["--actions", "50", "--customers", "200", "--interactions", "2"]
    command = [sys.executable, "-m", "api.cli", "generate", str(tmp_path / "again"), *sizes]

    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "1"}, check=True, capture_output=True)

    assert contents(tmp_path / "again") == contents(small)


def test_a_directory_with_something_in_it_is_left_alone(small: Path) -> None:
    before = contents(small)

    with pytest.raises(NextbestError, match="is not empty"):
        write(small, SMALL)

    assert contents(small) == before


def test_another_seed_makes_other_customers_and_rules() -> None:
    known = attributes(30)

    assert next(customer_rows(7, 1, known)) != next(customer_rows(8, 1, known))


def test_more_customers_leave_the_first_ones_as_they_are() -> None:
    known = attributes(30)

    assert list(customer_rows(7, 20, known))[:10] == list(customer_rows(7, 10, known))


def test_every_action_has_a_key_of_its_own() -> None:
    assert len({place.key for place in places(COUNT_MAX)}) == COUNT_MAX


def test_check_finds_no_fault_and_no_warning(small: Path) -> None:
    answer = CliRunner().invoke(commands, ["check", str(small)])

    assert answer.exit_code == 0, answer.output
    assert ": 50 actions, 5 placements, 0 warnings" in answer.output


@pytest.mark.parametrize(("action_count", "attribute_count"), [(12, 10), (24, ATTRIBUTES_MAX), (1_000, 30)])
def test_strategies_of_other_sizes_load_without_a_warning(
    tmp_path: Path, action_count: int, attribute_count: int
) -> None:
    write_strategy(tmp_path, Size(actions=action_count, attributes=attribute_count))

    strategy = load_directory(tmp_path)

    assert strategy.warnings == ()
    assert len(strategy.actions) == action_count


async def test_customers_load_and_get_offers_messages_and_nothing(small: Path, tmp_path: Path) -> None:
    strategy, store = load_directory(small), MemoryStore()
    scorer = StatedScorer(strategy, {"default": 0.12})
    summary = await load_customers(
        [small / "generated/customers.jsonl"],
        strategy.schema,
        store,
        channels=strategy.channels,
        at_ms=0,
        rejects_path=tmp_path / "rejects.csv",
        progress=lambda done, total: None,
    )

    outcomes, sizes = set(), []
    for number, snapshot in enumerate(await store.read([f"C-{number:05d}" for number in range(1, 201)])):
        snapshot.state.assignment_key = f"{number:016x}"  # ties, arms and draws as in every run
        for placement in ("web.home.hero", "email.hero", "call_center.next_action"):
            request = Request(snapshot.customer_key, placement.partition(".")[0], (placement,), {"page": "home"})
            (placed,) = decide(request, snapshot, strategy, scorer, decision_id="d").placements
            outcomes.add((request.channel, placed.outcome))
            sizes += [len(json.dumps(placed.content))] if placed.content else []

    assert (summary.loaded, summary.rejected) == (200, 0)
    assert outcomes == {
        (channel, outcome) for channel in ("web", "email", "call_center") for outcome in ("offer", "message", "nothing")
    }
    assert 500 <= sorted(sizes)[len(sizes) // 2] <= 750


def test_interactions_are_about_offers_of_the_strategy(small: Path) -> None:
    rows = [json.loads(line) for line in (small / "generated/interactions.jsonl").read_text().splitlines()]

    offers = {action.key for action in load_directory(small).actions if action.kind == "offer"}

    assert len(rows) == 2 * 200
    assert {row["action"] for row in rows} <= offers
    assert all(row["days_ago"] >= 0 for row in rows)


async def test_the_past_is_remembered_in_order_and_beside_what_is_known() -> None:
    store, now_ms = MemoryStore(), 1_790_000_000_000
    rows = list(interactions(7, 3, 5, places(50)))
    by_customer = {f"C-0000{number}": rows[5 * number - 5 : 5 * number] for number in (1, 2, 3)}

    await remember(store, by_customer, now_ms=now_ms)
    await remember(store, {"C-00001": by_customer["C-00002"]}, now_ms=now_ms)

    one, two = await store.read(["C-00001", "C-00002"])
    assert len(one.state.interactions) == 10
    assert [each.at_ms for each in one.state.interactions] == sorted(each.at_ms for each in one.state.interactions)
    assert set(two.state.interactions) < set(one.state.interactions)
    oldest = max(by_customer["C-00002"], key=lambda row: float(row["days_ago"]))
    assert two.state.interactions[0] == (
        now_ms - round(oldest["days_ago"] * 86_400_000), oldest["outcome"], oldest["action"], oldest["channel"]
    )  # fmt: skip


def test_more_placements_change_nothing_else(tmp_path: Path) -> None:
    write_strategy(tmp_path / "three", Size(actions=50))
    write_strategy(tmp_path / "ten", Size(actions=50, placements=10))

    three, ten = load_directory(tmp_path / "three"), load_directory(tmp_path / "ten")

    assert ten.warnings == ()
    assert len(ten.placements) == len(three.placements) + 7
    assert "web.page.slot_10" in ten.placements
    assert [action.key for action in ten.actions] == [action.key for action in three.actions]
