"""`nextbest check`: everything that is wrong, suspicious or untested in a strategy, for people, tools and code reviews.

Faults, unmet expectations of personas and pictures that cannot be drawn as meant fail the command; warnings and gaps of
coverage are told and do not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from api.email.inspection import inspect
from decisioning.catalog.faults import Fault
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.coverage import Coverage, coverage
from decisioning.errors import StrategyFaulty
from decisioning.nouns import counted
from decisioning.personas import Failure, failures


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be said of one strategy directory; without a strategy there are faults and nothing else."""

    directory: Path
    strategy: Strategy | None
    faults: Sequence[Fault]
    unmet: Sequence[Failure]
    pictures: Sequence[Fault]  # what cannot be shown in a mail as it was meant
    coverage: Coverage | None
    lists_unflipped: bool

    @property
    def warnings(self) -> Sequence[Fault]:
        """What loads, but cannot be what its author meant."""
        return self.strategy.warnings if self.strategy else ()

    @property
    def is_sound(self) -> bool:
        """True when the strategy may be published."""
        return not self.faults and not self.unmet and not self.pictures


def examine(directory: Path, *, lists_unflipped: bool) -> Report:
    """Load a strategy, meet its personas and draw its pictures."""
    now_ms = time.time_ns() // 1_000_000
    try:
        strategy = load_directory(directory)
    except StrategyFaulty as error:
        return Report(directory, None, error.faults, (), (), None, lists_unflipped)
    unmet, covered = failures(strategy, now_ms=now_ms), coverage(strategy, now_ms=now_ms)
    pictures = inspect(strategy, now_ms=now_ms)
    return Report(directory, strategy, (), unmet, pictures, covered, lists_unflipped)


def as_text(report: Report) -> Iterator[str]:
    """One line each, faults first."""
    yield from map(str, report.faults)
    yield from (f"{warning} (warning)" for warning in report.warnings)
    yield from map(str, report.unmet)
    yield from map(str, report.pictures)
    if report.coverage and report.lists_unflipped:
        yield from map(str, report.coverage.unflipped)
    if report.strategy is None or report.coverage is None:
        yield f"{counted(len(report.faults), 'fault')}; nothing was tried"
        return
    strategy, covered = report.strategy, report.coverage
    yield (
        f"{strategy.name} {strategy.version[:12]}: {counted(len(strategy.actions), 'action')}, "
        f"{counted(len(strategy.placements), 'placement')}, {counted(len(strategy.warnings), 'warning')}"
    )
    unmet = f", {counted(len(report.unmet), 'expectation')} unmet" if report.unmet else " as expected"
    flipped_count = covered.predicate_count - len(covered.unflipped)
    yield f"{counted(len(strategy.personas), 'persona')}{unmet}"
    yield f"coverage {covered.share:.0%}: {flipped_count} of {counted(covered.predicate_count, 'predicate')} flipped"


def as_json(report: Report) -> Iterator[str]:
    """One object; files are relative to the strategy's directory."""
    unflipped = report.coverage.unflipped if report.coverage and report.lists_unflipped else ()
    document = {
        "faults": [asdict(fault) for fault in report.faults],
        "warnings": [asdict(warning) for warning in report.warnings],
        "personas": [{**_place(each.where), "persona": each.persona, "message": each.message} for each in report.unmet],
        "pictures": [asdict(fault) for fault in report.pictures],
        "coverage": report.coverage
        and {
            "share": report.coverage.share,
            "predicate_count": report.coverage.predicate_count,
            "unflipped": [{**_place(each.where), "text": each.text, "missing": each.missing} for each in unflipped],
        },
    }
    yield orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def as_github(report: Report) -> Iterator[str]:
    """Workflow commands: an annotation beside each line of a pull request that has something to mend."""

    def annotation(level: str, place: Mapping[str, Any], message: str) -> str:
        file = (report.directory / place["file"]).as_posix()
        # The separators of a property have to be escaped in it, line ends everywhere.
        name = _escaped(file).replace(":", "%3A").replace(",", "%2C")
        return f"::{level} file={name},line={place['line']},col={place['column']}::{_escaped(message)}"

    for level, found in (("error", report.faults), ("warning", report.warnings), ("error", report.pictures)):
        yield from (annotation(level, asdict(each), f"{each.message}. {each.way_out}") for each in found)
    for unmet in report.unmet:
        yield annotation("error", _place(unmet.where), f"{unmet.persona}: {unmet.message}")
    if report.coverage and report.lists_unflipped:
        for each in report.coverage.unflipped:
            yield annotation("notice", _place(each.where), f"no persona sees this {each.missing}: {each.text}")


FORMATS: Mapping[str, Callable[[Report], Iterator[str]]] = {"text": as_text, "json": as_json, "github": as_github}


@click.command()
@click.argument("strategy_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--coverage", "lists_unflipped", is_flag=True, help="List what no persona puts to the test.")
def check(strategy_dir: Path, form: str, lists_unflipped: bool) -> None:
    """Read a strategy, report its faults and warnings, and meet its personas."""
    report = examine(strategy_dir, lists_unflipped=lists_unflipped)
    for line in FORMATS[form](report):
        click.echo(line)
    if not report.is_sound:
        sys.exit(1)


def _place(where: str) -> dict[str, Any]:
    file, line, column = where.rsplit(":", 2)
    return {"file": file, "line": int(line), "column": int(column)}


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
