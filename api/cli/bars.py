"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from decisioning.nouns import counted

if TYPE_CHECKING:  # it comes with a library that a serving process must not carry
    from decisioning.history.load import Summary

LINE_EVERY_S = 5.0

Report = Callable[[int, int], None]  # done, of how many
Steps = Callable[[str, int, int], None]  # what is being done, and the same


class Bars:
    """Shows how far each named piece of work is."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(
            *columns,
            console=Console(stderr=True),
            redirect_stdout=sys.stdout.isatty(),  # above the bar; what goes into a file has to go on doing so
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def of(self, name: str) -> Report:
        """A callable that is told how many of how many are done."""
        task = self._progress.add_task(name, total=None)
        told_s = time.monotonic()

        def report(done: int, total: int) -> None:
            nonlocal told_s
            self._progress.update(task, completed=done, total=total)
            if self._progress.disable and (done >= total or time.monotonic() - told_s > LINE_EVERY_S):
                told_s = time.monotonic()
                print(f"{name}: {done:,} of {total:,}", file=sys.stderr, flush=True)

        return report

    def steps(self, name: str) -> Steps:
        """A callable that is told which step is under way."""
        task = self._progress.add_task(name, total=None)
        last = ""

        def report(what: str, done: int, total: int) -> None:
            nonlocal last
            self._progress.update(task, description=f"{name}: {what}", completed=done, total=total)
            if self._progress.disable and what != last:
                print(f"{name}: {what}", file=sys.stderr, flush=True)
            last = what

        return report


def told(summary: Summary, rejects: Path) -> str:
    """A load's summary, in words."""
    loaded = f"{counted(summary.loaded, 'customer')} loaded"
    text = f"{loaded}, {summary.unchanged:,} said nothing new, {summary.rejected:,} rejected"
    return f"{text}; {rejects} says why" if summary.rejected else text
