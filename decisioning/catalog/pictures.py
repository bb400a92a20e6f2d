"""Reads the pictures that placements declare: known fields, nothing outside the picture or on top of each other, enough
contrast.
"""

from __future__ import annotations

from collections.abc import Mapping as Names
from hashlib import sha256
from itertools import combinations
from math import floor

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.picture import (
    Area,
    Backdrop,
    Button,
    Picture,
    TextBox,
    contrast,
    contrast_min,
    luminance,
    mixed,
    rgb,
)
from decisioning.catalog.strategy import Field
from decisioning.catalog.yaml_text import Mapping, Node, Scalar

BOXES_MAX = 3
SIDE_MAX = 1200  # pixels; twice that is drawn for fine screens
_DRAWABLE = (".png", ".jpg", ".jpeg")
_WHITE, _BLACK = "#FFFFFF", "#000000"


def picture_of(node: Mapping, fields: Names[str, Field], images: Names[str, bytes], faults: Faults) -> Picture | None:
    """The picture of a placement's node, None where it declares none. images: by name below content/images."""
    if "picture" not in node.entries:
        return None
    return _Reader(node.mapping("picture"), fields, images, faults).read()


class _Reader:
    """Reads one picture."""

    def __init__(self, node: Mapping, fields: Names[str, Field], images: Names[str, bytes], faults: Faults) -> None:
        self._node = node
        self._fields = fields
        self._images = images
        self._faults = faults
        self._width, self._height = self._pixels(node)
        top, _, bottom = node.value("background", _WHITE).partition(" to ")
        self._background = (top, bottom or top)

    def read(self) -> Picture:
        """The picture; what is wrong with it is noted."""
        node = self._node
        self._check_size()
        nodes = node.mappings("boxes")
        boxes = tuple(self._box(each) for each in nodes)
        self._check_count(nodes)
        button = self._button(node.mapping("button")) if "button" in node.entries else None
        backdrop = self._backdrop(node.mapping("image")) if "image" in node.entries else None
        placed = [(each, box.area) for each, box in zip(nodes, boxes, strict=True)]
        if button is not None:
            placed.append((node.mapping("button"), button.area))
        self._check_apart(placed)
        for each, box in zip(nodes, boxes, strict=True):
            self._check_contrast(each, box, self._behind(box.area, backdrop))
        if button is not None:
            self._check_contrast(node.mapping("button"), button.label, (button.background,))
        parts = (self._width, self._height, self._background, backdrop, boxes, button)
        key = sha256(repr(parts).encode()).hexdigest()
        return Picture(self._width, self._height, self._background, backdrop, boxes, button, key, node.where)

    def _check_size(self) -> None:
        size = self._node.scalar("size")
        if size is not None and max(self._width, self._height) > SIDE_MAX:
            self._faults.add(size, f"a picture of {size.value} pixels", f"Draw at most {SIDE_MAX}x{SIDE_MAX}")

    def _check_count(self, nodes: list[Mapping]) -> None:
        for extra in nodes[BOXES_MAX:]:
            self._faults.add(extra, f"more than {BOXES_MAX} boxes", "Say less, a picture is glanced at")
        first: dict[str, Mapping] = {}
        for node in nodes:
            earlier = first.setdefault(node.value("field", ""), node)
            if earlier is not node and "field" in node.entries:
                message = f"{node.value('field')!r} is drawn already on line {earlier.line}"
                self._faults.add(node.entries["field"], message, "Draw each field once")

    def _box(self, node: Mapping) -> TextBox:
        self._check_field(node, "text")
        area = self._area(node)
        font = node.value("font", 16)
        box = TextBox(
            field=node.value("field", ""),
            area=area,
            font=font,
            font_min=self._font_min(node, font),
            weight=node.value("weight", "regular"),
            color=node.value("color", _BLACK),
            lines=node.value("lines", 1),
            align=node.value("align", "left"),
            valign=node.value("valign", "top"),
        )
        self._check_room(node, box)
        return box

    def _button(self, node: Mapping) -> Button:
        self._check_field(node, "link")
        area = self._area(node)
        radius = min(node.value("radius", 0), area.height // 2)
        font = node.value("font", 16)
        label = TextBox(
            field=node.value("field", ""),
            area=area,
            font=font,
            font_min=self._font_min(node, font),
            weight=node.value("weight", "bold"),
            color=node.value("color", _WHITE),
            lines=1,
            align=node.value("align", "left"),
            valign="middle",
        )
        self._check_room(node, label)
        return Button(label, area, node.value("background", _BLACK), radius)

    def _backdrop(self, node: Mapping) -> Backdrop | None:
        file = node.scalar("file")
        if file is None:
            return None
        if file.value not in self._images:
            self._faults.add(file, f"content/images/{file.value} does not exist", known(file.value, self._images))
        elif not file.value.endswith(_DRAWABLE):
            self._faults.add(file, f"{file.value} cannot be drawn", "Save it as png or jpg")
        area = self._area(node) if {"at", "size"} & node.entries.keys() else Area(0, 0, self._width, self._height)
        return Backdrop(file.value, area, self._images.get(file.value, b""))

    def _check_field(self, node: Mapping, kind: str) -> None:
        name = node.scalar("field")
        if name is None:
            return
        fitting = [field.name for field in self._fields.values() if field.type == kind]
        if name.value not in self._fields:
            self._faults.add(name, f"unknown field {name.value!r}", known(name.value, fitting))
        elif name.value not in fitting:
            found = self._fields[name.value].type
            self._faults.add(name, f"{name.value!r} is of type {found}, drawn here is a {kind}", known("", fitting))

    def _font_min(self, node: Mapping, font: int) -> int:
        font_min: int = node.value("font_min", font)
        if font_min > font:
            self._faults.add(node.entries["font_min"], f"font_min is above font, {font}", "Text only ever shrinks")
        return min(font_min, font)

    def _check_room(self, node: Mapping, box: TextBox) -> None:
        needed = box.height_of(box.lines, box.font_min)
        if {"at", "size", "font"} <= node.entries.keys() and needed > box.area.height + 0.5:
            lines = "a line" if box.lines == 1 else f"{box.lines} lines"
            message = f"{lines} of {box.font_min} pixels need a height of {needed:.0f}"
            self._faults.add(
                node.entries["size"], message, "Make the box higher, or take a smaller font or fewer lines"
            )

    def _area(self, node: Mapping) -> Area:
        """Where a node stands; faults when it leaves the picture."""
        width, height = self._pixels(node)
        place = [each.value for each in node.scalars("at")]
        if len(place) > 2:
            self._faults.add(node.entries["at"], f"the list has {len(place)} entries", "Write [from left, from top]")
        x, y = [*place, 0, 0][:2]
        if "at" in node.entries and (x + width > self._width or y + height > self._height):
            message = f"this ends at {x + width}, {y + height}, the picture at {self._width}, {self._height}"
            self._faults.add(node.entries["at"], message, "Move it, or make it smaller")
        return Area(x, y, width, height)

    def _pixels(self, node: Mapping) -> tuple[int, int]:
        width, _, height = node.value("size", "1x1").partition("x")
        return int(width), int(height)

    def _check_apart(self, placed: list[tuple[Mapping, Area]]) -> None:
        for (one, area), (other, other_area) in combinations(placed, 2):
            if area.overlaps(other_area) and all({"at", "size"} <= each.entries.keys() for each in (one, other)):
                message = f"this overlaps {one.value('field')!r} of line {one.line}"
                self._faults.add(other.entries["at"], message, "Move one of them, or make it smaller")

    def _behind(self, area: Area, backdrop: Backdrop | None) -> tuple[str, ...]:
        """The colours behind an area; none where a file is behind it, whose pixels `nextbest check` measures."""
        if backdrop is not None and backdrop.area.overlaps(area):
            return ()
        shares = ((area.y + area.height * step / 8) / self._height for step in range(9))
        return tuple(mixed(*self._background, min(1.0, share)) for share in shares)

    def _check_contrast(self, node: Mapping, box: TextBox, behind: tuple[str, ...]) -> None:
        place: Node | None = node.entries.get("color")
        if not behind or not isinstance(place, Scalar):
            return
        reached = min(contrast(luminance(rgb(box.color)), luminance(rgb(each))) for each in behind)
        if reached < contrast_min(box):
            rounded = floor(reached * 10) / 10  # never up to what would do
            message = f"{box.color} has a contrast of {rounded} here, {contrast_min(box):g} is readable"
            self._faults.add(
                place, message, "Take a darker colour on light, a lighter one on dark, or a larger font_min"
            )
