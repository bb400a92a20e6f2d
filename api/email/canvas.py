"""Canvas: the part of a picture that is the same for everyone, drawn once, and texts put onto copies of it.

A canvas of few colours stays indexed: each text gets a ramp of colours from what is behind it to its own, and putting
it down is a look-up by index and coverage. That is exact, never needs to search for a palette, and compresses to a
third of what full colours do. A canvas with a photograph is kept in full colours and becomes a JPEG.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decisioning.catalog.picture import Area, Picture, rgb

PNG, JPEG = "image/png", "image/jpeg"
BYTES_MAX = 60_000  # of one picture: what mail readers load without a second thought
BASE_COLORS_MAX = 144  # the rest of the 256 is for the edges of letters
DISTINCT_COLORS_MAX = 20_000  # what has more is a photograph without a second look
ERROR_MAX = 2.5  # root mean square, of 255, that fewer colours may cost a canvas before it is taken for a photograph
QUALITIES = (90, 84, 76, 66, 54, 42, 30, 20)
LARGE_PIXELS, LARGE_QUALITY = 300_000, 4  # from so many pixels on, the position among QUALITIES to begin with
COMPRESSION = 5
FILE_PIXELS_MAX = 16_000_000  # of a backdrop: read, it takes four times as many bytes
STEPS_MIN, STEPS_MAX = 8, 32  # of a ramp: shades of an edge

Indexes = NDArray[np.uint8]
Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Coverage (0..255) to be put down in a colour, and where its upper left corner comes to lie."""

    coverage: NDArray[np.uint8]
    x: int
    y: int
    ink: int  # which of the picture's inks


@dataclass(frozen=True, slots=True)
class Canvas:
    """What all drawings of a picture at one scale share."""

    inks: tuple[str, ...]  # the colours that stamps are put down in
    photograph: Image.Image | None  # in full colours
    indexes: Indexes | None  # or by palette, each row behind a zero that says how PNG filters it: not at all
    palette: NDArray[np.uint8]  # [256, 3]
    ramps: tuple[NDArray[np.uint8], ...]  # per ink: [256 * 256], by what is there and coverage
    quality_index: int = 0  # the quality at which the canvas alone leaves room for texts; what is drawn begins there

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        full = 0 if self.photograph is None else self.photograph.width * self.photograph.height * 3
        return full + (0 if self.indexes is None else self.indexes.nbytes) + sum(ramp.nbytes for ramp in self.ramps)

    def image(self) -> Image.Image:
        """The canvas alone, in full colours; the caller's own."""
        if self.indexes is not None:
            return _full(self.indexes, self.palette)
        assert self.photograph is not None
        return self.photograph.copy()

    def printed(self, stamps: list[Stamp], *, as_jpeg: bool = False) -> tuple[bytes, str]:
        """A picture with the stamps on it, and its media type: a PNG, or where that is too large, or not asked for, a
        JPEG.
        """
        if self.indexes is None:
            image = self.image()
            for stamp in stamps:
                height, width = stamp.coverage.shape
                mask = Image.frombytes("L", (width, height), stamp.coverage.tobytes())
                image.paste(rgb(self.inks[stamp.ink]), (stamp.x, stamp.y), mask)
            return _jpeg(image, self.quality_index)[0], JPEG
        indexes = self.indexes.copy()
        for stamp in stamps:
            _stamp(indexes[:, 1:], stamp, self.ramps[stamp.ink])
        if not as_jpeg and len(content := _png(indexes, self.palette)) <= BYTES_MAX:
            return content, PNG
        return jpeg(_full(indexes, self.palette)), JPEG


def jpeg(image: Image.Image) -> bytes:
    """A JPEG that is small enough. Large ones begin at a lower quality: each one tried costs milliseconds."""
    return _jpeg(image, 0 if image.width * image.height <= LARGE_PIXELS else LARGE_QUALITY)[0]


def _full(indexes: Indexes, palette: NDArray[np.uint8]) -> Image.Image:
    """Rows of indexes, each behind its filter, in full colours."""
    image = Image.fromarray(np.ascontiguousarray(indexes[:, 1:]), "P")
    image.putpalette(palette.tobytes())
    return image.convert("RGB")


def _jpeg(image: Image.Image, first: int, bytes_max: int = BYTES_MAX) -> tuple[bytes, int]:
    """A JPEG of the best quality, from the first of QUALITIES that may be tried, that is small enough; and which."""
    for index in range(first, len(QUALITIES)):
        buffer, quality = io.BytesIO(), QUALITIES[index]
        image.save(buffer, "JPEG", quality=quality, subsampling=0 if quality > 60 else 2)
        if buffer.tell() <= bytes_max:
            break
    return buffer.getvalue(), index


def canvas_of(picture: Picture, scale: int) -> Canvas:
    """The canvas of a picture; its inks are those of `texts` in order, then the button's. Raises ValueError when the
    file of its backdrop is no picture.
    """
    base = _base(picture, scale)
    inks = [box.color for box in picture.texts]
    if picture.button is not None:
        inks.append(picture.button.background)
    indexed = _indexed(base)
    if indexed is None or len(zlib.compress(indexed[0].data, COMPRESSION)) > BYTES_MAX * 3 // 4:
        _, quality_index = _jpeg(base, 0, BYTES_MAX * 3 // 4)
        return Canvas(tuple(inks), base, None, np.empty((0, 3), np.uint8), (), quality_index)
    indexes, colors = indexed
    framed = np.zeros((base.height, base.width + 1), dtype=np.uint8)
    framed[:, 1:] = indexes
    palette, ramps = _ramps(inks, _grounds(picture, indexes, colors, scale), colors)
    return Canvas(tuple(inks), None, framed, palette, ramps)


def flat(width: int, height: int, color: str, rule: str | None = None) -> bytes:
    """A PNG of one colour, with a thin rule through its middle if a colour is given."""
    indexes = np.zeros((height, width + 1), dtype=np.uint8)
    palette = np.array([rgb(color), rgb(rule or color)], dtype=np.uint8)
    if rule is not None:
        margin, thickness = width // 16, max(1, width // 600)
        top = (height - thickness) // 2
        indexes[top : top + thickness, 1 + margin : 1 + width - margin] = 1
    return _png(indexes, palette)


def _base(picture: Picture, scale: int) -> Image.Image:
    """Background and file, opaque whatever the file is."""
    width, height = picture.width * scale, picture.height * scale
    ends = np.array([rgb(color) for color in picture.background], dtype=np.float64)
    share = np.linspace(0.0, 1.0, height)[:, None]
    rows = np.rint(ends[0] + (ends[1] - ends[0]) * share).astype(np.uint8)
    base = Image.fromarray(np.ascontiguousarray(np.broadcast_to(rows[:, None, :], (height, width, 3))), "RGB")
    backdrop = picture.backdrop
    if backdrop is not None:
        area = backdrop.area
        try:
            with Image.open(io.BytesIO(backdrop.content), formats=("PNG", "JPEG")) as file:
                if file.width * file.height > FILE_PIXELS_MAX:
                    raise OSError(f"it has {file.width} x {file.height} pixels, {FILE_PIXELS_MAX:,} are enough")
                fitted = _covering(file.convert("RGBA"), area.width * scale, area.height * scale)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"content/images/{backdrop.file} cannot be read as a picture: {error}") from error
        base.paste(fitted, (area.x * scale, area.y * scale), fitted)
    return base


def _covering(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of an image, as much as fills the size."""
    factor = max(width / image.width, height / image.height)
    left, top = (image.width - width / factor) / 2, (image.height - height / factor) / 2
    box = (left, top, left + width / factor, top + height / factor)
    return image.resize((width, height), Image.Resampling.HAMMING, box=box)


def _indexed(base: Image.Image) -> tuple[Indexes, NDArray[np.uint8]] | None:
    """The image by palette, None when few colours would not do it justice."""
    packed = np.asarray(base).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    codes, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    if len(codes) > DISTINCT_COLORS_MAX:
        return None
    found = np.stack([codes >> 16, codes >> 8, codes], axis=1).astype(np.uint8)
    colors = found if len(found) <= BASE_COLORS_MAX else _fewer(found, counts)
    nearest = _nearest(found, colors)
    error = ((colors[nearest].astype(np.float64) - found) ** 2).mean(axis=1) @ counts / counts.sum()
    if error > ERROR_MAX**2:
        return None
    return nearest[places.reshape(-1)].reshape(base.height, base.width).astype(np.uint8), colors


def _fewer(colors: NDArray[np.uint8], counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A palette for these colours. Rare ones count for more than their pixels: they are the edges of shapes, and one
    missing shade there is seen before ten in a sky.
    """
    weights = np.ceil((counts * (100_000 / counts.sum())) ** 0.4).astype(np.int64)
    sample = np.repeat(colors, weights, axis=0)[None]
    few = Image.fromarray(np.ascontiguousarray(sample), "RGB").quantize(
        BASE_COLORS_MAX, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE
    )
    palette = np.array(few.getpalette(), dtype=np.uint8).reshape(-1, 3)
    return np.unique(palette, axis=0)[:BASE_COLORS_MAX]


def _nearest(colors: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each colour the position of the nearest in the palette."""
    nearest = np.empty(len(colors), dtype=np.int64)
    target = palette.astype(np.int32)
    for start in range(0, len(colors), 4_096):  # not all distances at once
        part = colors[start : start + 4_096].astype(np.int32)
        nearest[start : start + 4_096] = ((part[:, None, :] - target[None]) ** 2).sum(axis=2).argmin(axis=1)
    return nearest


def _grounds(picture: Picture, indexes: Indexes, colors: NDArray[np.uint8], scale: int) -> list[dict[int, Color]]:
    """For each ink, the colours it is put down on, by index; a button's label stands on the button alone."""

    def within(area: Area) -> dict[int, Color]:
        rows = slice(area.y * scale, (area.y + area.height) * scale)
        part = indexes[rows, area.x * scale : (area.x + area.width) * scale]
        return {int(index): _color(colors[index]) for index in np.unique(part)}

    grounds = [within(box.area) for box in picture.boxes]
    if picture.button is not None:
        grounds += [{0: rgb(picture.button.background)}, within(picture.button.area)]
    return grounds


def _ramps(
    inks: list[str], grounds: list[dict[int, Color]], colors: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], tuple[NDArray[np.uint8], ...]]:
    """The palette with the edges of letters in it, and for each ink the table that finds them.

    Grounds that differ little share a ramp: nobody sees the difference in pixels that are mostly letter.
    """
    entries = [_color(color) for color in colors]
    budget = (256 - len(entries)) // max(1, len(inks))
    tables = []
    for ink, ground in zip(inks, grounds, strict=True):
        bands = _bands(ground, budget // STEPS_MIN)
        steps = min(STEPS_MAX, budget // len(bands))
        table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, axis=1)
        step_of = np.rint(np.arange(256) * steps / 255).astype(np.int64)
        for number, band in enumerate(bands):
            mean = np.mean([ground[index] for index in band], axis=0)
            shades = [mean + (np.array(rgb(ink)) - mean) * step / steps for step in range(1, steps + 1)]
            first = len(entries)
            entries += [_color(np.rint(shade)) for shade in shades]
            found = (first + step_of - 1).astype(np.uint8)
            rows = np.arange(256) if number == 0 else np.array(band)
            table[rows] = np.where(step_of > 0, found, table[rows])
        tables.append(table.reshape(-1))
    palette = np.array(entries, dtype=np.uint8)
    return palette, tuple(tables)


def _bands(ground: dict[int, Color], count_max: int) -> list[list[int]]:
    """Indexes in groups of colours that are alike, from dark to light."""
    order = sorted(ground, key=lambda index: sum(ground[index]))
    for reach in (12, 24, 48, 96, 768):
        bands: list[list[int]] = []
        for index in order:
            if bands and max(abs(a - b) for a, b in zip(ground[bands[-1][0]], ground[index], strict=True)) <= reach:
                bands[-1].append(index)
            else:
                bands.append([index])
        if len(bands) <= max(1, count_max):
            break
    return bands


def _stamp(indexes: NDArray[np.uint8], stamp: Stamp, ramp: NDArray[np.uint8]) -> None:
    height, width = stamp.coverage.shape
    under = indexes[stamp.y : stamp.y + height, stamp.x : stamp.x + width]
    under[:] = ramp[(under.astype(np.uint16) << 8) | stamp.coverage]


def _color(color: NDArray[Any]) -> Color:
    red, green, blue = (int(part) for part in color)
    return red, green, blue


def _png(indexes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """An indexed PNG of rows that begin with a zero; Pillow would copy them twice and try filters that gain nothing."""
    height, width = indexes.shape[0], indexes.shape[1] - 1
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    data = zlib.compress(indexes.data, COMPRESSION)
    chunks = ((b"IHDR", head), (b"PLTE", palette.tobytes()), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
