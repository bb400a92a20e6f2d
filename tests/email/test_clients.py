"""Client classes: the request patterns of mail programs, proxies and scanners, as cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.email.clients import Fetch, client_class_of

CASES = json.loads((Path(__file__).parents[1] / "cases" / "clients.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["note"] for case in CASES])
def test_a_fetch_is_taken_for_what_the_case_says(case: dict[str, Any]) -> None:
    told = {name: case[name] for name in ("age_ms", "links_followed") if name in case}

    fetch = Fetch(case["form"], case.get("method", "GET"), case["headers"], **told)

    assert client_class_of(fetch) == case["expect"]
