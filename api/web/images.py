"""GET /web/images/{version}/{name}: an image file of the strategy, for the pages that show it.

The version in the path makes an address mean one file for ever, so browsers and caches may keep it. A page that was
answered just before a new strategy came gets the new file of that name, which nobody is to keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.errors import Problem
from api.service import Service
from decisioning.catalog.strategy import Strategy

VERSION_LENGTH = 12
KINDS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "gif": "gif", "webp": "webp", "svg": "svg+xml"}
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",  # a drawing that is opened
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
}


def image_path(name: str, strategy: Strategy) -> str:
    """Where a page finds an image of the content, below the service; an address of its own stays as it is."""
    return f"web/images/{strategy.version[:VERSION_LENGTH]}/{name}" if name in strategy.images else name


@dataclass(frozen=True, slots=True)
class Images:
    """The images of the strategy in force."""

    service: Service

    async def answer(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"]
        current = self.service.live.current
        content = None if current is None else current.strategy.images.get(name)
        if current is None or content is None:
            problem = Problem("not_found", "The strategy in force has no such image in content/images.", "path")
            return Response(msgspec.json.encode(problem.body()), problem.status, media_type="application/json")
        is_same = request.path_params["version"] == current.strategy.version[:VERSION_LENGTH]
        kept = "public, max-age=31536000, immutable" if is_same else "no-store"
        kind = KINDS[name.rpartition(".")[2]]
        return Response(content, media_type=f"image/{kind}", headers={**HEADERS, "cache-control": kept})
