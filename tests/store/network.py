"""Network: a way to a server that delays, splits and cuts what it carries, or leads elsewhere from now on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Self
from urllib.parse import unquote

CHUNK = 4096


class Network:
    """Carries connections to a unix socket or a TCP port; use it as a context.

    chance  decides what happens to each chunk; None: nothing happens to any
    """

    def __init__(self, url: str, *, chance: random.Random | None = None, cut: float = 0.0) -> None:
        self.upstream = url
        self._chance = chance
        self._cut = cut  # the share of chunks in which the connection breaks
        self._carrying: set[asyncio.Task[None]] = set()
        self.is_one_way = False  # what the server says is lost

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.upstream.startswith("unix://"):
            there, back = await asyncio.open_unix_connection(unquote(self.upstream.removeprefix("unix://")))
        else:
            host, _, port = self.upstream.removeprefix("redis://").partition(":")
            there, back = await asyncio.open_connection(host, int(port))
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._carry(source, sink, ends=(writer, back)))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        try:
            while chunk := await source.read(CHUNK):
                if self.is_one_way and sink is ends[0]:
                    continue
                for piece in self._pieces(chunk):
                    sink.write(piece)
                    await sink.drain()
                    if self._chance is not None:
                        await asyncio.sleep(self._chance.choice((0, 0, 0.001)))
        except ConnectionError:
            pass
        finally:
            for end in ends:
                end.transport.abort()  # a reset, and nothing that still waits is sent

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk, split anywhere. Raises in the middle of it when the connection is to break."""
        if self._chance is None:
            yield chunk
            return
        at = sorted(self._chance.choices(range(len(chunk)), k=self._chance.randint(1, 3)))
        *pieces, rest = (chunk[first:last] for first, last in zip([0, *at], [*at, len(chunk)], strict=True))
        yield from filter(None, pieces)
        if self._chance.random() < self._cut:
            raise ConnectionResetError
        yield rest
