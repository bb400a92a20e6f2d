"""Endpoint: one row of the API as a bare ASGI callable.

Every endpoint under /v1 and /web goes through here: key, rate, body limit, strict decoding, one shape of error, one
count. front.py finds it; FastAPI's own request handling costs about 60 microseconds of CPU that a decision can do
without.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from api import metrics
from api.errors import Problem, problem_of
from api.keys import ApiKey
from api.service import Service

LOG = logging.getLogger("nextbest")
JSON_HEADERS = [(b"content-type", b"application/json")]
KIB = 1024

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """The caller hung up before its request was complete."""


@dataclass(slots=True)
class Call:
    """One request, as its handler sees it."""

    service: Service
    key: ApiKey
    body: Any  # decoded into the endpoint's type; None without a body
    raw: bytes
    path: Mapping[str, str]
    origin: str = ""  # of the page that asks; empty when it is no browser's page


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(slots=True)
class Endpoint:
    """A method and path, who may call it, what it takes and gives."""

    service: Service
    method: str
    path: str
    scope: str
    handler: Handler
    answer: Any
    summary: str
    body: Any = None  # a type to decode into; a tuple of types when the handler tells them apart itself
    body_bytes_max: int = 64 * KIB
    rescue: Handler | None = None  # answers in the handler's place when something inside breaks
    problems: tuple[str, ...] = ()  # error codes beside those every endpoint has
    decoder: msgspec.json.Decoder[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.body is not None and not isinstance(self.body, tuple):
            self.decoder = msgspec.json.Decoder(self.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever breaks on the way."""
        started_s = time.perf_counter()
        call: Call | None = None
        headers: list[tuple[bytes, bytes]] = []
        try:
            call = await self._accepted(scope, receive)
            status, answer = 200, await self.handler(call)
        except ClientGone:
            return
        except Exception as error:  # the outermost: whatever broke, the caller gets an answer
            status, answer, headers = await self._rescued(error, call)
        metrics.REQUESTS.labels(self.path, status).inc()
        metrics.LATENCY.labels(self.path).observe(time.perf_counter() - started_s)
        await send_json(send, status, answer, headers)

    async def _accepted(self, scope: Scope, receive: Receive) -> Call:
        header, length = None, 0
        for name, value in scope["headers"]:
            if name == b"authorization":
                header = value.decode("latin-1")
            elif name == b"content-length" and value.isdigit():
                length = int(value)
        key = self.service.keys.authorise(header, self.scope, scope)
        if length > self.body_bytes_max:
            raise self._too_large()
        raw = await self._read(receive)
        body = self.decoder.decode(raw) if self.decoder is not None else None
        return Call(self.service, key, body, raw, scope.get("path_params", {}))

    async def _read(self, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            chunk: bytes = message.get("body", b"")
            if len(chunk) > self.body_bytes_max:
                raise self._too_large()
            return chunk
        chunks, size = [message.get("body", b"")], len(message.get("body", b""))
        while message["type"] == "http.request" and message.get("more_body"):
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self.body_bytes_max:
                raise self._too_large()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return b"".join(chunks)

    def _too_large(self) -> Problem:
        return Problem(
            "too_large",
            f"The body is larger than {self.body_bytes_max // KIB} KiB. Send less, or in several requests.",
            "body",
        )

    async def _rescued(self, error: Exception, call: Call | None) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        problem = problem_of(error)
        inside = problem is None or problem.code in ("internal", "store_unavailable")
        if inside:
            LOG.error("%s %s: %s", self.method, self.path, error, exc_info=problem is None)
        if inside and call is not None and self.rescue is not None:
            try:
                return 200, await self.rescue(call), []
            except Exception as second:  # the rescue has nobody behind it
                problem = problem_of(second)
        problem = problem or Problem(
            "internal",
            "Something broke here and was logged. What was asked may have happened; repeat it with an idempotency_key.",
            "server",
        )
        headers = [(b"retry-after", str(problem.retry_after_s).encode())] if problem.retry_after_s else []
        if problem.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        return problem.status, problem.body(), headers


async def send_json(send: Send, status: int, answer: Any, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Send one JSON answer."""
    body = orjson.dumps(answer, default=msgspec.to_builtins)
    sent = [
        *JSON_HEADERS,
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(headers or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
