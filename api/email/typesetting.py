"""Typesetting: a text and a box become lines, at the largest size at which every word fits.

Pure arithmetic on the font's measures at simple scale, so that a line breaks at the same word on fine screens. The
order of concessions: a smaller font, then a broken word, and only then the end of the text, which is reported. Lines
are evened out, because a headline whose last line is one short word looks like a mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil

from api.email.typeface import Typeface, tracking, typeface
from decisioning.catalog.picture import LEADING, LINE_BOTTOM, LINE_TOP, TextBox

ELLIPSIS = "…"
_WEAK_ENDS = " ,;:-–—."  # what looks wrong before the dots
_PIECE = re.compile(r"[^ \-–—/]+[\-–—/]*|[\-–—/]+[^ \-–—/]*")  # lines end behind a space, hyphen, dash or slash


@dataclass(frozen=True, slots=True)
class Line:
    """Letters and where each begins, in pixels from the left of the box at simple scale."""

    text: str
    xs: tuple[float, ...]
    baseline: float  # from the top of the box
    left: float  # where the ink begins and ends
    right: float


@dataclass(frozen=True, slots=True)
class Setting:
    """A text that was set."""

    lines: tuple[Line, ...]
    font: float
    is_cut: bool  # its end was left out
    is_outside: bool  # some ink is not within the box
    missing: str  # characters the font has no letter for


@dataclass(slots=True)
class _Piece:
    """What stays together on a line."""

    text: str
    width: float  # in sizes of the font, without tracking
    space: bool  # a space comes before it


def fitted(text: str, box: TextBox, *, width: float | None = None) -> Setting:
    """The text set into the box. width: of the lines, when less than the box has."""
    face = typeface(box.weight)
    spelling = face.spelled(text)
    frame = _Frame(box, float(box.area.width if width is None else width), *_reach(spelling.text, face))
    pieces = _pieces(spelling.text, face)
    for font in range(box.font, box.font_min - 1, -1):
        lines = _wrapped(pieces, face, font, frame.width)
        if lines is not None and len(lines) <= frame.lines_max(font):
            evened = _evened(pieces, lines, face, font, frame.width)
            return _placed(evened, frame, font, spelling.missing)
    font = box.font_min
    lines = _filled(_broken(pieces, face, font, frame.width), face, font, frame.width)
    room = max(1, frame.lines_max(font))
    if len(lines) <= room:
        return _placed(lines, frame, font, spelling.missing)
    lines = _shortened(lines[:room], face, font, frame.width)
    return _placed(lines, frame, font, spelling.missing, is_cut=True)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A box for one text."""

    box: TextBox
    width: float
    rise: float  # what its first line reaches above the baseline, in sizes of the font
    fall: float

    def height_of(self, line_count: int, font: float) -> float:
        """What so many lines need."""
        return font * (self.rise + self.fall + (line_count - 1) * LEADING[self.box.weight])

    def lines_max(self, font: float) -> int:
        """How many lines of a font there is room for, at most as many as there may be."""
        spare = self.box.area.height + 0.5 - self.height_of(1, font)
        return min(self.box.lines, int(spare / (font * LEADING[self.box.weight]) + 1)) if spare >= 0 else 0


def _reach(text: str, face: Typeface) -> tuple[float, float]:
    """What the text needs above and below: a little more than usual for letters with two accents."""
    inks = [face.ink(letter) for letter in set(text)]
    return max([LINE_TOP, *(ink[3] for ink in inks)]), max([LINE_BOTTOM, *(-ink[1] for ink in inks)])


def _pieces(text: str, face: Typeface) -> list[_Piece]:
    pieces = []
    for word in text.split(" "):
        for index, part in enumerate(_PIECE.findall(word)):
            pieces.append(_piece(part, face, space=index == 0))
    return pieces


def _piece(text: str, face: Typeface, *, space: bool) -> _Piece:
    return _Piece(text, sum(face.advances(text)), space)


def _wrapped(pieces: list[_Piece], face: Typeface, font: float, width: float) -> list[list[_Piece]] | None:
    """Pieces by line, each line as full as it gets; None when a piece is wider than a line."""
    close, limit = tracking(font), width / font
    if any(piece.width + close * (len(piece.text) - 1) > limit for piece in pieces):
        return None
    return _filled(pieces, face, font, width)


def _filled(pieces: list[_Piece], face: Typeface, font: float, width: float) -> list[list[_Piece]]:
    """Pieces by line, each line as full as it gets; a piece that is wider than a line has one of its own."""
    close, space = tracking(font), face.advances(" ")[0]
    lines: list[list[_Piece]] = []
    used, limit = 0.0, width / font
    for piece in pieces:
        own = piece.width + close * (len(piece.text) - 1)
        gap = space + 2 * close if piece.space else close
        if lines and used + gap + own <= limit:
            lines[-1].append(piece)
            used += gap + own
        else:
            lines.append([piece])
            used = own
    return lines


def _evened(
    pieces: list[_Piece], lines: list[list[_Piece]], face: Typeface, font: float, width: float
) -> list[list[_Piece]]:
    """The same number of lines, as equal as they get: the narrowest column that still has that many."""
    if len(lines) < 2:
        return lines
    low, high = width / len(lines), width
    while high - low > font / 4:
        middle = (low + high) / 2
        tried = _wrapped(pieces, face, font, middle)
        if tried is not None and len(tried) <= len(lines):
            lines, high = tried, middle
        else:
            low = middle
    return lines


def _broken(pieces: list[_Piece], face: Typeface, font: float, width: float) -> list[_Piece]:
    """The pieces, those wider than a line in parts that are not, and alike, so that no two letters are left alone."""
    close, limit = tracking(font), width / font
    parts: list[_Piece] = []
    for piece in pieces:
        whole = piece.width + close * (len(piece.text) - 1)
        if whole <= limit:
            parts.append(piece)
            continue
        share = min(limit, whole / ceil(whole / limit) + 0.6)
        start, used, space = 0, 0.0, piece.space
        for index, letter in enumerate(piece.text):
            own = face.advances(letter)[0] + max(0.0, close)
            if index > start and used + own > share:
                parts.append(_piece(piece.text[start:index], face, space=space))
                start, used, space = index, 0.0, False
            used += own
        parts.append(_piece(piece.text[start:], face, space=space))
    return parts


def _shortened(lines: list[list[_Piece]], face: Typeface, font: float, width: float) -> list[list[_Piece]]:
    """The lines with dots at the end of the last."""
    text = _joined(lines[-1]).rstrip(_WEAK_ENDS)
    while text and _measured(text + ELLIPSIS, face, font) > width:
        text = text[:-1].rstrip(_WEAK_ENDS)
    return [*lines[:-1], [_piece(text + ELLIPSIS, face, space=False)]]


def _joined(line: list[_Piece]) -> str:
    return "".join(f" {each.text}" if index and each.space else each.text for index, each in enumerate(line))


def _measured(text: str, face: Typeface, font: float) -> float:
    return (sum(face.advances(text)) + tracking(font) * max(0, len(text) - 1)) * font


def _placed(lines: list[list[_Piece]], frame: _Frame, font: float, missing: str, *, is_cut: bool = False) -> Setting:
    """Lines with the places of their letters. What aligns is the ink: a T and an H begin at the same pixel."""
    face, box = typeface(frame.box.weight), frame.box
    spare = box.area.height - frame.height_of(len(lines), font)
    top = {"top": 0.0, "middle": max(0.0, spare) / 2, "bottom": max(0.0, spare)}[box.valign]
    placed, is_outside = [], spare < -0.5
    for index, line in enumerate(lines):
        text = _joined(line)
        xs, pen = [], 0.0
        for advance in face.advances(text):
            xs.append(pen)
            pen += (advance + tracking(font)) * font
        left = min((x + face.ink(letter)[0] * font for x, letter in zip(xs[:2], text, strict=False)), default=0.0)
        right = max((x + face.ink(letter)[2] * font for x, letter in zip(xs[-2:], text[-2:], strict=True)), default=0.0)
        spare = frame.width - (right - left)
        begin = {"left": 0.0, "center": spare / 2, "right": spare}[box.align] - left
        baseline = top + font * (frame.rise + index * LEADING[box.weight])
        placed.append(Line(text, tuple(begin + x for x in xs), baseline, begin + left, begin + right))
        is_outside |= spare < -0.25
    return Setting(tuple(placed), font, is_cut, is_outside, missing)
