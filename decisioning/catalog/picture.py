"""Pictures: how a placement in a mail is drawn from its content, because a mail that is out can still fetch a picture.

Plain values and their geometry; nothing is drawn here. `pictures.py` reads them from a strategy, the service draws.
Lengths are pixels at simple scale, the origin is the upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass

LINE_TOP = 0.969  # of the font size: what a line reaches above its baseline, accents of capitals included
LINE_BOTTOM = 0.242  # and below it
LEADING = {"regular": 1.42, "bold": 1.2}  # from baseline to baseline
LARGE_TEXT = {"regular": 24.0, "bold": 18.66}  # from here on less contrast will do (WCAG 2.2, 1.4.3)


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle."""

    x: int
    y: int
    width: int
    height: int

    def overlaps(self, other: Area) -> bool:
        """True when they have a pixel in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True, slots=True)
class TextBox:
    """Where a text field is set, and how. It shrinks from `font` to `font_min` before it may do without a word."""

    field: str
    area: Area
    font: int
    font_min: int
    weight: str  # regular or bold
    color: str
    lines: int  # at most
    align: str  # left, center or right
    valign: str  # top, middle or bottom

    def height_of(self, lines: int, font: float) -> float:
        """What so many lines need."""
        return font * (LINE_TOP + LINE_BOTTOM + (lines - 1) * LEADING[self.weight])


@dataclass(frozen=True, slots=True)
class Button:
    """Where the label of a link stands. It is as wide as its label needs, `area.width` at most."""

    label: TextBox
    area: Area
    background: str
    radius: int


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A file of content/images behind the texts; it covers its area, what stands over is cut off."""

    file: str
    area: Area
    content: bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn of a placement's content."""

    width: int
    height: int
    background: tuple[str, str]  # from top to bottom
    backdrop: Backdrop | None
    boxes: tuple[TextBox, ...]
    button: Button | None
    key: str  # names all of the above: pictures with the same key are drawn alike
    where: str  # file:line:column

    @property
    def texts(self) -> tuple[TextBox, ...]:
        """Everything that shows a text, the button's label last."""
        return self.boxes if self.button is None else (*self.boxes, self.button.label)


def rgb(color: str) -> tuple[int, int, int]:
    """The parts of #RRGGBB."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def mixed(one: str, other: str, share: float) -> str:
    """A colour on the way from one to the other."""
    parts = (round(a + (b - a) * share) for a, b in zip(rgb(one), rgb(other), strict=True))
    return "#" + "".join(f"{part:02X}" for part in parts)


def luminance(color: tuple[int, int, int]) -> float:
    """How light a colour is, 0..1 (WCAG 2.2)."""
    parts = [part / 255 for part in color]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """The contrast of two luminances, 1..21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def contrast_min(box: TextBox) -> float:
    """What people with weak sight need to read the box, at the size it may shrink to."""
    return 3.0 if box.font_min >= LARGE_TEXT[box.weight] else 4.5
