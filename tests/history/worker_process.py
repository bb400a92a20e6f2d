"""A worker as a process of its own, to be killed: `python -m tests.history.worker_process URL DIRECTORY`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from decisioning.history.worker import Pace, run_worker
from decisioning.store.redis import connect


async def main(url: str, directory: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    store = connect(url, deadline_ms=10_000)
    pace = Pace(flush_ms=20, retention_ms=0)
    await run_worker(store, directory, poll_ms=10, stop=stop, on_progress=lambda progress: None, pace=pace)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
