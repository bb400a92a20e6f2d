"""The preview page: what a placement shows, drawn by what serves it, and nothing of it alive."""

from __future__ import annotations

import io
from functools import cache
from html import unescape
from urllib.parse import urlencode

import pytest
from PIL import Image

from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from tests.api.desk import Desk
from tests.catalog.test_pictures import HERO, with_hero
from tests.catalog.test_placements import BLOCK, CALL
from tests.console.office import Office

pytestmark = pytest.mark.anyio
GOLD = {"action": "grow/cards/gold_upgrade", "persona": "classic_holder"}


@cache
def bank() -> Strategy:
    """The small strategy, whose mail has a picture and whose agents read something of nothing."""
    files = with_hero(HERO)
    files["placements.yaml"] = files["placements.yaml"].replace(CALL.encode(), f"{CALL}  quiet: calm\n".encode())
    files["content/blocks.yaml"] = files["content/blocks.yaml"].replace(
        BLOCK.encode(), f'calm: {{headline: "Calm", talking_points: ["Just help"]}}\n{BLOCK}'.encode()
    )
    return load_bundle(files)


async def an_analyst() -> Office:
    office = Office(desk=Desk(bank=bank()))
    await office.desk.service.studio.prepare(bank())
    await office.sign_in("analyst")
    return office


def address(ending: str = "", **chosen: str) -> str:
    return f"/console/preview{ending}?{urlencode(chosen)}"


async def test_the_page_shows_text_language_and_both_pictures_of_a_mail():
    office = await an_analyst()
    chosen = {**GOLD, "placement": "email.hero", "language": "hu"}

    html = unescape((await office.get(address(**chosen))).text)
    pictures = [await office.get(address(".png", **chosen, scale=scale)) for scale in ("1", "2")]

    assert "Your average balance is 5200 EUR, Anna." in html and '<span class="tag">hu</span>' in html
    assert [Image.open(io.BytesIO(each.content)).size for each in pictures] == [(600, 200), (1200, 400)]
    assert [each.headers["content-type"] for each in pictures] == ["image/png"] * 2


async def test_the_picture_is_the_one_that_a_mail_would_get():
    office = await an_analyst()
    service = office.desk.service
    hero = bank().placements["email.hero"]

    seen = await office.get(address(".png", action="fallback", placement="email.hero", language="hu_HU"))

    served = await service.studio.draw(hero, hero.fallback.render("hu", {}), scale=1)
    assert seen.content == served.content


async def test_nothing_looks_like_its_quiet():
    office = await an_analyst()
    quiet = office.desk.service.studio.quiet("email.hero", scale=1).content

    call = unescape((await office.get(address(action="nothing", placement="call_center.next_action"))).text)
    mail = await office.get(address(".png", action="nothing", placement="email.hero"))

    assert "Just help" in call
    assert mail.content == quiet


async def test_html_stands_in_a_frame_that_runs_nothing():
    office = await an_analyst()
    chosen = {**GOLD, "placement": "email.hero"}

    page, frame = await office.get(address(**chosen)), await office.get(address(".html", **chosen))

    assert "<iframe" in page.text and " sandbox " in page.text
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    assert "sandbox" in frame.headers["content-security-policy"]
    assert "script-src" not in frame.headers["content-security-policy"]
    assert "<table" in frame.text


@pytest.mark.parametrize(
    "chosen",
    [
        {"action": "<script>alert(1)</script>"},
        {"action": "grow/cards/gold_upgrade", "placement": '"><img src=x onerror=alert(1)>'},
        {"action": "grow/cards/gold_upgrade", "persona": "</option><script>alert(1)</script>"},
        {"action": "grow/cards/gold_upgrade", "language": "<svg/onload=alert(1)>"},
    ],
)
async def test_what_the_strategy_does_not_have_is_told_and_inert(chosen: dict[str, str]):
    office = await an_analyst()

    page, picture = await office.get(address(**chosen)), await office.get(address(".png", **chosen))

    assert page.status_code == 200
    assert not any(value in page.text for value in chosen.values() if "<" in value)
    assert picture.status_code == 404


async def test_a_place_that_does_not_show_the_action_names_those_that_do():
    office = await an_analyst()

    html = unescape((await office.get(address(action="grow/cards/gold_upgrade", placement="call_center.x"))).text)
    other = unescape((await office.get(address(action="grow/cards/cashback", placement="email.hero"))).text)

    assert "unknown placement 'call_center.x'. Did you mean" in html
    assert "grow/cards/cashback is not shown in email.hero, but in web.home.hero" in other


@pytest.mark.parametrize("ending", ["", ".html", ".png"])
async def test_agents_and_strangers_have_no_preview(ending: str):
    office = Office(desk=Desk(bank=bank()))

    stranger = await office.get(address(ending, **GOLD))
    await office.sign_in("agent")
    agent = await office.get(address(ending, **GOLD))

    assert (stranger.status_code, agent.status_code) == (303, 403)
