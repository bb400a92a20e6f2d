"""Cuts the fonts of pictures out of Inter and writes their measures beside them; for maintainers, needs fonttools.

    python deploy/fonts.py /usr/share/fonts/opentype/inter        # of Debian's package fonts-inter

Kept are the letters of Latin, Cyrillic and Greek and the signs that go with them. What text is set by at run time, each
letter's width and the kerning of each pair, goes into one table: Pillow reads no kerning from a font of this format
unless a library that is not everywhere is installed, and a picture must come out the same on every machine.
"""

from __future__ import annotations

import sys
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from fontTools import subset
from fontTools.pens.boundsPen import BoundsPen
from fontTools.ttLib import TTFont

FOLDER = Path(__file__).parents[1] / "api" / "email" / "fonts"
CUTS = {"regular": "Inter-Regular.otf", "bold": "Inter-SemiBold.otf"}
RANGES = (
    (0x20, 0x7E),
    (0xA0, 0x17F),  # Latin-1, Latin Extended-A
    (0x18F, 0x18F),
    (0x192, 0x192),
    (0x1CD, 0x1DC),
    (0x1E6, 0x1E7),
    (0x1FA, 0x21B),
    (0x259, 0x259),
    (0x2C6, 0x2DD),
    (0x370, 0x3FF),  # Greek
    (0x400, 0x4FF),  # Cyrillic
    (0x1E80, 0x1E85),
    (0x1E9E, 0x1E9E),
    (0x1EA0, 0x1EF9),  # Vietnamese
    (0x2010, 0x2027),
    (0x2030, 0x203A),
    (0x2044, 0x2044),
    (0x2070, 0x2089),
    (0x20A0, 0x20BF),  # currencies
    (0x2116, 0x2116),
    (0x2122, 0x2122),
    (0x2190, 0x2193),
    (0x2212, 0x2212),
    (0x2248, 0x2248),
    (0x2260, 0x2265),
)


def main(source: Path) -> None:
    """Write every cut and its measures."""
    for name, file in CUTS.items():
        font = TTFont(source / file)
        characters = [c for low, high in RANGES for c in range(low, high + 1) if c in font.getBestCmap()]
        measures = measures_of(font, characters)
        options = subset.Options(
            layout_features=[], hinting=False, name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14], notdef_outline=True
        )
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=characters)
        cutter.subset(font)
        for table in ("GPOS", "GSUB", "GDEF"):
            if table in font:
                del font[table]
        font.save(FOLDER / f"{name}.otf")
        np.savez_compressed(FOLDER / f"{name}.npz", **measures)
        print(name, len(characters), "characters", (FOLDER / f"{name}.otf").stat().st_size, "bytes")


def measures_of(font: TTFont, characters: list[int]) -> dict[str, np.ndarray]:
    """Widths, heights and kerning by character, in units of the font.

    Kerning of all pairs is a square; letters that kern alike on one side share a row or a column of what is kept.
    """
    cmap, glyphs = font.getBestCmap(), font.getGlyphSet()
    names = [cmap[c] for c in characters]
    bounds = [bounds_of(glyphs, name) for name in names]
    square = kerning(font, names)
    rows, left = np.unique(square, axis=0, return_inverse=True)
    kept, right = np.unique(rows, axis=1, return_inverse=True)
    return {
        "units": np.array(font["head"].unitsPerEm),
        "characters": np.array(characters, dtype=np.uint32),
        "widths": np.array([glyphs[name].width for name in names], dtype=np.int16),
        "bounds": np.array(bounds, dtype=np.int16),  # of the ink: from left, bottom, to right, top
        "left": left.reshape(-1).astype(np.uint16),
        "right": right.reshape(-1).astype(np.uint16),
        "kerning": kept.astype(np.int16),
    }


def bounds_of(glyphs: Any, name: str) -> tuple[int, int, int, int]:
    pen = BoundsPen(glyphs)
    glyphs[name].draw(pen)
    if pen.bounds is None:
        return 0, 0, 0, 0
    left, bottom, right, top = pen.bounds
    return floor(left), floor(bottom), ceil(right), ceil(top)


def kerning(font: TTFont, names: list[str]) -> np.ndarray:
    """Kerning of every pair, as the font's own kern feature gives it: the first subtable that knows the pair wins."""
    places: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        places.setdefault(name, []).append(index)
    square, known = np.zeros((len(names), len(names)), dtype=np.int16), np.zeros((len(names), len(names)), dtype=bool)
    table = font["GPOS"].table
    lookups = {
        i for each in table.FeatureList.FeatureRecord if each.FeatureTag == "kern" for i in each.Feature.LookupListIndex
    }
    for index in sorted(lookups):
        for subtable in table.LookupList.Lookup[index].SubTable:
            while hasattr(subtable, "ExtSubTable"):
                subtable = subtable.ExtSubTable
            if subtable.LookupType == 2:
                add_pairs(subtable, names, places, square, known)
    return square


def add_pairs(
    subtable: Any, names: list[str], places: dict[str, list[int]], square: np.ndarray, known: np.ndarray
) -> None:
    """The pairs of one subtable: letter by letter (format 1), or by classes of letters (format 2)."""
    first = [name for name in subtable.Coverage.glyphs if name in places]
    if subtable.Format == 1:
        for glyph, pairs in zip(subtable.Coverage.glyphs, subtable.PairSet, strict=True):
            for pair in pairs.PairValueRecord if glyph in places else ():
                for i in places[glyph]:
                    for j in places.get(pair.SecondGlyph, ()):
                        if not known[i, j]:
                            square[i, j], known[i, j] = pair.Value1.XAdvance if pair.Value1 else 0, True
        return
    seconds = np.array([subtable.ClassDef2.classDefs.get(name, 0) for name in names])
    for glyph in first:
        record = subtable.Class1Record[subtable.ClassDef1.classDefs.get(glyph, 0)].Class2Record
        values = np.array([getattr(each.Value1, "XAdvance", 0) if each.Value1 else 0 for each in record])[seconds]
        for i in places[glyph]:
            square[i] = np.where(known[i], square[i], values)
            known[i] = True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
