"""Preview: every treatment for every persona, in words, and what would be missing or clipped."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from api.cli.preview import preview as command
from api.email.pictures import Pictures
from api.preview import NOTHING, TROUBLE, UNKNOWN, persona_names, placements_for, preview, remarks
from decisioning.catalog.load import load_bundle, load_directory
from decisioning.errors import NextbestError
from tests.catalog.test_pictures import HERO, with_hero

RETAIL_BANK = Path(__file__).parents[2] / "examples" / "retail_bank"
NOW_MS = 1_790_000_000_000
GOLD = "grow/cards/gold_upgrade"


def test_every_treatment_of_the_retail_bank_can_be_looked_at_by_everybody():
    strategy = load_directory(RETAIL_BANK)

    shown = [
        preview(strategy, action=action, placement=placement, persona=persona, language=language, now_ms=NOW_MS)
        for action in (NOTHING, TROUBLE, *strategy.action_index)
        for placement in placements_for(strategy, action)
        for persona in persona_names(strategy)[:4]
        for language in strategy.languages
    ]

    reasons = {each.missing.partition(" has no value")[0] for each in shown if each.missing is not None}
    assert reasons == {"{{ customer.loyalty_points }}"}  # an offer of points is for those whose points are known
    assert all(each.content for each in shown if each.placement.channel == "call_center")


def seen_by(persona: str, *, language: str | None = None, hero: str = HERO, action: str = GOLD):
    strategy = load_bundle(with_hero(hero))
    return preview(strategy, action=action, placement="email.hero", persona=persona, language=language, now_ms=NOW_MS)


def test_an_action_that_cannot_be_shown_to_a_persona_says_what_is_missing():
    unknown = seen_by(UNKNOWN)

    assert unknown.content is None
    assert [line.partition(" has no value")[0] for line in remarks(unknown, {})] == [
        "not shown: {{ customer.first_name }}"
    ]


def test_what_is_clipped_in_the_picture_is_told():
    seen = seen_by("classic_holder", hero=HERO.replace("size: 400x36", "size: 60x36"))

    assert any(
        line.startswith("2x: headline is cut") for line in remarks(seen, {"2x": seen.drawing(Pictures(), scale=2)})
    )


def test_a_text_that_a_name_makes_too_long_is_told_and_so_is_a_field_without_content():
    short = HERO.replace("max: 400", "max: 40").replace("    cta:", "    image: {type: image}\n    cta:")
    found = remarks(seen_by("classic_holder", hero=short), {})

    assert "image: missing" in found
    assert any(line.startswith("body: ") and line.endswith(" characters, the placement shows 40") for line in found)


@pytest.mark.parametrize(
    ("asked", "spoken"), [(None, "en"), ("hu", "hu"), ("hu-HU", "hu"), ("HU_hu", "hu"), ("fr", "en")]
)
def test_the_language_is_found_as_for_customers(asked: str | None, spoken: str):
    assert seen_by("classic_holder", language=asked, action=TROUBLE).language == spoken


def run(directory: Path, *options: str) -> Result:
    for path, content in with_hero(HERO).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return CliRunner().invoke(command, [str(directory), *options])


def test_the_command_prints_texts_and_writes_picture_and_html(tmp_path: Path):
    picture, html = tmp_path / "gold.png", tmp_path / "gold.html"

    told = run(
        tmp_path / "bank",
        *("--action", GOLD, "--channel", "email", "--persona", "classic_holder"),
        *("--picture", str(picture), "--html", str(html)),
    )

    assert told.exit_code == 0, told.output
    assert told.output.startswith("email.hero in en:\n  headline: ")
    assert "Anna" in told.output and " -> https://bank.example/" in told.output
    assert Image.open(io.BytesIO(picture.read_bytes())).size == (1200, 400)
    assert html.read_text().startswith("<table") and "Anna" in html.read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--action", "grow/cards/gold"), "unknown action 'grow/cards/gold'. Did you mean grow/cards/gold_upgrade"),
        (("--action", GOLD, "--persona", "nobody"), "unknown persona 'nobody'"),
        (
            ("--action", GOLD, "--channel", "letter"),
            "is not shown in the channel 'letter', but in call_center.next_action, email.hero",
        ),
        (("--action", GOLD, "--placement", "web.home"), "unknown placement 'web.home'"),
        (("--action", GOLD, "--channel", "web", "--picture", "x.png"), "web.home.hero has no picture of this."),
    ],
)
def test_the_command_says_what_it_does_not_know(tmp_path: Path, options: tuple[str, ...], says: str):
    told = run(tmp_path, *options)

    assert isinstance(told.exception, NextbestError) and says in str(told.exception)
