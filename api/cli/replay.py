"""`nextbest replay`: what was decided, decided again.

By the versions that decided it, to see that nothing differs; or under another strategy, to see what that would change
before it is published. Prints counts, actions and groups, never a value of a person.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Console

from api.cli.bars import Bars
from api.deployed import Deployed
from api.publications import stored_strategy
from api.settings import Settings
from api.shelf import Shelf
from api.storage import opened
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError
from decisioning.nouns import counted
from decisioning.records import Versions
from decisioning.store.protocol import Store

if TYPE_CHECKING:  # it comes with a library that a serving process must not carry
    from decisioning.history.replay import Comparison, Passed, Reproduction, Shift, Span

OUT = Console(highlight=False, soft_wrap=True)
ROWS_MAX = 20  # of each list on a terminal; --json has all
END_MS = 253_402_300_800_000  # the year 10000


class OneStrategy(Shelf):
    """Pairs the recorded models, in their recorded states, with one strategy for all."""

    def __init__(self, store: Store, models_dir: Path, strategy: Strategy) -> None:
        super().__init__(store, models_dir)
        self._only = strategy

    async def strategy(self, version: str) -> Strategy:
        """The one there is."""
        return self._only

    async def deployed(self, versions: Versions) -> Deployed:
        """What would decide in the place of these versions."""
        return await super().deployed(replace(versions, strategy=self._only.version))


def _ms_of(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """A day or a time as milliseconds since 1970; without a zone it is UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no day and no time. Write 2026-11-21 or 2026-11-21T09:30:00Z."
        raise click.BadParameter(message) from None
    at_ms = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= at_ms <= END_MS:
        raise click.BadParameter(f"{text!r} lies before 1970, or after the year 9999. Leave it out for no bound.")
    return at_ms


@click.command()
@click.option("--from", "from_ms", metavar="TIME", callback=_ms_of, help="Decisions from this day or time on.")
@click.option("--to", "until_ms", metavar="TIME", callback=_ms_of, help="Decisions before this day or time.")
@click.option("--strategy", "other", metavar="DIR|VERSION", help="Decide with this strategy, and say what it changes.")
@click.option("--group-by", "group_by", multiple=True, metavar="ATTRIBUTE", help="Say it for each value, too.")
@click.option("--limit", type=click.IntRange(1), help="The first so many decisions only.")
@click.option("--json", "as_json", is_flag=True, help="One object in place of text.")
def replay(
    from_ms: int | None,
    until_ms: int | None,
    other: str | None,
    group_by: tuple[str, ...],
    limit: int | None,
    as_json: bool,
) -> None:
    """Decide recorded decisions again; without --strategy, exit with 1 when any comes out differently, or none can."""
    from decisioning.history.replay import Span

    if group_by and other is None:
        raise click.UsageError("--group-by tells what --strategy changes. Name one.")
    span = Span(from_ms or 0, END_MS if until_ms is None else until_ms, limit)
    if span.from_ms >= span.until_ms:
        raise click.UsageError("--to is not after --from. Swap them, or give a later --to.")
    if other is None:
        found = asyncio.run(_reproduced(span))
        _tell(_reproduction_as_json(found), _reproduction_as_text(found), as_json=as_json)
        sys.exit(0 if _is_sound(found) else 1)
    strategy, compared = asyncio.run(_compared(span, other, group_by))
    _tell(_comparison_as_json(compared, group_by), _comparison_as_text(compared, strategy, group_by), as_json=as_json)


async def _reproduced(span: Span) -> Reproduction:
    from decisioning.history.replay import reproduce

    settings = Settings.from_environment()
    async with opened(settings) as store:
        shelf = Shelf(store, settings.models_dir)
        with Bars() as bars:
            found = await reproduce(settings.history_dir, store, shelf, span, bars.of("decisions"))
    _check_any(found.passed, settings.history_dir)
    return found


def _is_sound(found: Reproduction) -> bool:
    """False where something differs, cannot be read, or nothing was left that could have differed."""
    passed = found.passed
    return not (found.differing or passed.unreadable or (passed.gone and not found.reproduced))


async def _compared(span: Span, other: str, group_by: Sequence[str]) -> tuple[Strategy, Comparison]:
    from decisioning.history.replay import check_groups, compare

    settings = Settings.from_environment()
    async with opened(settings) as store:
        strategy = load_directory(other) if Path(other).is_dir() else await stored_strategy(store, other)
        check_groups(strategy, group_by)
        shelf = OneStrategy(store, settings.models_dir, strategy)
        with Bars() as bars:
            report = bars.of("decisions")
            found = await compare(settings.history_dir, store, shelf, span, report, group_by=group_by)
    _check_any(found.passed, settings.history_dir)
    return strategy, found


def _check_any(passed: Passed, history_dir: Path) -> None:
    if not passed.decisions:
        raise NextbestError(f"{history_dir}: no decisions of that time. Does the worker write there?")


def _tell(document: dict[str, Any], lines: Iterator[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    for line in lines:
        OUT.print(line, markup=False)


def _reproduction_as_json(found: Reproduction) -> dict[str, Any]:
    differences = [each._asdict() for each in found.differences]
    return _fields(found.passed) | {
        "reproduced": found.reproduced,
        "differing": found.differing,
        "differences": differences,
    }


def _reproduction_as_text(found: Reproduction) -> Iterator[str]:
    yield from _passed_as_text(found.passed)
    yield f"{found.reproduced:,} came out the same, {found.differing:,} differently"
    for each in found.differences[:ROWS_MAX]:
        yield f"  {each.decision_id} {each.placement}: {each.name} was {each.recorded!r}, now {each.again!r}"
    if found.differing > ROWS_MAX:
        yield f"  and {found.differing - ROWS_MAX:,} more"


def _passed_as_text(passed: Passed) -> Iterator[str]:
    yield (
        f"{counted(passed.decisions, 'decision')} of history, the last of {_time(passed.newest_ms)}; "
        "what the worker has not moved yet is not among them"
    )
    if passed.unreadable:
        yield f"{passed.unreadable:,} not decided again: the record lacks what the service writes"
    if passed.erased:
        yield f"{passed.erased:,} not decided again: the customer was erased"
    for missing, count in passed.gone.most_common():
        yield f"{count:,} not decided again: {missing}"


def _comparison_as_json(found: Comparison, group_by: Sequence[str]) -> dict[str, Any]:
    groups = [
        {"group": dict(zip(group_by, values, strict=True)), **_shift_as_json(shift)}
        for values, shift in found.groups.items()
    ]
    return {
        **_fields(found.passed),
        "decided": found.decided,
        "unaskable": found.unaskable,
        "overall": _shift_as_json(found.overall),
        "groups": groups,
    }


def _shift_as_json(shift: Shift) -> dict[str, Any]:
    moves = [{"from": was, "to": now, "placements": count} for (was, now), count in shift.moves.most_common()]
    return {**_fields(shift), "moves": moves}


def _fields(value: Passed | Shift) -> dict[str, Any]:
    named = [each.name for each in fields(value) if each.name != "persons"]
    return {name: getattr(value, name) for name in named}  # asdict cannot copy a Counter


def _comparison_as_text(found: Comparison, strategy: Strategy, group_by: Sequence[str]) -> Iterator[str]:
    yield from _passed_as_text(found.passed)
    for why, count in found.unaskable.most_common():
        yield f"{count:,} not decided again: {why}"
    yield f"{found.decided:,} decided again by {strategy.name} {strategy.version[:12]}, each alone:"
    yield f"  {_summary(found.overall, strategy.currency)}"
    yield from _by_action(found.overall)
    moves = found.overall.moves.most_common(ROWS_MAX)
    yield from (f"  {was} -> {now}  {count:,}" for (was, now), count in moves)
    largest = sorted(found.groups.items(), key=lambda each: -each[1].placements)
    for values, shift in largest[:ROWS_MAX]:
        named = ", ".join(f"{path}={value}" for path, value in zip(group_by, values, strict=True))
        yield f"{named}: {_summary(shift, strategy.currency)}"
        yield from _by_action(shift)
    if len(largest) > ROWS_MAX:
        yield f"and {len(largest) - ROWS_MAX:,} smaller groups"


def _summary(shift: Shift, currency: str) -> str:
    gain = shift.value_after - shift.value_before
    return (
        f"{shift.changed:,} of {shift.placements:,} placements change; the {shift.valued:,} that are drawn both times "
        f"are worth {shift.value_before:,.2f} before and {shift.value_after:,.2f} after, {gain:+,.2f} {currency}"
    )


def _by_action(shift: Shift) -> Iterator[str]:
    """What is shown more or less often, the largest change first."""
    shown = {*shift.before, *shift.after}
    changed = sorted((shift.after[each] - shift.before[each], each) for each in shown)
    for gain, each in sorted(changed, key=lambda row: -abs(row[0]))[:ROWS_MAX]:
        if gain:
            yield f"  {each}: {shift.before[each]:,} before, {shift.after[each]:,} after ({gain:+,})"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
