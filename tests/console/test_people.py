"""Whom the demo offers: customers who permit everything, and first of these who meets one offer in every channel."""

from __future__ import annotations

import json
from pathlib import Path

from api.cli.cast import CANDIDATES_MAX, CAST_MAX, cast, consenting
from tests.api.desk import Desk


def test_candidates_are_the_first_who_permit_everything(tmp_path: Path) -> None:
    def row(number: int, *, web: bool) -> str:
        consents = {f"consent.{channel}.marketing": True for channel in ("email", "call_center")}
        return json.dumps({"customer_id": f"C-{number}", "consent.web.marketing": web, **consents})

    table = tmp_path / "customers.jsonl"
    table.write_text("\n".join(row(number, web=number % 2 == 0) for number in range(4 * CANDIDATES_MAX)))

    assert consenting(table) == [f"C-{number}" for number in range(0, 2 * CANDIDATES_MAX, 2)]


def test_a_table_of_another_kind_names_nobody(tmp_path: Path) -> None:
    assert consenting(tmp_path / "customers.csv") == []


async def test_who_meets_one_offer_in_every_channel_comes_first_and_then_who_reads_the_first_language() -> None:
    desk = Desk()
    people = {
        "C-young": {"age": 15},
        "C-hungarian": {"language": "hu"},
        "C-english": {"language": "en"},
    }
    for customer, attributes in people.items():
        await desk.know(customer, **attributes)

    deployed = desk.service.deployed()

    assert await cast(list(people), desk.store, deployed) == ["C-english", "C-hungarian", "C-young"]
    assert len(await cast([f"C-{number}" for number in range(3 * CAST_MAX)], desk.store, deployed)) == CAST_MAX
    states = [each.state for each in await desk.store.read(list(people))]
    assert not any(state.lease or state.interactions for state in states)
