"""The page docs/web.md against the service and the script it describes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from api.web.schemas import WebDecisionAnswer, WebPlacementAnswer
from api.web.script import SOURCE
from decisioning.catalog.layout import FIELD_TYPES
from decisioning.catalog.load import load_directory
from tests.api.desk import Desk

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "web.md").read_text()
EXAMPLES = re.findall(r"<!-- post (\S+) -->\n```json\n(.*?)\n```", PAGE, re.S)

pytestmark = [pytest.mark.anyio, pytest.mark.docs]


def attribute(name: str) -> str:
    """`data-token-url` of tokenUrl."""
    return "data-" + re.sub("([A-Z])", r"-\1", name).lower()


@pytest.mark.parametrize(("path", "body"), EXAMPLES)
async def test_each_example_of_the_page_is_accepted(path, body):
    answer = await Desk(bank=load_directory(ROOT / "examples" / "retail_bank")).http.post(path, json=json.loads(body))

    assert answer.status_code == 200, answer.text


def test_the_answer_the_page_shows_has_the_fields_of_the_answer():
    (shown,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)\n```", PAGE, re.S) if "valid_until" in block)

    assert tuple(shown) == WebDecisionAnswer.__struct_fields__
    assert tuple(shown["placements"][0]) == WebPlacementAnswer.__struct_fields__


def test_every_call_attribute_and_type_of_the_script_is_on_the_page():
    calls = re.findall(r"^    (\w+)(?::|,$)", SOURCE[SOURCE.index("const api =") : SOURCE.index("const begin =")], re.M)
    settings = {attribute(name) for name in re.findall(r"told\.(\w+)", SOURCE)}
    marks = {attribute(name) for name in re.findall(r"dataset\.(nextbest\w*)", SOURCE)}

    assert {"decide", "watch", "refresh"} <= set(calls)
    assert [name for name in calls if f"`nextbest.{name}(" not in PAGE and name != "push"] == []
    assert {"data-deadline", "data-token", "data-token-url", "data-context", "data-scheme"} == settings
    assert [name for name in sorted(settings | marks) if name not in PAGE] == []
    assert [kind for kind in FIELD_TYPES if f"| `{kind}` |" not in PAGE] == []
