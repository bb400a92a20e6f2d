"""Studio: where a serving process has its pictures drawn, and the prepared ones it always has at hand.

Drawing takes milliseconds of CPU and releases the interpreter for most of it, so it happens in few threads; when too
many wait, the fallback is quicker and as good. What a strategy prepares is drawn when it is taken up, beside requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api.email.canvas import flat
from api.email.pictures import Drawing, Pictures, Prepared, prepare
from api.live import Live
from decisioning.catalog.strategy import Placement, Strategy

LOG = logging.getLogger("nextbest")
THREADS = 2
WAITING_MAX = 32  # drawings; at 10 ms each, more would be late
LOOK_S = 1.0
BARE_SIZE = (600, 200)  # when no strategy is known yet
BARE_COLOR = "#FFFFFF"


class Studio:
    """Of one serving process."""

    def __init__(self) -> None:
        self._pictures = Pictures()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="picture")
        self._waiting = 0
        self._prepared: Mapping[str, Prepared] = {}
        self._version = ""  # of the strategy that they are of
        self._bare = {scale: _bare(scale) for scale in (1, 2)}

    async def keep(self, live: Live) -> None:
        """Prepare the pictures of each strategy that is taken up, until cancelled."""
        while True:
            if live.current is not None and live.current.strategy.version != self._version:
                await self.prepare(live.current.strategy)
            await asyncio.sleep(LOOK_S)

    async def prepare(self, strategy: Strategy) -> None:
        """Have a strategy's prepared pictures at hand; those of before go on meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            self._prepared = await loop.run_in_executor(self._threads, prepare, strategy, self._pictures)
        except ValueError as error:
            LOG.error("prepared pictures of %s not drawn: %s", strategy.version[:12], error)
        self._version = strategy.version

    async def draw(self, placement: Placement, content: Mapping[str, Any], *, scale: int) -> Drawing:
        """The picture of some content; the placement's fallback when too many wait, or it declares no picture."""
        picture = placement.picture
        if picture is None or self._waiting >= WAITING_MAX:
            return self.fallback(placement.name, scale=scale)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: self._pictures.draw(picture, content, scale=scale))
        finally:
            self._waiting -= 1

    def quiet(self, placement: str, *, scale: int) -> Drawing:
        """A strip that claims nothing."""
        prepared = self._prepared.get(placement)
        return prepared.quiet[scale] if prepared is not None else self._bare[scale]

    def fallback(self, placement: str, *, scale: int) -> Drawing:
        """The brand, in the strategy's first language; for an unknown placement that of any other."""
        prepared = self._prepared.get(placement) or next(iter(self._prepared.values()), None)
        if prepared is None:
            return self._bare[scale]
        return next(drawing for (_, each), drawing in prepared.fallback.items() if each == scale)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _bare(scale: int) -> Drawing:
    width, height = BARE_SIZE
    return Drawing(flat(width * scale, height * scale, BARE_COLOR), "image/png", ())
