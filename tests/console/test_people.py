"""Whom the demo's switcher offers: customers of the example who permit everything."""

from __future__ import annotations

import json
from pathlib import Path

from api.cli.demo import PEOPLE_MAX, _people


def test_the_switcher_offers_the_first_who_permit_everything(tmp_path: Path) -> None:
    def row(number: int, *, web: bool) -> str:
        consents = {f"consent.{channel}.marketing": True for channel in ("email", "call_center")}
        return json.dumps({"customer_id": f"C-{number}", "consent.web.marketing": web, **consents})

    table = tmp_path / "customers.jsonl"
    table.write_text("\n".join(row(number, web=number % 2 == 0) for number in range(40)))

    assert _people(table) == [f"C-{number}" for number in range(0, 2 * PEOPLE_MAX, 2)]


def test_a_table_of_another_kind_names_nobody(tmp_path: Path) -> None:
    assert _people(tmp_path / "customers.csv") == []
