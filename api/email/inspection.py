"""Inspection: every picture a strategy can show, drawn for people with short and long names before anyone opens a mail.

What is judged are the pixels of each text, not what typesetting believes of them: they must lie in its box, apart from
all others and well visible on what is behind. `nextbest check` reports what is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.email.canvas import BYTES_MAX, Canvas, Stamp
from api.email.pictures import SCALES, Flaw, Laid, Pictures, flaws_of, laid, stamps_of, texts_of
from decisioning.catalog.content import Content
from decisioning.catalog.faults import Fault
from decisioning.catalog.picture import Area, Picture, contrast, contrast_min, luminance, rgb
from decisioning.catalog.schema import Attribute
from decisioning.catalog.strategy import Persona, Placement, Strategy
from decisioning.errors import ContentUnknown
from decisioning.personas import moment_with

NAMES = (
    "Bo",
    "Őz",
    "Ян",
    "Wolfeschlegelsteinhausenbergerdorffowitz",  # nowhere to break
    "Árvíztűrő-Tükörfúrógép Őrsi Maximilianné",
    "Александра-Владиславовна Константинополь",
)
FAINT = 8  # coverage up to here cannot be seen
WAYS_OUT = {
    "cut": "Shorten the text, or give its box more room or a smaller font_min",
    "outside": "Shorten the text, or give its box more room or a smaller font_min",
    "overlap": "Give the box fewer lines or a smaller font",
    "missing_glyph": "Write it in letters of the Latin, Cyrillic or Greek alphabet",
    "contrast": "Take another colour, or move the box off the picture behind it",
    "too_large": "Take a simpler file, or a smaller size",
}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Somebody who opens a mail."""

    words: str  # for the report
    customer: Mapping[str, Any]


def inspect(strategy: Strategy, *, now_ms: int) -> list[Fault]:
    """What is wrong with the pictures of a strategy, at the actions and placements whose content is to blame."""
    pictures = Pictures()
    found: list[Fault] = []
    for placement in strategy.placements.values():
        if placement.picture is not None:
            found += _inspected(placement, placement.picture, strategy, pictures, now_ms)
    return sorted(set(found))


def _inspected(
    placement: Placement, picture: Picture, strategy: Strategy, pictures: Pictures, now_ms: int
) -> Iterator[Fault]:
    try:
        for scale in SCALES:
            pictures.canvas(picture, scale)
    except ValueError as error:
        yield _fault(picture.where, str(error), "Save it as png or jpg")
        return
    inspector = _Inspector(picture, pictures)
    for language in placement.fallback.languages:
        content = placement.fallback.render(language, {})
        for flaw in (*inspector.flaws(content), *inspector.size_flaws(content)):
            yield _fault(picture.where, f"{placement.name} in {language}, fallback: {_said(flaw)}", WAYS_OUT[flaw.kind])
    moments = {
        reader: moment_with(_persona(reader, placement), strategy, now_ms=now_ms).activation
        for reader in _readers(strategy)
    }
    for treatment in placement.candidates.treatments:
        where = strategy.actions[strategy.action_index[treatment.action]].where
        for language in treatment.content.languages:
            for flaw, reader in _first(treatment.content, language, moments, inspector):
                message = f"{placement.name} in {language}, for {reader.words}: {_said(flaw)}"
                yield _fault(where, message, WAYS_OUT[flaw.kind])


def _first(
    content: Content, language: str, moments: Mapping[_Reader, Mapping[str, Any]], inspector: _Inspector
) -> Iterator[tuple[Flaw, _Reader]]:
    """Each kind of flaw of a field once, with the first reader who would see it."""
    met = set()
    shown, reader = None, None
    for reader, activation in moments.items():
        try:
            shown = content.render(language, activation)
        except ContentUnknown:  # not shown to such a reader at all
            continue
        for flaw in inspector.flaws(shown):
            if (flaw.kind, flaw.field) not in met:
                met.add((flaw.kind, flaw.field))
                yield flaw, reader
    if shown is not None and reader is not None:  # the last has a long name: its picture is among the largest
        yield from ((flaw, reader) for flaw in inspector.size_flaws(shown))


class _Inspector:
    """Looks at drawings of one picture; each text is drawn alone, and the same one only once."""

    def __init__(self, picture: Picture, pictures: Pictures) -> None:
        self._picture = picture
        self._pictures = pictures
        self._light = {scale: _luminances(pictures.canvas(picture, scale)) for scale in SCALES}
        self._known: dict[tuple[int, str], list[Flaw]] = {}

    def flaws(self, content: Mapping[str, Any]) -> list[Flaw]:
        """What is wrong with the texts of the picture of some content, at any scale."""
        texts = texts_of(self._picture, content)
        return [flaw for index, text in enumerate(texts) for flaw in self._flaws_of(index, text, len(texts))]

    def size_flaws(self, content: Mapping[str, Any]) -> list[Flaw]:
        """Whether the picture of some content is too large for a mail."""
        size = len(self._pictures.draw(self._picture, content, scale=SCALES[-1]).content)
        if size <= BYTES_MAX:
            return []
        return [Flaw("too_large", "", f"{size} bytes on fine screens, mails take {BYTES_MAX}")]

    def _flaws_of(self, index: int, text: str, count: int) -> list[Flaw]:
        found = self._known.get((index, text))
        if found is None:
            alone = ("",) * index + (text,) + ("",) * (count - index - 1)
            found = self._known[index, text] = [
                flaw for each in laid(self._picture, alone) for flaw in (*flaws_of(each), *self._seen(each))
            ]
        return found

    def _seen(self, text: Laid) -> Iterator[Flaw]:
        """What the pixels of a text tell."""
        for scale in SCALES:
            stamps = stamps_of(self._picture, [text], scale)
            letters = [stamp for stamp in stamps if stamp.ink == text.ink_index]
            ink = np.zeros((self._picture.height * scale, self._picture.width * scale), dtype=np.bool_)
            for stamp in letters:
                part, covered = _within(ink, stamp), stamp.coverage > FAINT
                if (part & covered).any():
                    yield Flaw("overlap", text.field, "has lines that touch")
                part |= covered
            if not all(_holds(text.box.area, stamp, scale) for stamp in stamps):
                yield Flaw("outside", text.field, "is drawn beside its box")
            reached = self._contrast(text, letters, scale)
            if reached < contrast_min(text.box):
                detail = f"has a contrast of {floor(reached * 10) / 10}, {contrast_min(text.box):g} is readable"
                yield Flaw("contrast", text.field, detail)

    def _contrast(self, text: Laid, letters: list[Stamp], scale: int) -> float:
        """The least contrast of a text's letters with what is behind them."""
        button = self._picture.button
        own = luminance(rgb(text.box.color))
        if button is not None and text.box is button.label:
            return contrast(own, luminance(rgb(button.background)))
        behind = [_within(self._light[scale], stamp)[stamp.coverage > FAINT] for stamp in letters]
        return min(
            (contrast(own, float(end)) for each in behind if each.size for end in (each.min(), each.max())),
            default=21.0,
        )


def _within(plane: NDArray[Any], stamp: Stamp) -> NDArray[Any]:
    height, width = stamp.coverage.shape
    return plane[stamp.y : stamp.y + height, stamp.x : stamp.x + width]


def _holds(area: Area, stamp: Stamp, scale: int) -> bool:
    """True when every pixel of the stamp lies in the area; one on its very edge may be touched by a rounded letter."""
    rows, columns = np.nonzero(stamp.coverage > FAINT)
    if not rows.size:
        return True
    left, top = area.x * scale - 1, area.y * scale - 1
    right, bottom = (area.x + area.width) * scale, (area.y + area.height) * scale
    return bool(
        stamp.x + columns.min() >= left
        and stamp.y + rows.min() >= top
        and stamp.x + columns.max() <= right
        and stamp.y + rows.max() <= bottom
    )


def _luminances(canvas: Canvas) -> NDArray[np.float64]:
    """How light each pixel of a canvas is."""
    parts = np.asarray(canvas.image(), dtype=np.float64) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    light: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return light


def _readers(strategy: Strategy) -> list[_Reader]:
    """Somebody of whom nothing is known, and people with names of each kind; with long ones go large numbers."""
    attributes = [each for each in strategy.schema.attributes.values() if each.name.startswith("customer.")]
    readers = [_Reader("somebody unknown", _Facts())]
    for name in NAMES:
        known = {each.short_name: value for each in attributes if (value := _sample(each, name)) is not None}
        readers.append(_Reader(f"a name like {name!r}", _Facts(known)))
    return readers


class _Facts(dict[str, Any]):
    """Known attributes; readers are told apart by identity."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def _sample(attribute: Attribute, name: str) -> Any:
    """A value of the attribute, as raw as a source would send it; long texts and large numbers for a long name."""
    is_long = len(name) > 10
    if attribute.enum is not None:
        word = (max if is_long else min)(sorted(attribute.enum), key=len)
        return [word] if attribute.type == "list<string>" else word
    if attribute.type in ("int", "double"):
        low = 0 if attribute.min is None else attribute.min
        high = max(low, 1_234_567) if attribute.max is None else attribute.max
        value = min(high, 1e12) if is_long else low
        return int(value) if attribute.type == "int" else float(value)
    samples = {"string": name, "list<string>": [name], "bool": is_long, "timestamp": "2026-12-31T12:00:00Z"}
    return samples[attribute.type]


def _persona(reader: _Reader, placement: Placement) -> Persona:
    body = {"customer": reader.customer, "channel": placement.channel, "placements": [placement.name]}
    return Persona(reader.words, "", body)


def _said(flaw: Flaw) -> str:
    return f"{flaw.field or 'the picture'}: {flaw.detail}" if flaw.kind != "cut" else f"{flaw.field} {flaw.detail}"


def _fault(where: str, message: str, way_out: str) -> Fault:
    file, line, column = where.rsplit(":", 2)
    return Fault(file, int(line), int(column), message, way_out)
