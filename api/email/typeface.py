"""The bundled font: what its letters measure, and what each looks like at a size and a fraction of a pixel.

Letters stand where their widths put them, to a quarter of a pixel; large ones, and all on fine screens, to half of one.
Pillow draws at whole pixels, so a letter is drawn that many times as large and averaged down, once for each fraction;
after that it is a small array in memory. Pillow's own spacing is not used: it rounds widths, and knows no kerning of
this font unless a library is installed that is not everywhere. `deploy/fonts.py` wrote the measures.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from math import exp
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

FINE_SIZE = 30  # pixels from which on half a pixel is fine enough
GLYPH_BYTES_MAX = 16 << 20  # of one weight; the letters of three languages at ten sizes take about 4 MB
LARGE_MAX = 500  # of letters many times as large, about 4 MB: what a few pictures need
FACES_MAX = 64  # sizes of one weight that are open at a time

Glyph = tuple[NDArray[np.uint8], int, int]  # coverage, and where it begins: right of the pen, below the baseline

_FOLDER = files("api.email") / "fonts"
_DROPPED = ("Cf", "Cs", "Co", "Cn", "Cc")  # joiners, selectors and what is no character: nothing to be seen of them
_SPACES = "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u205f\u3000\t\n\r"
_REPLACED = {**dict.fromkeys(map(ord, _SPACES), " "), 0xAD: ""}  # a soft hyphen would be drawn as a hyphen


@dataclass(frozen=True, slots=True)
class Spelling:
    """A text in letters that the font has."""

    text: str
    missing: str  # what it has no letter for; emoji are not counted, a text can do without


class Typeface:
    """One weight of the font. Safe to share between threads."""

    def __init__(self, weight: str) -> None:
        self._font = (_FOLDER / f"{weight}.otf").read_bytes()
        with (_FOLDER / f"{weight}.npz").open("rb") as file, np.load(file, allow_pickle=False) as measures:
            characters = [chr(code) for code in measures["characters"]]
            units = float(measures["units"])
            self._width = dict(zip(characters, (measures["widths"] / units).tolist(), strict=True))
            self._ink = dict(zip(characters, map(tuple, (measures["bounds"] / units).tolist()), strict=True))
            self._left = dict(zip(characters, measures["left"].tolist(), strict=True))
            self._right = dict(zip(characters, measures["right"].tolist(), strict=True))
            self._kerning: list[list[float]] = (measures["kerning"] / units).tolist()
        self._glyphs: dict[tuple[float, str, int], Glyph] = {}
        self._glyph_bytes = 0
        self._large: dict[tuple[float, str], tuple[Image.Image, int, int]] = {}  # letters before they are averaged
        self._faces: dict[float, ImageFont.FreeTypeFont] = {}
        self._lock = Lock()  # around FreeType, whose faces are not to be shared

    def has(self, character: str) -> bool:
        """True when there is a letter for it."""
        return character in self._width

    def spelled(self, text: str) -> Spelling:
        """The text as far as the font goes: accents it lacks are left off, pictures and invisible signs are dropped."""
        text = unicodedata.normalize("NFC", text).translate(_REPLACED)
        if all(character in self._width for character in text):
            return Spelling(text, "")
        kept, missing = [], []
        for character in text:
            if character in self._width:
                kept.append(character)
                continue
            bases = [each for each in unicodedata.normalize("NFKD", character) if not unicodedata.combining(each)]
            if bases and all(base in self._width for base in bases):
                kept += bases
            elif not _is_decoration(character):
                missing.append(character)
        return Spelling("".join(kept), "".join(dict.fromkeys(missing)))

    def advances(self, text: str) -> list[float]:
        """How far each letter moves the pen, in sizes of the font, the kerning with the next letter included."""
        widths = [self._width[character] for character in text]
        for index in range(len(text) - 1):
            widths[index] += self._kerning[self._left[text[index]]][self._right[text[index + 1]]]
        return widths

    def ink(self, character: str) -> tuple[float, ...]:
        """Where its ink begins and ends, in sizes of the font: from left, bottom, to right, top of pen and baseline."""
        return self._ink[character]

    def glyph(self, character: str, size: float, step: int) -> Glyph:
        """A letter `size` pixels large that stands a fraction of a pixel, step / steps_of(size), to the right."""
        key = (size, character, step)
        found = self._glyphs.get(key)
        if found is None:
            with self._lock:
                if self._glyph_bytes > GLYPH_BYTES_MAX:
                    self.forget()
                found = self._glyphs[key] = self._drawn(character, size, step)
                self._glyph_bytes += found[0].nbytes + 300
        return found

    def forget(self) -> None:
        """Drop the letters drawn so far; they are drawn again when needed."""
        self._glyphs, self._glyph_bytes = {}, 0  # a fresh dictionary: others may be reading the old one
        self._large = {}

    def _drawn(self, character: str, size: float, step: int) -> Glyph:
        """A letter at one fraction; most are never met at the others."""
        if len(self._large) >= LARGE_MAX:
            self._large.clear()
        found = self._large.get((size, character))
        if found is None:
            raw, (left, top) = self._face(size).getmask2(character, mode="L", anchor="ls")
            found = self._large[size, character] = Image.Image()._new(raw), left, top
        large, left, top = found
        if not all(large.size):
            return np.empty((0, 0), dtype=np.uint8), 0, 0
        return _averaged(large, left + step, top, steps_of(size))

    def _face(self, size: float) -> ImageFont.FreeTypeFont:
        face = self._faces.get(size)
        if face is None:
            if len(self._faces) >= FACES_MAX:
                self._faces.clear()
            large = size * steps_of(size)
            face = ImageFont.truetype(BytesIO(self._font), large, layout_engine=ImageFont.Layout.BASIC)
            self._faces[size] = face
        return face


def _averaged(large: Image.Image, left: int, top: int, steps: int) -> Glyph:
    """Every `steps` by `steps` pixels into one, on a grid that goes through the pen and the baseline."""
    x, y = left // steps, top // steps
    width, height = -(-(left + large.width) // steps) - x, -(-(top + large.height) // steps) - y
    framed = Image.new("L", (width * steps, height * steps))
    framed.paste(large, (left - x * steps, top - y * steps))
    small = framed.reduce(steps)
    return np.frombuffer(small.tobytes(), dtype=np.uint8).reshape(height, width), x, y


def _is_decoration(character: str) -> bool:
    """True for what may go without a word: pictographs and their tails, and signs that cannot be seen."""
    category = unicodedata.category(character)
    return category in _DROPPED or category in ("So", "Sk", "Mn", "Me")


def steps_of(size: float) -> int:
    """Into how many parts a pixel is divided where letters of this size may stand."""
    return 2 if size >= FINE_SIZE else 4


def tracking(size: float) -> float:
    """What is added between letters, in sizes of the font: the larger, the closer (Inter's own advice)."""
    return -0.0223 + 0.185 * exp(-0.1745 * size)


@cache
def typeface(weight: str) -> Typeface:
    """The weight `regular` or `bold`, loaded once."""
    return Typeface(weight)
