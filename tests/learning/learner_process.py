"""A learner as a process of its own, to be killed: `python -m tests.learning.learner_process URL`."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace

from decisioning.learning.job import run_learner
from decisioning.store.redis import connect
from tests.learning.classroom import QUICK, Classroom


async def main(url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("can be asked to stop", flush=True)
    store = connect(url, deadline_ms=10_000)
    pace = replace(QUICK, poll_ms=5)
    await run_learner(store, Classroom(store), stop=stop, on_progress=lambda progress: None, pace=pace)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
