"""Our own style sheet, scripts and pictures, served from memory."""

from __future__ import annotations

from pathlib import PurePath

from starlette.responses import Response

from api.console.page import Visit
from api.console.shell import FILES, MEDIA_TYPES, VERSIONS
from api.errors import Problem

FOR_EVER = "public, max-age=31536000, immutable"


async def static_file(visit: Visit) -> Response:
    """GET: one file. An address that names its version may be kept for ever."""
    name = visit.request.path_params["name"]
    if name not in FILES:
        raise Problem("not_found", "There is no such file.", "path")
    is_named = visit.asked("v") == VERSIONS[name]
    headers = {"cache-control": FOR_EVER if is_named else "no-cache"}
    return Response(FILES[name], headers=headers, media_type=MEDIA_TYPES[PurePath(name).suffix])
