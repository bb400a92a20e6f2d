"""Web endpoint: a row of the API that browsers call by themselves, from pages of other sites.

In place of an API key it wants an origin, and limits addresses and visitor tokens. A page sends its JSON as text/plain
with the token in the body: such a request needs no preflight, which would cost the first view of every page a round
trip. No cookies are read, so another site's page can do nothing in a visitor's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from api.endpoint import Call, Endpoint, Receive, Scope, Send, send_json
from api.errors import Problem
from api.keys import ApiKey
from api.service import Service
from api.throttle import Throttle, network_of
from api.web.origins import check_origin, is_known

BROWSER = ApiKey("browser", (), float("inf"))  # who asked, in records and repeats
PREFLIGHT = [
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"86400"),  # browsers cut it to what they like, Chromium to two hours
]


@dataclass(frozen=True, slots=True)
class Limits:
    """How often pages may call, all web endpoints together."""

    addresses: Throttle
    tokens: Throttle


@dataclass(slots=True)
class WebEndpoint(Endpoint):
    """A path that pages POST to."""

    limits: Limits = field(kw_only=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request so that the page may read it."""
        await Endpoint.__call__(self, scope, receive, readable(send, origin_of(scope), self.service))

    async def _accepted(self, scope: Scope, receive: Receive) -> Call:
        client = scope.get("client")
        self.limits.addresses.take(network_of(client[0]) if client else "", "address")
        raw = await self._read(receive)
        assert self.decoder is not None
        body = self.decoder.decode(raw)
        if hasattr(body, "visitor_token"):
            body.visitor_token = _bearer(scope) or body.visitor_token
            if isinstance(body.visitor_token, str):
                self.limits.tokens.take(body.visitor_token[-32:], "visitor_token")  # as good as all of it, and short
        return Call(self.service, BROWSER, body, raw, {}, origin_of(scope))


@dataclass(frozen=True, slots=True)
class Preflight:
    """OPTIONS of a web endpoint: may a page of this origin send what it is about to?"""

    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one preflight."""
        origin = origin_of(scope)
        try:
            check_origin(origin, self.service, "origin")
        except Problem as problem:
            await send_json(send, problem.status, problem.body())
            return
        answering = readable(send, origin, self.service)
        await answering({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
        await answering({"type": "http.response.body"})


def readable(send: Send, origin: str, service: Service) -> Send:
    """A send whose answers pages of this origin may read, if it is an allowed one."""

    async def answering(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            assert isinstance(headers, list)
            message = {**message, "headers": [*headers, *_cors(origin, service)]}
        await send(message)

    return answering


def _cors(origin: str, service: Service) -> list[tuple[bytes, bytes]]:
    try:
        allowed = is_known(origin, service)
    except Problem:  # no strategy yet, so nobody is known
        allowed = False
    allowing = [(b"access-control-allow-origin", origin.encode("latin-1"))] if allowed else []
    return [(b"vary", b"origin"), *allowing]


def origin_of(scope: Scope) -> str:
    """The origin that the browser states; empty where none is."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), "")


def _bearer(scope: Scope) -> str | None:
    header = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")
    scheme, _, token = header.partition(" ")
    return token if scheme.lower() == "bearer" and token else None
