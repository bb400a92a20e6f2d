"""Draws what a placement shows as a picture, for a mail that is opened: a function of spec, content and scale.

Texts are set (`typesetting.py`), letters are put onto a copy of the placement's canvas (`canvas.py`), and the bytes are
kept for whoever opens next: most pictures hold no name and are the same for everyone. Safe to call from several
threads; a caller bounds how many draw at a time.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.email.canvas import JPEG, Canvas, Stamp, canvas_of, flat, jpeg
from api.email.typeface import Glyph, Typeface, steps_of, typeface
from api.email.typesetting import Setting, fitted
from decisioning.catalog.picture import Button, Picture, TextBox, luminance, mixed, rgb
from decisioning.catalog.strategy import Strategy

SCALES = (1, 2)  # simple and fine screens
KEPT_BYTES_MAX = 32 << 20  # of pictures drawn before: about 1,500
CANVAS_BYTES_MAX = 64 << 20  # of canvases: about 1 MB each, one with a photograph at double scale 3 MB
CAP_HEIGHT = 0.727  # of the font size: what a label's capitals are centred by


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a drawn text."""

    kind: str  # cut, outside or missing_glyph
    field: str
    detail: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture ready to send."""

    content: bytes
    media_type: str
    flaws: tuple[Flaw, ...]


@dataclass(frozen=True, slots=True)
class Laid:
    """One text where it was laid."""

    field: str
    setting: Setting
    box: TextBox
    left: float  # what the lines' letters are counted from, in pixels at simple scale
    top: float
    ink_index: int


class Pictures:
    """Draws pictures and keeps what it drew."""

    def __init__(self, *, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._kept: OrderedDict[bytes, Drawing] = OrderedDict()
        self._kept_bytes = 0
        self._kept_bytes_max = kept_bytes_max
        self._canvases: OrderedDict[tuple[str, int], Canvas] = OrderedDict()
        self._lock = Lock()

    def draw(self, picture: Picture, content: Mapping[str, Any], *, scale: int, as_jpeg: bool = False) -> Drawing:
        """The picture of some content, `scale` times its declared size. Fields it does not show do not matter.

        It is a PNG, or where that would be too large, or is asked for, a JPEG.
        """
        texts = texts_of(picture, content)
        key = _key(picture, texts, scale, as_jpeg)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        drawing = _drawn(self.canvas(picture, scale), picture, texts, scale, as_jpeg=as_jpeg)
        self._keep(key, drawing)
        return drawing

    def canvas(self, picture: Picture, scale: int) -> Canvas:
        """The part that all pictures of a placement share, drawn when first asked for."""
        key = (picture.key, scale)
        with self._lock:
            found = self._canvases.get(key)
            if found is not None:
                self._canvases.move_to_end(key)
                return found
        canvas = canvas_of(picture, scale)
        with self._lock:
            self._canvases[key] = canvas
            while len(self._canvases) > 1 and sum(each.nbytes for each in self._canvases.values()) > CANVAS_BYTES_MAX:
                self._canvases.popitem(last=False)
        return canvas

    @property
    def kept_bytes(self) -> int:
        """What the kept pictures take."""
        return self._kept_bytes

    def _keep(self, key: bytes, drawing: Drawing) -> None:
        size = len(drawing.content)
        with self._lock:
            if key in self._kept or size > self._kept_bytes_max:
                return
            self._kept[key] = drawing
            self._kept_bytes += size
            while self._kept_bytes > self._kept_bytes_max:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= len(oldest.content)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a placement shows when there is nothing to say, or trouble: drawn in advance, always at hand."""

    quiet: Mapping[int, Drawing]  # by scale
    fallback: Mapping[tuple[str, int], Drawing]  # by language tag in lower case, and scale


def prepare(strategy: Strategy, pictures: Pictures) -> dict[str, Prepared]:
    """By placement, for those that declare a picture. Draws every canvas, too."""
    prepared = {}
    for name, placement in strategy.placements.items():
        picture = placement.picture
        if picture is None:
            continue
        fallback = placement.fallback
        prepared[name] = Prepared(
            quiet={scale: quiet(picture, placement.quiet_color, scale) for scale in SCALES},
            fallback={
                (language, scale): pictures.draw(picture, fallback.render(language, {}), scale=scale)
                for language in fallback.languages
                for scale in SCALES
            },
        )
    return prepared


def quiet(picture: Picture, color: str, scale: int) -> Drawing:
    """A strip in the colour of the mail with a hair line through it: a pause, which claims nothing."""
    is_light = luminance(rgb(color)) > 0.5
    rule = mixed(color, "#000000" if is_light else "#FFFFFF", 0.09)
    return Drawing(flat(picture.width * scale, picture.height * scale, color, rule), "image/png", ())


def texts_of(picture: Picture, content: Mapping[str, Any]) -> tuple[str, ...]:
    """What the picture's texts say, the button's label last; empty where the content has nothing."""
    found = []
    for box in picture.texts:
        value = content.get(box.field)
        if isinstance(value, Mapping):
            value = value.get("label")
        found.append(value if isinstance(value, str) else "")
    return tuple(found)


def laid(picture: Picture, texts: tuple[str, ...]) -> list[Laid]:
    """Where each text comes to stand; those that say nothing are left out."""
    found = []
    for index, (box, text) in enumerate(zip(picture.boxes, texts, strict=False)):
        if text.strip():
            found.append(Laid(box.field, fitted(text, box), box, box.area.x, box.area.y, index))
    if picture.button is not None and texts[-1].strip():
        found.append(_laid_label(picture.button, texts[-1], len(picture.boxes)))
    return found


def button_area(button: Button, label: Laid) -> tuple[float, float]:
    """Where the button begins and how wide it is: as its label needs, with half its height on both sides."""
    line = label.setting.lines[0]
    used = min(button.area.width, max(line.right - line.left + button.area.height, 2 * button.area.height))
    spare = button.area.width - used
    return button.area.x + {"left": 0.0, "center": spare / 2, "right": spare}[button.label.align], used


def _laid_label(button: Button, text: str, ink_index: int) -> Laid:
    area = button.area
    setting = fitted(text, button.label, width=area.width - area.height)
    label = Laid(button.label.field, setting, button.label, 0.0, 0.0, ink_index)
    if not setting.lines:
        return label
    left, used = button_area(button, label)
    line = setting.lines[0]
    baseline = area.y + (area.height + CAP_HEIGHT * setting.font) / 2
    x = left + (used - (line.right - line.left)) / 2 - line.left
    return Laid(button.label.field, setting, button.label, x, baseline - line.baseline, ink_index)


def _key(picture: Picture, texts: tuple[str, ...], scale: int, as_jpeg: bool) -> bytes:
    """Names a drawing. A hash: what is kept in memory need not say who was greeted."""
    digest = blake2b(f"{picture.key} {scale} {as_jpeg}".encode(), digest_size=20)
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(f" {len(raw)} ".encode() + raw)
    return digest.digest()


def _drawn(canvas: Canvas, picture: Picture, texts: tuple[str, ...], scale: int, *, as_jpeg: bool = False) -> Drawing:
    found = laid(picture, texts)
    content, media_type = canvas.printed(stamps_of(picture, found, scale), as_jpeg=as_jpeg)
    return Drawing(content, media_type, tuple(flaw for each in found for flaw in flaws_of(each)))


def jpeg_of(drawing: Drawing) -> Drawing:
    """The same picture as a JPEG, for mail programs and gateways that go by the ending of its address."""
    if drawing.media_type == JPEG:
        return drawing
    with Image.open(io.BytesIO(drawing.content), formats=("PNG",)) as image:
        return replace(drawing, content=jpeg(image.convert("RGB")), media_type=JPEG)


def flaws_of(text: Laid) -> list[Flaw]:
    """What is wrong with a text as it was laid."""
    setting = text.setting
    flaws = []
    if setting.is_cut:
        flaws.append(Flaw("cut", text.field, f"is cut, it ends in {setting.lines[-1].text[-24:]!r}"))
    if setting.is_outside:
        flaws.append(Flaw("outside", text.field, f"does not fit at {setting.font:g} pixels"))
    if setting.missing:
        named = " ".join(f"{each} (U+{ord(each):04X})" for each in setting.missing[:8])
        flaws.append(Flaw("missing_glyph", text.field, f"the font has no letter for {named}"))
    return flaws


def stamps_of(picture: Picture, found: list[Laid], scale: int) -> list[Stamp]:
    """What is put onto the canvas, in order: the button before its label."""
    stamps = []
    for text in found:
        if picture.button is not None and text.box is picture.button.label and text.setting.lines:
            stamps.append(_button_stamp(picture, text, scale))
        stamps += [
            stamp for line in range(len(text.setting.lines)) if (stamp := _line_stamp(picture, text, line, scale))
        ]
    return stamps


def _button_stamp(picture: Picture, label: Laid, scale: int) -> Stamp:
    button = picture.button
    assert button is not None
    left, used = button_area(button, label)
    x = round(left * scale)
    width, height = round((left + used) * scale) - x, button.area.height * scale
    radius = min(button.radius * scale, width // 2)
    return Stamp(_rounded(width, height, radius), x, button.area.y * scale, len(picture.texts))


def _rounded(width: int, height: int, radius: int) -> NDArray[np.uint8]:
    """A rectangle with round corners; a pixel on their edge is covered by as much as the circle reaches into it."""
    shape = np.full((height, width), 255, dtype=np.uint8)
    if radius:
        away = radius - np.arange(radius) - 0.5
        corner = np.clip(radius - np.hypot(away[:, None], away[None, :]) + 0.5, 0.0, 1.0)
        corner = np.rint(corner * 255).astype(np.uint8)
        shape[:radius, :radius] = corner
        shape[:radius, width - radius :] = corner[:, ::-1]
        shape[height - radius :, :radius] = corner[::-1]
        shape[height - radius :, width - radius :] = corner[::-1, ::-1]
    return shape


def _line_stamp(picture: Picture, text: Laid, number: int, scale: int) -> Stamp | None:
    """One line's letters as coverage."""
    line, face = text.setting.lines[number], typeface(text.box.weight)
    baseline = round((text.top + line.baseline) * scale)
    placed = list(_glyphs(face, text, number, scale))
    if not placed:
        return None
    x0, y0 = min(x for _, x, _ in placed), min(y for _, _, y in placed)
    x1, y1 = max(x + g.shape[1] for g, x, _ in placed), max(y + g.shape[0] for g, _, y in placed)
    coverage = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
    for glyph, x, y in placed:
        part = coverage[y - y0 : y - y0 + glyph.shape[0], x - x0 : x - x0 + glyph.shape[1]]
        np.maximum(part, glyph, out=part)
    # Nothing is drawn beside the picture, whatever a text asks for.
    top, left = max(0, -(baseline + y0)), max(0, -x0)
    bottom = min(coverage.shape[0], picture.height * scale - baseline - y0)
    right = min(coverage.shape[1], picture.width * scale - x0)
    if bottom <= top or right <= left:
        return None
    cut = np.ascontiguousarray(coverage[top:bottom, left:right])
    return Stamp(cut, x0 + left, baseline + y0 + top, text.ink_index)


def _glyphs(face: Typeface, text: Laid, number: int, scale: int) -> Iterator[Glyph]:
    """Each letter's coverage with its place: from the left of the picture, below the baseline."""
    line, size = text.setting.lines[number], text.setting.font * scale
    steps = steps_of(size)
    for letter, x in zip(line.text, line.xs, strict=True):
        if letter not in " \u00a0":
            place, step = divmod(round((text.left + x) * scale * steps), steps)
            glyph, left, top = face.glyph(letter, size, step)
            if glyph.size:
                yield glyph, place + left, top
