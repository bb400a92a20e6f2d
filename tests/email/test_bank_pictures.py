"""The example bank's mails, letter by letter and pixel by pixel: the small form of tests/proofs/mail_pictures.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from PIL import ImageFont

from api.email.pictures import Pictures, prepare
from api.email.typeface import _FOLDER
from decisioning.catalog.load import load_directory
from decisioning.catalog.picture import Picture
from decisioning.catalog.strategy import Strategy
from tests.proofs.mail_pictures import BANK, BYTES_MAX, Case, cases_of, looked_at


@cache
def bank() -> Strategy:
    return load_directory(BANK)


@cache
def cases() -> list[Case]:
    return cases_of(bank())


def test_each_text_is_whole_in_its_box_and_apart_from_the_others() -> None:
    few = cases()[::47]

    seen = looked_at(few)

    assert seen.faults == []
    assert len(cases()) > 500 and len({text for case in few for text in case.texts().values()}) > 25
    assert seen.letters > 3_000 and 10_000 < seen.bytes_max < BYTES_MAX


def crowded(picture: Picture) -> Picture:
    """The headline's box over the body's."""
    headline, body = picture.boxes
    return replace(picture, boxes=(replace(headline, area=body.area, valign="top"), body), key="crowded")


def narrow(picture: Picture) -> Picture:
    """A headline with room for three letters."""
    headline, body = picture.boxes
    area = replace(headline.area, width=60, height=30)
    return replace(picture, boxes=(replace(headline, area=area), body), key="narrow")


def unseen(picture: Picture) -> Picture:
    """A headline in the colour of what is behind it."""
    headline, body = picture.boxes
    background = ("#FBF9F5", "#FBF9F5")
    boxes = (replace(headline, color="#FBF9F5"), body)
    return replace(picture, boxes=boxes, background=background, backdrop=None, key="unseen")


@pytest.mark.parametrize(
    ("spoilt", "said"), [(crowded, "touches"), (narrow, "is not all there"), (unseen, "is not drawn")]
)
def test_a_spoilt_picture_is_seen_to_be_one(spoilt: Callable[[Picture], Picture], said: str) -> None:
    case = replace(cases()[0], picture=spoilt(cases()[0].picture))

    assert any(said in fault for fault in looked_at([case]).faults)


def test_no_letter_is_lost_or_a_box_of_the_font() -> None:
    fonts = [ImageFont.truetype(str(_FOLDER / f"{weight}.otf"), 60) for weight in ("regular", "bold")]
    letters = {letter for case in cases() for text in case.texts().values() for letter in text}

    for font in fonts:
        tofu = font.getmask("\U0010ffff")
        assert [letter for letter in letters - {" "} if bytes(font.getmask(letter)) == bytes(tofu)] == []
    assert {"ő", "Ő", "ß", "Я", "ü"} <= letters


def test_the_prepared_pictures_are_sound() -> None:
    prepared = prepare(bank(), Pictures())["email.hero"]

    assert {language for language, _ in prepared.fallback} == set(bank().languages)
    assert all(drawing.flaws == () for drawing in prepared.fallback.values())
