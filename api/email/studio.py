"""Studio: where a serving process has its pictures drawn, and the prepared ones it always has at hand.

Drawing takes milliseconds of CPU and releases the interpreter for most of it, so it happens in few threads; when too
many wait, the fallback is quicker and as good. What a strategy prepares is drawn when it is taken up, beside requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from api.email.canvas import flat
from api.email.pictures import Drawing, Pictures, Prepared, jpeg_of, prepare
from api.live import Live
from decisioning.catalog.strategy import Placement, Strategy

LOG = logging.getLogger("nextbest")
THREADS = 2
WAITING_MAX = 32  # drawings; at 10 ms each, more would be late
LOOK_S = 0.1
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
        self._jpegs: dict[bytes, Drawing] = {}  # of the prepared pictures, by their own bytes

    @property
    def is_set_up(self) -> bool:
        """True once the brand can be shown; before, pictures are white."""
        return bool(self._version)

    async def keep(self, live: Live) -> None:
        """Prepare the pictures of each strategy that is taken up, until cancelled."""
        while True:
            strategy = live.at_hand
            if strategy is not None and strategy.version != self._version:
                await self.prepare(strategy)
            await asyncio.sleep(LOOK_S)

    async def prepare(self, strategy: Strategy) -> None:
        """Have a strategy's prepared pictures at hand; those of before go on meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            prepared = await loop.run_in_executor(self._threads, prepare, strategy, self._pictures)
            self._jpegs = await loop.run_in_executor(self._threads, _jpegs_of, prepared.values())
            self._prepared = prepared
        except Exception:  # whatever it is, the next strategy is to be prepared all the same
            LOG.exception("prepared pictures of %s not drawn", strategy.version[:12])
        self._version = strategy.version

    @property
    def is_full(self) -> bool:
        """True when so many wait that the next would be late."""
        return self._waiting >= WAITING_MAX

    async def draw(
        self, placement: Placement, content: Mapping[str, Any], *, scale: int, as_jpeg: bool = False
    ) -> Drawing:
        """The picture of some content; the placement's fallback when too many wait, or it declares no picture."""
        picture = placement.picture
        if picture is None or self.is_full:
            fallback = self.fallback(placement.name, scale=scale)
            return self.as_jpeg(fallback) if as_jpeg else fallback
        self._waiting += 1
        draw = partial(self._pictures.draw, picture, content, scale=scale, as_jpeg=as_jpeg)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, draw)
        finally:
            self._waiting -= 1

    def as_jpeg(self, drawing: Drawing) -> Drawing:
        """A prepared picture as a JPEG."""
        return self._jpegs.get(drawing.content) or jpeg_of(drawing)

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


def _jpegs_of(prepared: Iterable[Prepared]) -> dict[bytes, Drawing]:
    drawings = [drawing for each in prepared for kind in (each.quiet, each.fallback) for drawing in kind.values()]
    return {drawing.content: jpeg_of(drawing) for drawing in drawings}


def _bare(scale: int) -> Drawing:
    width, height = BARE_SIZE
    return Drawing(flat(width * scale, height * scale, BARE_COLOR), "image/png", ())
