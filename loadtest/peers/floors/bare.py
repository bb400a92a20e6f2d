"""Bare: an ASGI callable and one GET over our own connections. What an answer costs before anything is decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from decisioning.store.lane import Lane
from loadtest.peers.floors.profiles import fill
from loadtest.peers.serving import asked_customer, serve, store_url

ANSWER = b'{"found":true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


class Bare:
    """Answers everything alike."""

    def __init__(self, url: str) -> None:
        self._lane = Lane(url, deadline_s=1.0)

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """One request."""
        message = await receive()
        await self._lane.exchange([("GET", b"customer:" + asked_customer(message["body"]))])
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    fill()
    serve(Bare(store_url()))
