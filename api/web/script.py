"""GET /nextbest.js: the snippet, as small as it gets without a build.

What is served is nextbest.js without the lines that are comments, indentation, and the spaces and line breaks around
punctuation outside of texts. The browser tests run what is served. It needs neither store nor strategy, so pages find
it whatever else is down.
"""

from __future__ import annotations

import gzip
import re
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

TEXT = re.compile(r'("[^"]*")')
AROUND = re.compile(r" ?([{}()\[\];,:?=<>+*&|!-]+) ?")
BREAK = re.compile(r"(?<=[;{,(\[>])\n|\n(?=[}).?:])")  # means nothing there: `>` is that of an arrow
SOURCE = (Path(__file__).parent / "nextbest.js").read_text()


def served(source: str) -> str:
    """A script without what only its readers need. Its texts stand in double quotes, on one line each."""
    lines = (line.strip() for line in source.splitlines())
    return BREAK.sub("", "\n".join(_tight(line) for line in lines if line and not line.startswith("//")))


def _tight(line: str) -> str:
    parts = TEXT.split(line)
    parts[::2] = [AROUND.sub(r"\1", part) for part in parts[::2]]
    return "".join(parts)


BODY = served(SOURCE).encode()
GZIPPED = gzip.compress(BODY, 9, mtime=0)
ETAG = f'"{sha256(BODY).hexdigest()[:16]}"'
HEADERS = {
    "cache-control": "public, max-age=3600",
    "etag": ETAG,
    "vary": "accept-encoding",
    "access-control-allow-origin": "*",  # for <script crossorigin>; it holds nothing of anybody
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
}


async def script(request: Request) -> Response:
    """The snippet."""
    if request.headers.get("if-none-match") == ETAG:
        return Response(status_code=304, headers=HEADERS)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(GZIPPED, media_type="text/javascript", headers={**HEADERS, "content-encoding": "gzip"})
    return Response(BODY, media_type="text/javascript", headers=HEADERS)
