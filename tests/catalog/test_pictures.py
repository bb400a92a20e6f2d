"""Pictures as authors declare them: what is wrong is found at load, at its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from decisioning.catalog.load import load_bundle
from decisioning.catalog.picture import Area, Picture
from tests.catalog.strategies import faults_of, small

CASES = json.loads((Path(__file__).parent / "cases" / "pictures.json").read_text())
PAGE = (Path(__file__).parents[2] / "docs" / "strategy.md").read_text()
HERO = """\
email.hero:
  channel: email
  nothing_value: 0.05
  fields:
    headline: {type: text, max: 60, required: true}
    body: {type: text, max: 400}
    cta: {type: link, required: true}
  fallback: brand_hero
  default_url: https://bank.example/
  quiet: "#F0F0F0"
  picture:
    size: 600x200
    background: "#FFFFFF"
    boxes:
      - {field: headline, at: [20, 20], size: 400x36, font: 28, font_min: 24, weight: bold, color: "#111111"}
      - {field: body, at: [20, 60], size: 360x60, font: 16, font_min: 14, color: "#444444", lines: 3}
    button: {field: cta, at: [20, 140], size: 200x40, font: 16, color: "#FFFFFF", background: "#1B5560"}
"""


def with_hero(text: str) -> dict[str, bytes]:
    """The small strategy whose mail placement stands first in its file and is this text."""
    files = small()
    before, _, others = files["placements.yaml"].decode().partition("email.hero:")
    rest = others[others.index("call_center.next_action:") :]
    files["placements.yaml"] = f"{text}\n{before}{rest}".encode()
    return files


def picture_in(files: dict[str, bytes]) -> Picture:
    picture = load_bundle(files).placements["email.hero"].picture
    assert picture is not None
    return picture


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_a_fault_is_found_at_its_place(case: dict[str, str | None]) -> None:
    assert case["old"] is not None and case["new"] is not None and case["old"] in HERO

    found = faults_of(with_hero(HERO.replace(case["old"], case["new"], 1)))

    if case["says"] is None:
        assert found == []
    else:
        assert [
            line for line in found if line.startswith(f"placements.yaml:{case['at']}: ") and case["says"] in line
        ], found


def test_a_picture_is_read_with_its_defaults() -> None:
    picture = picture_in(with_hero(HERO))

    headline, body = picture.boxes
    assert (picture.width, picture.height, picture.background) == (600, 200, ("#FFFFFF",) * 2)
    assert headline.area == Area(20, 20, 400, 36) and (headline.lines, headline.align, headline.valign) == (
        1,
        "left",
        "top",
    )
    assert (body.weight, body.lines) == ("regular", 3)
    assert picture.button is not None and (picture.button.radius, picture.button.label.font_min) == (0, 16)
    assert picture.where == "placements.yaml:12:5"


def test_more_than_three_boxes_are_a_fault() -> None:
    third = '      - {field: body, at: [500, 20], size: 40x40, font: 16, color: "#444444"}\n'

    found = faults_of(with_hero(HERO.replace("    button:", third * 2 + "    button:")))

    assert any("more than 3 boxes" in line for line in found)


def test_the_key_changes_with_what_is_drawn_and_with_nothing_else() -> None:
    one = picture_in(with_hero(HERO))
    moved = picture_in(with_hero("# a comment\n" + HERO.replace("nothing_value: 0.05", "nothing_value: 0.06")))
    other = picture_in(with_hero(HERO.replace("lines: 3", "lines: 2")))

    assert moved.key == one.key != other.key


def test_where_a_file_lies_behind_a_text_contrast_is_not_guessed() -> None:
    behind = HERO.replace('"#444444"', '"#EEEEEE"').replace("    button:", "    image: {file: sun.png}\n    button:")
    files = with_hero(behind) | {"content/images/sun.png": b"png"}

    assert faults_of(files) == []


@pytest.mark.docs
def test_the_picture_of_the_page_loads() -> None:
    block = re.search(r"^```yaml\nemail\.hero:\n(  quiet:.*?)^```", PAGE, re.M | re.S)
    assert block is not None
    files = with_hero(HERO.partition("  quiet:")[0] + block[1]) | {"content/images/morning.png": b"png"}

    assert faults_of(files) == []
