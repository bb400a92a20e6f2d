"""Pictures for these tests."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from decisioning.catalog.picture import Area, Backdrop, Button, Picture, TextBox


def box(field: str = "headline", area: Area | None = None, **changes: Any) -> TextBox:
    """A box of two lines."""
    plain = TextBox(
        field=field,
        area=area or Area(20, 20, 300, 70),
        font=24,
        font_min=14,
        weight="regular",
        color="#111111",
        lines=2,
        align="left",
        valign="top",
    )
    return replace(plain, **changes)


def button(area: Area | None = None, **changes: Any) -> Button:
    """A green button with a white label."""
    area = area or Area(20, 140, 200, 40)
    label = box("cta", area, font=16, weight="bold", color="#FFFFFF", lines=1, valign="middle", **changes)
    return Button(label, area, "#1B5560", 8)


def picture(*boxes: TextBox, **changes: Any) -> Picture:
    """A white picture of 600x200; a text and a button unless boxes are given."""
    plain = Picture(
        width=600,
        height=200,
        background=("#FFFFFF", "#FFFFFF"),
        backdrop=None,
        boxes=boxes or (box(),),
        button=None if boxes else button(),
        key="",
        where="placements.yaml:1:1",
    )
    changed = replace(plain, **changes)
    return replace(changed, key=sha256(repr(changed).encode()).hexdigest())


def backdrop(content: bytes, area: Area | None = None) -> Backdrop:
    """A file behind everything, or behind an area."""
    return Backdrop("sun.png", area or Area(0, 0, 600, 200), content)
