"""Chart: lines on two axes as SVG, readable in a browser and in a page of documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
COLOURS = ("#1B5560", "#C2571A", "#5B4B9A", "#3B7A2A", "#A3294F", "#555555", "#B08900", "#0077AA")

Points = Sequence[tuple[float, float]]


class Axis:
    """A logarithmic or linear scale of numbers onto pixels."""

    def __init__(self, numbers: Sequence[float], start: float, end: float, *, is_log: bool) -> None:
        self._start, self._end, self._is_log = start, end, is_log
        low, high = min(numbers), max(numbers)
        if is_log:
            self.ticks = [10.0**power for power in range(floor(log10(low)), ceil(log10(high * 1.000001)) + 1)]
        else:
            step = _round_step(max(high, 1e-9) / 5)
            self.ticks = [step * index for index in range(ceil(high / step) + 1)]
        self._low, self._high = self._scaled(self.ticks[0]), self._scaled(self.ticks[-1])

    def pixel(self, number: float) -> float:
        """Where a number lies."""
        share = (self._scaled(number) - self._low) / ((self._high - self._low) or 1.0)
        return round(self._start + share * (self._end - self._start), 1)

    def _scaled(self, number: float) -> float:
        return log10(number) if self._is_log else number


def chart(title: str, x_name: str, y_name: str, lines: Mapping[str, Points], *, log_x: bool, log_y: bool) -> str:
    """An SVG document; a line without points is left out. Raises ValueError when there are no points at all."""
    drawn = {name: points for name, points in lines.items() if points}
    if not drawn:
        raise ValueError("a chart needs points")
    x_axis = Axis([x for points in drawn.values() for x, _ in points], LEFT, WIDTH - RIGHT, is_log=log_x)
    y_axis = Axis([y for points in drawn.values() for _, y in points], HEIGHT - BOTTOM, TOP, is_log=log_y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 22, title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name, anchor="middle"),
        _text(LEFT, TOP - 6, y_name, anchor="end"),
        *(_grid_x(x_axis.pixel(tick), tick) for tick in x_axis.ticks),
        *(_grid_y(y_axis.pixel(tick), tick) for tick in y_axis.ticks),
        *(_line(index, name, points, x_axis, y_axis) for index, (name, points) in enumerate(drawn.items())),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _line(index: int, name: str, points: Points, x_axis: Axis, y_axis: Axis) -> str:
    colour = COLOURS[index % len(COLOURS)]
    path = " ".join(f"{x_axis.pixel(x)},{y_axis.pixel(y)}" for x, y in points)
    dashes = "" if index < len(COLOURS) else ' stroke-dasharray="5 3"'
    end = WIDTH - RIGHT + 12
    y = TOP + 12 + 18 * index
    sample = f'<line x1="{end}" x2="{end + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2"{dashes}/>'
    label = _text(end + 24, y, name, colour=colour)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>{sample}{label}'


def _grid_x(x: float, tick: float) -> str:
    line = f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
    return line + _text(x, HEIGHT - BOTTOM + 18, f"{tick:g}", anchor="middle")


def _grid_y(y: float, tick: float) -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>'
    return line + _text(LEFT - 8, y + 4, f"{tick:g}", anchor="end")


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large."""
    power = 10.0 ** floor(log10(rough))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999999))
