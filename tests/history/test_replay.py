"""Replay: recorded decisions come out the same, and another strategy tells what it would change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli.main import commands
from decisioning.catalog.strategy import Strategy
from decisioning.errors import InvalidAttribute, VersionMissing
from decisioning.history import replay as replaying
from decisioning.history.reader import decisions_between
from decisioning.history.replay import SMALL, Comparison, Reproduction, Span, check_groups, compare, reproduce
from decisioning.records import Versions, open_record
from decisioning.scoring import StatedScorer
from tests.decisioning.bank import FILES, GOLD, NOW_MS, PROPENSITIES, SILVER, strategy
from tests.history.test_recorded import MINUTE_MS, Bank

ALL = Span(0, NOW_MS * 2)


@dataclass
class Deployed:
    strategy: Strategy
    scorer: StatedScorer


class Library:
    """Decides with one strategy for all versions but those that are said to be gone."""

    def __init__(self, offered: Strategy, *, gone: str = "") -> None:
        self.asked: list[Versions] = []
        self._deployed = Deployed(offered, StatedScorer(offered, PROPENSITIES))
        self._gone = gone

    async def deployed(self, versions: Versions) -> Deployed:
        if versions.strategy == self._gone:
            raise VersionMissing("that strategy is gone.")
        self.asked.append(versions)
        return self._deployed


def dearer_silver() -> Strategy:
    return strategy({"actions/cards.yaml": FILES["actions/cards.yaml"].replace("50.0", "5000.0")})


@pytest.fixture
async def bank(tmp_path: Path) -> Bank:
    """Four customers, who decide in two channels."""
    bank = Bank(tmp_path)
    for number, tier in enumerate(["classic", "classic", "gold", "gold"]):
        await bank.know(f"C-{number}", age=44, tier=tier, income=3000.0, first_name="Ann")
        await bank.decide(f"C-{number}", "web", page="home")
        await bank.decide(f"C-{number}", "email")
    return bank


async def reproduced(bank: Bank, library: Library, span: Span = ALL) -> Reproduction:
    bank.move()
    return await reproduce(bank.directory, bank.store, library, span, lambda done, total: None)


async def compared(bank: Bank, library: Library, *group_by: str) -> Comparison:
    bank.move()
    return await compare(bank.directory, bank.store, library, ALL, lambda done, total: None, group_by=group_by)


async def test_what_was_decided_is_decided_again(bank: Bank) -> None:
    found = await reproduced(bank, Library(bank.strategy))

    assert (found.passed.decisions, found.reproduced, found.differing) == (8, 8, 0)


async def test_a_decision_that_comes_out_differently_is_named_with_its_first_difference(bank: Bank) -> None:
    found = await reproduced(bank, Library(dearer_silver()))

    assert found.differing == len(found.differences) == 4  # the e-mails render what is promised, and so do not change
    first = found.differences[0]
    assert (first.placement, first.name, first.recorded, first.again) == ("web.hero", "action", GOLD, SILVER)


async def test_decisions_of_the_erased_are_counted_and_stay_closed(bank: Bank) -> None:
    await bank.store.erase("C-1")
    await bank.know("C-1", age=44, tier="classic", income=3000.0)  # somebody new under the old id

    found = await reproduced(bank, Library(bank.strategy))

    assert (found.passed.decisions, found.passed.erased, found.reproduced) == (8, 2, 6)


async def test_decisions_whose_versions_are_gone_are_counted_by_what_is_missing(bank: Bank) -> None:
    found = await reproduced(bank, Library(bank.strategy, gone=bank.strategy.version))

    assert (found.passed.gone, found.reproduced) == ({"that strategy is gone.": 8}, 0)


async def test_a_span_has_its_first_moment_and_not_its_last(bank: Bank) -> None:
    start_ms = NOW_MS + MINUTE_MS  # of the first decision; one a minute

    some = await reproduced(bank, Library(bank.strategy), Span(start_ms + MINUTE_MS, start_ms + 4 * MINUTE_MS))
    few = await reproduced(bank, Library(bank.strategy), Span(0, NOW_MS * 2, limit=5))

    assert (some.passed.decisions, some.passed.newest_ms) == (3, start_ms + 3 * MINUTE_MS)
    assert (few.passed.decisions, few.reproduced) == (5, 5)


async def test_pages_of_history_hold_every_decision_once_in_the_order_of_time(bank: Bank) -> None:
    bank.move()

    pages = list(decisions_between(bank.directory, 0, NOW_MS * 2, page_rows=3))

    times = [record["at_ms"] for page in pages for record in page]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert times == [NOW_MS + number * MINUTE_MS for number in range(1, 9)]


async def test_a_page_asks_for_each_version_once(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "PAGE_ROWS", 100)
    bank.states = ["2", "10"]  # two processes, one a state behind the other
    for _ in range(4):
        await bank.decide("C-0")
    library = Library(bank.strategy)

    await reproduced(bank, library)

    states = [versions.model_state for versions in library.asked[8:]]
    assert states == ["2", "2", "10", "10"]


async def test_another_strategy_tells_what_it_would_change_by_action_and_group(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decisioning.history.replay.PERSONS_MIN", 2)
    found = await compared(bank, Library(dearer_silver()), "customer.tier")

    assert (found.decided, found.overall.placements, found.overall.changed) == (8, 8, 4)
    assert found.overall.moves == {(GOLD, SILVER): 4}
    assert (found.overall.before, found.overall.after) == ({GOLD: 8}, {GOLD: 4, SILVER: 4})
    assert found.overall.valued == 4  # the e-mails are renders
    assert (found.overall.value_before, found.overall.value_after) == (4 * 20.0, 4 * 500.0)
    assert {group: shift.changed for group, shift in found.groups.items()} == {("classic",): 2, ("gold",): 2}


@pytest.mark.parametrize(("persons_min", "told"), [(3, {(SMALL,): 8}), (5, {})])
async def test_groups_that_tell_about_single_people_are_told_together_or_not_at_all(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, persons_min: int, told: dict[tuple[str], int]
) -> None:
    monkeypatch.setattr("decisioning.history.replay.PERSONS_MIN", persons_min)

    found = await compared(bank, Library(dearer_silver()), "customer.tier")

    assert {group: shift.placements for group, shift in found.groups.items()} == told
    assert found.overall.placements == 8


async def test_a_record_that_lacks_what_the_service_writes_is_counted_and_the_others_are_made_again(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(record: dict[str, Any], *rest: Any) -> Any:
        return open_record(record | {"snapshot": None} if record["channel"] == "email" else record, *rest)

    monkeypatch.setattr("decisioning.history.replay.open_record", torn)

    found = await reproduced(bank, Library(bank.strategy))

    assert (found.passed.unreadable, found.reproduced) == (4, 4)


async def test_what_another_strategy_cannot_be_asked_is_counted_without_a_value(bank: Bank) -> None:
    typed_otherwise = FILES["schema.yaml"].replace("page: {type: string}", "page: {type: string, enum: [loans]}")
    found = await compared(bank, Library(strategy({"schema.yaml": typed_otherwise})))

    assert found.decided == 4
    assert found.unaskable == {"its context is typed otherwise there": 4}


@pytest.mark.parametrize("path", ["customer.age", "customer.income", "customer.shoe_size"])
def test_nobody_is_grouped_by_what_is_personal_a_number_or_unknown(path: str) -> None:
    with pytest.raises(InvalidAttribute, match=r"customer\.tier"):
        check_groups(strategy(), [path])


@pytest.mark.parametrize(
    ("span", "way_out"),
    [
        (["--from", "0001-01-01T00:00:00+05:00"], "Leave it out for no bound"),
        (["--to", "9999-12-31T23:00:00-12:00"], "Leave it out for no bound"),
        (["--from", "yesterday"], "Write 2026-11-21"),
        (["--from", "2026-11-23", "--to", "2026-11-22"], "Swap them"),
    ],
)
def test_a_span_that_cannot_be_is_refused_with_the_way_out(span: list[str], way_out: str) -> None:
    done = CliRunner().invoke(commands, ["replay", *span])

    assert done.exit_code == 2 and way_out in " ".join(done.output.split())
