"""Flames: sampled stacks as an SVG, widths by share of samples, without a script so that it shows everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

WIDTH, ROW, TOP = 1200, 17, 56
SHARE_MIN = 0.003  # of all samples; narrower ones would be a pixel or three
CHAR_WIDTH = 6.2
# What a frame belongs to, by the beginning of its file; the rest is frameworks and the standard library.
COLOURS = {"rules/": "#F2C14E", "models/": "#9BC53D", "decisioning/store/": "#8FB8DE", "decisioning/": "#E4572E",
           "api/": "#C9A0DC", "": "#D0D0D0"}  # fmt: skip
NAMESPACE = "http://www.w3.org/2000/svg"
REST = "frameworks, standard library"

Stacks = Mapping[tuple[str, ...], int]


@dataclass(slots=True)
class Frame:
    """A function called by those above it, and how many samples met it."""

    samples: int = 0
    below: dict[str, Frame] = field(default_factory=dict)


def flame_graph(title: str, stacks: Stacks) -> str:
    """An SVG document; callers lie above what they call, and what all have in common is left out.

    Raises ValueError when there are no samples.
    """
    root = Frame()
    for stack, count in stacks.items():
        frame = root
        frame.samples += count
        for name in stack:
            frame = frame.below.setdefault(name, Frame())
            frame.samples += count
    if not root.samples:
        raise ValueError("a flame graph needs samples")
    while len(root.below) == 1 and (only := next(iter(root.below.values()))).samples == root.samples and only.below:
        root = only
    rows: list[str] = []
    depth = _draw(root, 0, 0.0, root.samples, rows)
    height = TOP + ROW * (depth + 1)
    return "\n".join([
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="20" font-size="15">{escape(title)}, {root.samples:,} samples</text>',
        *_legend(),
        *rows,
        "</svg>\n",
    ])  # fmt: skip


def _draw(frame: Frame, depth: int, x: float, total: int, rows: list[str]) -> int:
    """Draw what a frame calls, widest first; the deepest row it came to."""
    deepest = depth
    for name, each in sorted(frame.below.items(), key=lambda item: -item[1].samples):
        share = each.samples / total
        if share < SHARE_MIN:
            break
        rows.append(_box(name, share, depth, x))
        deepest = max(deepest, _draw(each, depth + 1, x, total, rows))
        x += share * WIDTH
    return deepest


def _box(name: str, share: float, depth: int, x: float) -> str:
    y, width = TOP + ROW * depth, share * WIDTH
    room = int((width - 4) / CHAR_WIDTH)
    function = name.partition(" (")[0]
    shown = function if len(function) <= room else f"{function[: room - 1]}…" if room > 3 else ""
    text = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(shown)}</text>' if shown else ""
    return (
        f'<g><title>{escape(name)}: {share:.1%}</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.5):.1f}" '
        f'height="{ROW - 1}" fill="{_colour(name)}"/>{text}</g>'
    )


def _colour(name: str) -> str:
    file = name.partition("(")[2]
    return next(colour for start, colour in COLOURS.items() if file.startswith(start))


def _legend() -> list[str]:
    return [
        f'<rect x="{8 + 190 * index}" y="30" width="12" height="12" fill="{colour}"/>'
        f'<text x="{24 + 190 * index}" y="40">{escape(start or REST)}</text>'
        for index, (start, colour) in enumerate(COLOURS.items())
    ]
