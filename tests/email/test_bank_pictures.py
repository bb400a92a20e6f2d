"""The example bank's mail, measured in pixels: each text drawn alone on a blank lies in its box, whole and apart.

Nothing of typesetting is believed here: places come from comparing decoded pictures. That inspection finds nothing
either is said by the test of `nextbest check`.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from api.email.canvas import BYTES_MAX
from api.email.inspection import NAMES
from api.email.pictures import Pictures, prepare
from api.email.typeface import _FOLDER
from decisioning.catalog.load import load_directory
from decisioning.catalog.picture import Area, Picture
from decisioning.catalog.strategy import Strategy

BANK = Path(__file__).parents[2] / "examples" / "retail_bank"


@cache
def bank() -> Strategy:
    return load_directory(BANK)


@cache
def drawn() -> Pictures:
    return Pictures(kept_bytes_max=0)


def hero() -> Picture:
    picture = bank().placements["email.hero"].picture
    assert picture is not None
    return picture


def shown() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every treatment in every language for every name and for somebody without one, with what it is."""
    placement = bank().placements["email.hero"]
    for treatment in placement.candidates.treatments:
        for language in bank().languages:
            for name in (None, *NAMES):
                customer = {"loyalty_points": 12_345} | ({} if name is None else {"first_name": name})
                content = treatment.content.render(language, {"customer": customer})
                yield f"{treatment.action} in {language} for {name}", content
    for language in bank().languages:
        yield f"fallback in {language}", placement.fallback.render(language, {})


def decoded(content: dict[str, Any], scale: int) -> NDArray[np.uint8]:
    """Each pixel's place in the palette, which is the same for all pictures of a placement."""
    image = Image.open(io.BytesIO(drawn().draw(hero(), content, scale=scale).content))
    assert image.mode == "P"
    return np.asarray(image)


def text_of(value: Any) -> str:
    return value["label"] if isinstance(value, dict) else value


class Ink(NamedTuple):
    """The rectangle around what a text changes, and how many pixels that are."""

    left: int
    top: int
    right: int
    bottom: int
    count: int

    def touches(self, other: Ink) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)


@cache
def ink_of(field: str, text: str, scale: int) -> Ink:
    """Which pixels one text, drawn alone, changes of the blank picture."""
    value = {"label": text, "url": ""} if field == "cta" else text
    changed = decoded({field: value}, scale) != blank(scale)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not rows.size:
        return Ink(0, 0, 0, 0, 0)
    return Ink(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, int(changed.sum()))


@cache
def blank(scale: int) -> NDArray[np.uint8]:
    return decoded({}, scale)


def areas() -> dict[str, Area]:
    return {box.field: box.area for box in hero().texts}


def is_within(ink: Ink, area: Area, scale: int) -> bool:
    """True when nothing has changed but the box's rectangle, and at most one pixel of blur around it."""
    right, bottom = (area.x + area.width) * scale, (area.y + area.height) * scale
    is_right_and_below = ink.left >= area.x * scale - 1 and ink.top >= area.y * scale - 1
    return is_right_and_below and ink.right <= right + 1 and ink.bottom <= bottom + 1


@pytest.mark.parametrize("scale", [1, 2])
def test_each_text_lies_in_its_box_and_apart_from_the_others(scale: int) -> None:
    faults, seen = [], set()
    for number, (what, content) in enumerate(shown()):
        fields = {field: text_of(content[field]) for field in areas() if content.get(field)}
        if scale == 2 and number % 19:
            continue  # a few will do on fine screens: lines break at the same words
        inks = {field: ink_of(field, text, scale) for field, text in fields.items()}
        seen.update(fields.items())
        faults += [
            f"{what}: {field} left its box" for field, ink in inks.items() if not is_within(ink, areas()[field], scale)
        ]
        faults += [f"{what}: {field} is not drawn" for field, ink in inks.items() if ink.count < 40 * scale * scale]
        pairs = combinations(inks.items(), 2)
        faults += [f"{what}: {one} touches {two}" for (one, ink), (two, other) in pairs if ink.touches(other)]

    assert faults == []
    assert len(seen) > 100


def test_no_letter_is_lost_or_a_box_of_the_font() -> None:
    fonts = [ImageFont.truetype(str(_FOLDER / f"{weight}.otf"), 60) for weight in ("regular", "bold")]
    letters = {
        letter for _, content in shown() for field in areas() if field in content for letter in text_of(content[field])
    }

    for font in fonts:
        tofu = font.getmask("\U0010ffff")
        assert [letter for letter in letters - {" "} if bytes(font.getmask(letter)) == bytes(tofu)] == []
    assert {"ő", "Ő", "ß", "Я", "ü"} <= letters


def test_every_picture_is_small_and_without_flaws_and_of_its_size() -> None:
    for what, content in shown():
        if NAMES[-1] in what or "fallback" in what:
            for scale in (1, 2):
                drawing = drawn().draw(hero(), content, scale=scale)
                assert len(drawing.content) < BYTES_MAX and drawing.flaws == (), what
                width, height = Image.open(io.BytesIO(drawing.content)).size
                assert (width, height) == (600 * scale, 300 * scale)


def test_the_prepared_pictures_are_sound() -> None:
    prepared = prepare(bank(), Pictures())["email.hero"]

    assert {language for language, _ in prepared.fallback} == set(bank().languages)
    assert all(drawing.flaws == () for drawing in prepared.fallback.values())


def test_a_picture_drawn_before_costs_less_than_half_a_millisecond() -> None:
    pictures, spent = Pictures(), []
    for _, content in list(shown())[:50]:
        pictures.draw(hero(), content, scale=1)
        start = time.process_time_ns()
        pictures.draw(hero(), content, scale=1)
        spent.append(time.process_time_ns() - start)

    assert median(spent) < 500_000
