"""Typesetting: what gives way when a text is too long, and what never happens to it."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest
from PIL import ImageFont

from api.email.typeface import _FOLDER, steps_of, typeface
from api.email.typesetting import Setting, fitted
from decisioning.catalog.picture import Area
from tests.email.specs import box

LETTERS = "aábcčdeéfgğhiíjklłmnoóöőpqrsßtuúüűvwxyzАБЖЗИЙЛЦЩЫЭЯабвгґдежзийїєАΒΓΔαβγδώ"


def said(setting: Setting) -> list[str]:
    return [line.text for line in setting.lines]


def test_a_text_that_fits_keeps_its_font_and_words() -> None:
    setting = fitted("Your money, looked after", box())

    assert (setting.font, said(setting), setting.is_cut) == (24, ["Your money, looked after"], False)


def test_a_longer_text_takes_more_lines_then_a_smaller_font() -> None:
    two = fitted("Your money, looked after by people who know you", box())
    smaller = fitted("Your money, looked after by people who know you and your family by name", box())

    assert (two.font, len(two.lines)) == (24, 2)
    assert 14 <= smaller.font < 24 and len(smaller.lines) == 2 and not smaller.is_cut


def test_a_word_is_broken_only_at_the_smallest_font() -> None:
    setting = fitted("Donaudampfschifffahrtselektrizitätenhauptbetriebswerk", box())

    assert setting.font == 14 and not setting.is_cut
    assert "".join(said(setting)) == "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk"


def test_the_parts_of_a_broken_word_are_alike() -> None:
    parts = said(fitted("Donaudampfschifffahrtselektrizitätenhauptbetriebswerk", box()))

    assert len(parts) == 2 and min(map(len, parts)) > 20


def test_a_box_narrower_than_a_letter_loses_nothing_in_silence() -> None:
    setting = fitted("W", box(area=Area(0, 0, 8, 30), lines=1))

    assert said(setting) == ["W"] and setting.is_outside


def test_the_end_is_left_out_last_of_all_and_reported() -> None:
    setting = fitted("every word " * 40, box())

    assert setting.is_cut and setting.font == 14 and len(setting.lines) == 2
    assert said(setting)[-1].endswith("…")


def test_lines_are_evened_out() -> None:
    lines = fitted("A savings account with interest from the first euro on", box()).lines

    widths = [line.right - line.left for line in lines]
    assert len(lines) == 2 and max(widths) - min(widths) < 70


def test_a_hyphen_may_end_a_line_and_a_minus_stays_with_its_number() -> None:
    assert said(fitted("Árvíztűrő-Tükörfúrógép", box(area=Area(0, 0, 160, 70)))) == ["Árvíztűrő-", "Tükörfúrógép"]
    assert said(fitted("minus fees -5", box(area=Area(0, 0, 125, 70))))[-1].endswith("-5")


@pytest.mark.parametrize(("align", "begin", "end"), [("left", 0, None), ("right", None, 300), ("center", None, None)])
def test_it_is_the_ink_that_aligns(align: str, begin: float | None, end: float | None) -> None:
    for text in ("Home", "You", "jo", "Át"):
        (line,) = fitted(text, box(align=align)).lines

        assert begin is None or line.left == pytest.approx(begin)
        assert end is None or line.right == pytest.approx(end)
        assert align != "center" or line.left == pytest.approx(300 - line.right)


@pytest.mark.parametrize(("valign", "gap"), [("top", 0.0), ("middle", 0.5), ("bottom", 1.0)])
def test_a_short_text_stands_where_it_is_told(valign: str, gap: float) -> None:
    (line,) = fitted("Home", box(valign=valign)).lines

    spare = 70 - box().height_of(1, 24)
    assert line.baseline == pytest.approx(24 * 0.969 + spare * gap)


@pytest.mark.parametrize(
    ("text", "expected", "missing"),
    [
        ("Zażółć gęślą jaźń, Ўзбек, Ωμέγα, €5 – “yes”…", "Zażółć gęślą jaźń, Ўзбек, Ωμέγα, €5 – “yes”…", ""),
        ("Ünnep 🎉", "Ünnep", ""),
        ("family 👨‍👩‍👧‍👦 and ❤️ you", "family and you", ""),
        ("decomposed: o\u030b", "decomposed: ő", ""),
        ("a letter with an accent we lack: ȩ\u0301", "a letter with an accent we lack: e", ""),
        ("ﬁne １２", "fine 12", ""),
        ("李 Li", "Li", "李"),
        ("שלום", "", "שלום"),
        ("مرحبا Ali", "Ali", "مرحبا"),
        ("line\nbreak\ttab", "line break tab", ""),
        ("soft\u00adhyphen zero\u200bwidth \ud800", "softhyphen zerowidth", ""),
        ("", "", ""),
        ("🎉", "", ""),
    ],
)
def test_letters_the_font_lacks_are_never_drawn_as_boxes(text: str, expected: str, missing: str) -> None:
    setting = fitted(text, box(lines=3, area=Area(0, 0, 560, 120)))

    assert " ".join(said(setting)) == expected
    assert setting.missing == missing


@pytest.mark.parametrize("weight", ["regular", "bold"])
def test_the_measures_are_those_of_the_font_itself(weight: str) -> None:
    face = typeface(weight)
    font = ImageFont.truetype(str(_FOLDER / f"{weight}.otf"), 2816, layout_engine=ImageFont.Layout.BASIC)

    for letter in LETTERS:
        _, upper, _, lower = font.getbbox(letter, anchor="ls")
        assert face.advances(letter)[0] * 2816 == pytest.approx(font.getlength(letter), abs=0.6)
        assert [face.ink(letter)[side] * 2816 for side in (1, 3)] == pytest.approx([-lower, -upper], abs=8)


def test_a_letter_is_drawn_where_it_measures_at_every_fraction_of_a_pixel() -> None:
    face = typeface("regular")
    for size in (16, 34):
        for letter in "HgŐя":
            for step in range(steps_of(size)):
                glyph, x, y = face.glyph(letter, size, step)
                columns, rows = np.nonzero(glyph.max(axis=0))[0], np.nonzero(glyph.max(axis=1))[0]
                left, bottom, right, top = (value * size for value in face.ink(letter))
                shift = step / steps_of(size)
                assert x + columns[0] == pytest.approx(left + shift - 0.5, abs=0.75)
                assert x + columns[-1] + 1 == pytest.approx(right + shift + 0.5, abs=0.75)
                assert y + rows[0] == pytest.approx(-top - 0.5, abs=0.75)
                assert y + rows[-1] + 1 == pytest.approx(-bottom + 0.5, abs=0.75)


def test_whatever_the_text_its_ink_stays_in_the_box() -> None:
    random = Random(7)
    for _ in range(300):
        words = ["".join(random.choices(LETTERS, k=random.randint(1, 30))) for _ in range(random.randint(1, 25))]
        align, lines = random.choice(["left", "center", "right"]), random.randint(1, 4)
        setting = fitted(" ".join(words), box(align=align, lines=lines, area=Area(0, 0, random.randint(60, 400), 90)))
        assert not setting.is_outside and len(setting.lines) <= lines


@pytest.mark.parametrize("text", ["x" * 20_000, "x " * 10_000, "-" * 20_000, "e\u0301\u0302" * 7_000, "👨‍👩‍👧" * 4_000])
def test_a_hostile_text_costs_little(text: str) -> None:
    start = time.process_time()

    fitted(text, box())

    assert time.process_time() - start < 1.0
