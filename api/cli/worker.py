"""`nextbest worker`: what happens beside answering. It moves the log into history, and lets the models learn from it.

Both jobs are leases in the store, so several workers may run; each of the jobs is done by one of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import click

from api.model_registry import pointers_of
from api.settings import Settings
from api.shelf import Shelf
from api.storage import opened
from decisioning.store.protocol import Store

LOG = logging.getLogger("nextbest")
POLL_MS = 1_000  # between two looks at the log: history follows within seconds
HOUR_MS = 3_600_000
BROKEN_PAUSE_S = 60.0  # a record that breaks the learner is still there a second later
TOLD_EVERY_S = 60.0  # how often it says how far it is
NICE = 10  # it has time: on a core that it shares, the store and whoever decides come first


class Progress(Protocol):
    """How a job stands."""

    trouble: str


@click.command()
def worker() -> None:
    """Move decisions and responses from the store to history, as Parquet, and learn from the responses."""
    os.nice(NICE)
    asyncio.run(_work())


async def _work() -> None:
    from decisioning.history.worker import Pace, run_worker
    from decisioning.learning.job import run_learner

    settings = Settings.from_environment()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with opened(settings) as store:
        library = WorkersLibrary(store, settings)
        pace = Pace(retention_ms=settings.records_hours * HOUR_MS, retention_bytes=settings.records_mb << 20)
        told = lag_log("worker")
        moving = run_worker(store, settings.history_dir, poll_ms=POLL_MS, stop=stop, on_progress=told, pace=pace)

        def learning() -> Coroutine[Any, Any, None]:
            return run_learner(store, library, stop=stop, on_progress=lag_log("learner"))

        try:
            async with asyncio.TaskGroup() as jobs:
                jobs.create_task(moving)
                jobs.create_task(_again_and_again(learning, stop))
        except ExceptionGroup as several:  # history cannot be moved, and learning alone would only hide that
            raise several.exceptions[0] from None


async def _again_and_again(job: Callable[[], Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run a job to its end; one that breaks must not take the other down, so it is told, and begins again later."""
    while not stop.is_set():
        try:
            return await job()
        except Exception:  # whatever it is: it is logged, and history has to go on moving
            LOG.exception("the learner broke; it begins again in %.0f s", BROKEN_PAUSE_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BROKEN_PAUSE_S)


class WorkersLibrary(Shelf):
    """What a learner looks up: pointers and strategies in the store, models in their directory, records in history."""

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__(store, settings.models_dir)
        self._registry = store
        self._history_dir: Path = settings.history_dir

    async def deciding(self) -> Sequence[str]:
        """Versions of the current model and of its challenger."""
        named = await pointers_of(self._registry)
        return [each for each in (named.model, named.challenger and named.challenger.version) if each]

    def archived(self, decision_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Decisions' records from history."""
        from decisioning.history.reader import find_decisions

        return find_decisions(self._history_dir, decision_ids)


def lag_log(job: str) -> Callable[[Progress], None]:
    """A callable that logs how a job stands now and then, and a trouble at once."""
    told_s, trouble = time.monotonic(), ""

    def log(progress: Progress) -> None:
        nonlocal told_s, trouble
        is_new = bool(progress.trouble) and progress.trouble != trouble
        trouble = progress.trouble
        if is_new or time.monotonic() - told_s > TOLD_EVERY_S:
            told_s = time.monotonic()
            LOG.info("%s: %s", job, progress)

    return log
