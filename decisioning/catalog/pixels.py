"""Pixels: how large the picture in a file is, read from its first bytes.

Nothing is decoded: a page and a mail leave room for the size that a placement declares, and a file of another shape is
cut off or blurred there. Whether the rest of the file is sound shows when it is drawn.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

Size = tuple[float, float]  # width and height; a drawing may have parts of a pixel

HEAD_BYTES = 8_192  # in which a drawing begins, behind its comments
_PNG, _GIF, _JPEG = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a"), b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's segments that begin a frame
_BARE = frozenset((0x01, *range(0xD0, 0xDA)))  # those without a length
_SVG = re.compile(rb"<svg\b[^>]*>", re.DOTALL)
_LENGTH = rb"\s%s\s*=\s*[\"']\s*([0-9.]+)(?:px)?\s*[\"']"
_VIEW_BOX = re.compile(rb"\bviewBox\s*=\s*[\"']\s*[-0-9.]+[\s,]+[-0-9.]+[\s,]+([0-9.]+)[\s,]+([0-9.]+)")


def size_of(content: bytes) -> Size | None:
    """Width and height of a PNG, GIF, JPEG, WebP or SVG; None when it is none of them, or broken."""
    try:
        return _size_of(content)
    except (struct.error, IndexError, ValueError):
        return None


def _size_of(content: bytes) -> Size | None:
    if content.startswith(_PNG):
        return struct.unpack_from(">II", content, 16)
    if content.startswith(_GIF):
        return struct.unpack_from("<HH", content, 6)
    if content.startswith(_JPEG):
        return next(_frames(content), None)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    return _svg(content)


def _frames(content: bytes) -> Iterator[Size]:
    """The size that each of a JPEG's frames states."""
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            yield width, height
        at += 2 if marker in _BARE else 1 if marker == 0xFF else 2 + struct.unpack_from(">H", content, at + 2)[0]


def _webp(content: bytes) -> Size | None:
    kind = content[12:16]
    if kind == b"VP8X":  # three bytes each, less one
        across, down = struct.unpack_from("<3s3s", content, 24)
        return 1 + int.from_bytes(across, "little"), 1 + int.from_bytes(down, "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _svg(content: bytes) -> Size | None:
    opening = _SVG.search(content, 0, HEAD_BYTES)
    if opening is None:
        return None
    width, height = (re.search(_LENGTH % name, opening.group()) for name in (b"width", b"height"))
    if width and height:
        return float(width[1]), float(height[1])
    box = _VIEW_BOX.search(opening.group())
    return (float(box[1]), float(box[2])) if box else None


def fits(name: str, size: Size, declared: tuple[int, int]) -> bool:
    """True when a file of this name and size fills the declared pixels, at any whole fineness; a drawing needs no more
    than their shape.
    """
    across, down = size[0] / declared[0], size[1] / declared[1]
    if name.endswith(".svg"):
        return abs(across - down) * max(declared) < 1  # less than a pixel on the longer side
    return across == down and across.is_integer() and across >= 1
