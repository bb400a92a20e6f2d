"""Front: FastAPI, asked only for what cannot be found by its path alone.

It would hand each request through its middlewares and try sixty routes one after the other, for more CPU than all else
that an endpoint does before it decides. An endpoint whose path has no parameters needs none of that. It stays a route
as well, so that FastAPI tells what else there is: other methods, other paths, and all of it under a root path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.endpoint import Endpoint


class Front(FastAPI):
    """The application, whose busiest endpoints are found by one look."""

    def __init__(self, **described: Any) -> None:
        super().__init__(**described)
        self._at_hand: dict[tuple[str, str], Endpoint] = {}  # by method and path

    def add_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Serve these, each under its method and path."""
        for each in endpoints:
            self.router.routes.append(Route(each.path, each, methods=[each.method]))
            if "{" not in each.path:
                self._at_hand[each.method, each.path] = each

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is none, like the start of the server, has no method."""
        endpoint = self._at_hand.get((scope.get("method", ""), scope.get("path", "")))
        await (endpoint or super().__call__)(scope, receive, send)
