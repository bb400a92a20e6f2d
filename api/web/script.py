"""GET /nextbest.js: the snippet, as small as it gets without a build.

What is served is nextbest.js without the lines that are comments, indentation, and the spaces and line breaks around
punctuation outside of texts, with one letter for each name that it alone uses. The browser tests run what is served. It
needs neither store nor strategy, so pages find it whatever else is down.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from itertools import product
from pathlib import Path
from string import ascii_letters

from starlette.requests import Request
from starlette.responses import Response

TEXT = re.compile(r'("[^"]*"|/[^/\n]+/)')  # or a regular expression: nothing is divided
AROUND = re.compile(r" ?([{}()\[\];,:?=<>+*&|!-]+) ?")
BREAK = re.compile(r"(?<=[;{},:(\[>])\n|\n(?=[}).?:])")  # means nothing there: `>` is that of an arrow, `}` a block's
NEEDLESS = re.compile(r",(?=[)\]}])|;(?=})")
KEYWORDS = ("as", "at", "by", "do", "if", "in", "of")  # no names
DECLARED = re.compile(r"\b(?:const|let) (\w{2,})|(?<=\()([\w,]+)(?=\)=>)")  # or the parameters of an arrow function
SOURCE = (Path(__file__).parent / "nextbest.js").read_text()


def served(source: str) -> str:
    """A script without what only its readers need. Its texts stand in double quotes, on one line each."""
    script = tight(source)
    short = shorter(script)
    return _outside(script, lambda code: re.sub(r"\w+", lambda word: short.get(word[0], word[0]), code))


def tight(source: str) -> str:
    """A script without comments, indentation and what else stands around its words without a meaning."""
    lines = (line.strip() for line in source.splitlines())
    code = "\n".join(_outside(line, _unspaced) for line in lines if line and not line.startswith("//"))
    return _outside(BREAK.sub("", code), lambda code: NEEDLESS.sub("", code))


def shorter(script: str) -> dict[str, str]:
    """Another word for each one that the script declares and never uses as a property, the shortest for the most used.

    `.name` is a property, and between braces or commas it may be one: such names stay. A method is written
    `name: () =>`. What is declared as a constant may as well be a variable once it is served.
    """
    code = '"'.join(TEXT.split(script)[::2])
    taken = {*re.findall(r"\w+", code), *KEYWORDS}
    free = (each for each in (*ascii_letters, *map("".join, product("abc", ascii_letters))) if each not in taken)
    declared = dict.fromkeys(name for found in DECLARED.findall(code) for name in ",".join(found).split(","))
    own = [name for name in declared if len(name) > 1 and not _is_property(name, code)]
    own.sort(key=Counter(re.findall(r"\w+", code)).__getitem__, reverse=True)
    return {"const": "let", **dict(zip(own, free, strict=False))}


def _is_property(name: str, code: str) -> bool:
    return bool(re.search(rf"(?<!\.)\.{name}\b|[{{,]{name}[,:}}]", code))  # three dots spread a list


def _unspaced(code: str) -> str:
    return AROUND.sub(r"\1", code)


def _outside(script: str, change: Callable[[str], str]) -> str:
    """The script, changed outside of its texts and regular expressions."""
    parts = TEXT.split(script)
    parts[::2] = [change(part) for part in parts[::2]]
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
