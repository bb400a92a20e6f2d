"""The model card as one HTML page: no scripts, nothing loaded from elsewhere, light or dark as the reader's system is.

Curves are inline SVG with a description and the numbers in a table below, so that nothing is only in a picture.
Neighbour: card.py says what is on the card.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise

from models.card import Card, Curve, Table, sections_of, tabled, title_of

WIDTH, HEIGHT, MARGIN = 560, 360, 48  # of a chart, in its own units
TICKS = 5
NICE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # distances between ticks
STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #667085; --line: #e4e7ec; --paper: #ffffff;
  --accent: #2f5fd0; --wash: #f6f8fb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --quiet: #98a2b3; --line: #2b3340; --paper: #12161d;
  --accent: #8ab0ff; --wash: #1a202a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.02em; margin: 0 0 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 3rem 0 0.75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
p { margin: 0 0 0.6rem; max-width: 46rem; overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
figcaption { color: var(--quiet); font-size: 0.875rem; }
svg { display: block; width: 100%; max-width: 35rem; height: auto; }
svg text { fill: var(--quiet); font-size: 12px; }
.axis { stroke: var(--line); stroke-width: 1; }
.straight { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 4 4; }
.curve { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
.interval { stroke: var(--accent); stroke-width: 1; opacity: 0.5; }
.point { fill: var(--accent); }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { text-align: right; padding: 0.4rem 0.75rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
thead th { color: var(--quiet); font-weight: 500; }
th, td { white-space: nowrap; }
.words td { white-space: normal; }
tbody th { font-weight: 500; text-align: left; min-width: 10rem; overflow-wrap: break-word; }
tbody tr:hover { background: var(--wash); }
summary { cursor: pointer; color: var(--quiet); font-size: 0.875rem; }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; } }
"""


def as_html(card: Card) -> str:
    """The card as one HTML document."""
    title = escape(title_of(card))
    body = [f"<h1>{title}</h1>"]
    for number, section in enumerate(sections_of(card)):
        body.append(f'<section aria-labelledby="s{number}"><h2 id="s{number}">{escape(section.title)}</h2>')
        body += [_written(block) for block in section.blocks]
        body.append("</section>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _written(block: str | Table | Curve) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    return _table(block) if isinstance(block, Table) else _figure(block)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = [
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in table.rows
    ]
    words = ' class="words"' if len(table.head) == 2 else ""  # two columns hold a name and words about it
    return (
        f'<div class="scroll" tabindex="0"><table{words}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _figure(curve: Curve) -> str:
    caption = f"{curve.name}. The dashed line: {curve.straight}."
    numbers = f"<details><summary>The numbers</summary>{_table(tabled(curve))}</details>"
    return f"<figure>{_chart(curve)}<figcaption>{escape(caption)}</figcaption>{numbers}</figure>"


def _chart(curve: Curve) -> str:
    largest = max((max(x, y) for x, y in curve.points), default=1.0)
    largest = max([largest, *(high for _, high in curve.intervals)])
    step = next((step for step in NICE if step * TICKS >= largest), NICE[-1])
    top = step * TICKS
    parts = [*_axes(curve, step, top), _line("straight", (0.0, 0.0), (top, top), top)]
    parts += [
        _line("interval", (x, max(0.0, low)), (x, high), top)
        for (x, _), (low, high) in zip(curve.points, curve.intervals, strict=False)
    ]
    parts += [_line("curve", start, end, top) for start, end in pairwise(curve.points)]
    parts += [f'<circle class="point" cx="{_x(x, top)}" cy="{_y(y, top)}" r="3"/>' for x, y in curve.points]
    name = f"{curve.name}: {curve.y_name} by {curve.x_name}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name, quote=True)}">'
        f"<title>{escape(name)}</title>{''.join(parts)}</svg>"
    )


def _axes(curve: Curve, step: float, top: float) -> list[str]:
    parts = []
    for tick in (step * number for number in range(TICKS + 1)):
        label = f"{100 * tick:g} %"
        parts.append(_line("axis", (0.0, tick), (top, tick), top))
        parts.append(f'<text x="{MARGIN - 8}" y="{_y(tick, top) + 4:.1f}" text-anchor="end">{label}</text>')
        parts.append(f'<text x="{_x(tick, top)}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{WIDTH - 12}" y="{HEIGHT - 8}" text-anchor="end">{escape(curve.x_name)}</text>')
    parts.append(f'<text x="0" y="14">{escape(curve.y_name)}</text>')
    return parts


def _line(kind: str, start: tuple[float, float], end: tuple[float, float], top: float) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{kind}" x1="{_x(x1, top)}" y1="{_y(y1, top)}" x2="{_x(x2, top)}" y2="{_y(y2, top)}"/>'


def _x(share: float, top: float) -> float:
    return round(MARGIN + share / top * (WIDTH - MARGIN - 24), 1)


def _y(share: float, top: float) -> float:
    return round(HEIGHT - MARGIN - share / top * (HEIGHT - MARGIN - 28), 1)
