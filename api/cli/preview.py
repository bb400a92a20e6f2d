"""`nextbest preview`: how a treatment looks to a persona, in words, as a mail's HTML and as its picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from api.email.pictures import SCALES, Drawing, Pictures
from api.preview import UNKNOWN, Preview, placements_for, remarks
from api.preview import preview as previewed
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError

OUT_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("strategy_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--action", required=True, help="A key like grow/cards/gold_upgrade; or `nothing`, or `fallback`.")
@click.option("--channel", help="Where it is shown: the first placement of this channel.")
@click.option("--placement", help="Where it is shown; default: the first that shows the action.")
@click.option("--persona", default=UNKNOWN, show_default=True, help="To whom, by name or file.")
@click.option("--language", help="In which language; default: the persona's.")
@click.option("--picture", "picture_file", type=OUT_FILE, help="Write the mail's picture there, for fine screens.")
@click.option("--html", "html_file", type=OUT_FILE, help="Write the mail's HTML there.")
def preview(
    strategy_dir: Path,
    action: str,
    channel: str | None,
    placement: str | None,
    persona: str,
    language: str | None,
    picture_file: Path | None,
    html_file: Path | None,
) -> None:
    """What a placement shows of an action to a persona, drawn by what serves it."""
    strategy = load_directory(strategy_dir)
    place = _placement(strategy, action, channel, placement)
    now_ms = time.time_ns() // 1_000_000
    seen = previewed(strategy, action=action, placement=place, persona=persona, language=language, now_ms=now_ms)
    drawings = _drawings(seen)
    for line in _lines(seen, drawings):
        click.echo(line)
    if html_file is not None:
        html_file.write_text(seen.html)
    if picture_file is not None:
        if not drawings:
            raise NextbestError(f"{place} has no picture of this.")
        picture_file.write_bytes(list(drawings.values())[-1].content)


def _placement(strategy: Strategy, action: str, channel: str | None, placement: str | None) -> str:
    if placement is not None:
        return placement
    everywhere = placements_for(strategy, action)
    here = [each for each in everywhere if channel in (None, strategy.placements[each].channel)]
    if not here:
        raise NextbestError(f"{action} is not shown in the channel {channel!r}, but in {', '.join(everywhere)}")
    return here[0]


def _drawings(seen: Preview) -> dict[str, Drawing]:
    pictures = Pictures()
    return {f"picture {scale}x": seen.drawing(pictures, scale=scale) for scale in SCALES} if seen.has_picture else {}


def _lines(seen: Preview, drawings: Mapping[str, Drawing]) -> Iterator[str]:
    yield f"{seen.placement.name} in {seen.language}:"
    if seen.content is None and seen.missing is None:
        yield "  nothing: what stands there stays, in a mail an empty strip"
    for name, value in (seen.content or {}).items():
        yield from _field(name, value)
    for name, drawing in drawings.items():
        yield f"  {name}: {drawing.media_type}, {len(drawing.content)} bytes"
    for remark in remarks(seen, drawings):
        yield f"  ! {remark}"


def _field(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield f"  {name}: {value.get('label', '')} -> {value.get('url', '')}"
    elif isinstance(value, list):
        yield f"  {name}:"
        yield from (f"    - {each}" for each in value)
    else:
        yield f"  {name}: {value}"
