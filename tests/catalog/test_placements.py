"""What placements show of nothing, and the addresses that content may have."""

from __future__ import annotations

import pytest

from decisioning.catalog.load import load_bundle
from tests.catalog.strategies import faults_of, small
from tests.catalog.test_pictures import HERO, with_hero

CALL = "  fallback: brand_call\n"
BLOCK = 'brand_call:\n  headline: "Thank the customer for calling"'
CALM = {
    "placements.yaml": [[CALL, f"{CALL}  quiet: calm\n"]],
    "content/blocks.yaml": [[BLOCK, f'calm: {{headline: {{en: "Just help", hu: "Csak segítsen"}}}}\n{BLOCK}']],
}
LANGUAGES = "languages: [en, hu]\n"
URL = '"https://bank.example/cashback"'


def with_schemes(schemes: str | None, url: str) -> list[str]:
    """The faults of the small strategy with a line of schemes and an address, in the files that have them."""
    line = "" if schemes is None else f"link_schemes: {schemes}\n"
    files = small({"strategy.yaml": [[LANGUAGES, LANGUAGES + line]], "actions/cards.yaml": [[URL, f'"{url}"']]})
    return [line for line in faults_of(files) if line.startswith(("strategy.yaml", "actions/cards.yaml"))]


def test_a_placement_that_says_nothing_about_quiet_keeps_what_stands_there() -> None:
    placements = load_bundle(small()).placements

    assert {each.quiet for each in placements.values()} == {None}
    assert {each.quiet_color for each in placements.values()} == {"#FFFFFF"}


def test_for_an_agent_nothing_is_a_block_in_every_language() -> None:
    quiet = load_bundle(small(CALM)).placements["call_center.next_action"].quiet

    assert quiet is not None
    assert (
        quiet.render("en", {}) == {"headline": "Just help"} and quiet.render("hu-HU", {})["headline"] == "Csak segítsen"
    )


def test_in_a_mail_nothing_is_a_colour() -> None:
    placement = load_bundle(with_hero(HERO)).placements["email.hero"]

    assert (placement.quiet, placement.quiet_color) == (None, "#F0F0F0")


@pytest.mark.parametrize(
    ("quiet", "says"),
    [
        ('"#FFFFFF"', "a colour says nothing here, where no mail is drawn. Name a content block"),
        ("calm", "unknown content block 'calm'"),
        ("brand_hero", "required content field 'headline' is missing"),
        ('"nothing to say"', "is not a colour in quotes like"),
    ],
)
def test_quiet_that_an_agent_could_not_read_is_a_fault(quiet: str, says: str) -> None:
    files = small({"placements.yaml": [[CALL, f"{CALL}  quiet: {quiet}\n"]]})
    files["content/blocks.yaml"] = files["content/blocks.yaml"].replace(
        b'headline: {en: "Banking', b'image: {en: "Banking'
    )

    assert any(says in line for line in faults_of(files)), faults_of(files)


def test_a_picture_that_says_nothing_has_no_words() -> None:
    found = faults_of(with_hero(HERO.replace('quiet: "#F0F0F0"', "quiet: brand_hero")))

    assert [line.split(": ", 1)[1] for line in found] == [
        "a mail that has nothing to say claims nothing, in any words. Write the colour of the mail around it, as in "
        'quiet: "#FFFFFF"'
    ]


def test_a_picture_needs_somewhere_to_lead_when_it_says_nothing() -> None:
    hero = HERO.replace("  default_url: https://bank.example/\n", "").replace(
        "    cta: {type: link, required: true}\n", ""
    )
    hero = "".join(line for line in hero.splitlines(keepends=True) if "button" not in line)

    assert any("'default_url' is missing here" in line for line in faults_of(with_hero(hero)))


@pytest.mark.parametrize(
    ("schemes", "url"),
    [
        (None, "https://bank.example/a?b=c#d"),
        (None, "mailto:help@bank.example"),
        (None, "tel:+3612345"),
        ("[bankapp]", "bankapp://accounts/{{ customer.age | 1 }}"),
        ("[https, tel]", "tel:+3612345"),
        ("[bankapp]", "https://bank.example/"),
    ],
)
def test_addresses_that_are_allowed(schemes: str | None, url: str) -> None:
    assert with_schemes(schemes, url) == []


@pytest.mark.parametrize(
    ("schemes", "url"),
    [
        (None, "http://bank.example/"),
        (None, "bankapp://accounts"),
        (None, "//bank.example/"),
        (None, "/cashback"),
        (None, "HTTPS://bank.example/"),
        ("[bankapp]", "tel:+3612345"),
        ("[bankapp]", "javascript:alert(1)"),
        ("[bankapp]", "bankapp:"),
        ("[bankapp]", "java\\tscript:alert(1)"),
        ("[bankapp]", " bankapp://accounts"),
        ("[bankapp]", "bankapp2://accounts"),
    ],
)
def test_addresses_that_are_refused(schemes: str | None, url: str) -> None:
    (found,) = with_schemes(schemes, url)

    assert "is not an https address. Write https://… or " in found and "link_schemes in strategy.yaml" in found


@pytest.mark.parametrize("scheme", ["http", "javascript", "data", "vbscript", "blob", "file", "intent"])
def test_no_strategy_allows_what_is_not_safe(scheme: str) -> None:
    address, line = with_schemes(f"[tel, {scheme}]", f"{scheme}:alert(1)")

    assert f"addresses with {scheme}: are not safe" in line
    assert f"'{scheme}:alert(1)' is not an https address" in address


def test_an_insertion_never_chooses_the_scheme() -> None:
    found = with_schemes("[bankapp]", "{{ customer.first_name | 'a' }}://accounts")

    assert any("an expression outside path and query of an address" in line for line in found)
