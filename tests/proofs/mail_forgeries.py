"""Forgeries: whatever stands in a mail's address in place of its token, the brand is shown, and nothing happens.

    python -m tests.proofs.mail_forgeries [COUNT]

Each forged token goes through every address of a mail, from an address of its own, so that no throttle answers in its
place. Status, headers and body must be those that random letters get, and every key of a real server must hold
afterwards, byte for byte, what it held before. Then links are asked over HTTP, by raw requests, to lead elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import io
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import redis
import uvicorn
from PIL import Image

from api.app import assemble
from api.instants import wall_ms
from api.tokens import Sealer
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.redis import connect
from tests.decisioning.bank import GOLD
from tests.email.post import APPLE, BANK, BROWSER, Post
from tests.service.conftest import free_port

SENDER = "news@bank.example"
DOORS = ("png", "2x.png", "jpg", "2x.jpg", "html", "json", "amp", "c")
PICTURES = DOORS[:4]
DEFAULT_URL = "https://bank.example/"
OWN, FOREIGN, RETIRED = b"k" * 32, b"f" * 32, b"r" * 32
PATIENCE_MS = 10_000

PARAMETERS = ("url", "u", "to", "next", "redirect", "redirect_uri", "return", "dest", "link", "default_url", "nextbest")
ELSEWHERE = (
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https://bank.example@evil.example/",
    "https://evil.example#bank.example",
    "https://evil.example\u3002com",
    "https://\uff45vil.example/",
    "javascript:alert(1)//evil",
    "data:text/html,evil",
    "\r\nLocation: https://evil.example/",
    "%0d%0aLocation:%20https://evil.example/",
    "\x00https://evil.example/",
)
HEADERS = ("host", "x-forwarded-host", "x-original-url", "x-rewrite-url", "forwarded", "referer", "origin")


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(slots=True)
class Found:
    """What was tried, and every way in which an answer was another than it must be."""

    tokens: Counter[str] = field(default_factory=Counter)  # by what was done to them
    answers: int = 0
    redirects: int = 0
    led_to: Counter[str] = field(default_factory=Counter)  # hosts
    faults: list[str] = field(default_factory=list)
    reference: dict[str, Reply] = field(default_factory=dict)  # by door: what random letters get


@asynccontextmanager
async def office(url: str) -> AsyncIterator[Post]:
    """The application on a real server, whose keys are an own one and one that has sealed before and was retired."""
    post = Post(connect(url, deadline_ms=PATIENCE_MS), BANK)
    post.service.sealer = Sealer({"k002": OWN})
    post.service.settings = replace(post.service.settings, amp_senders=frozenset({SENDER}))
    await post.service.studio.prepare(BANK)
    for number in range(8):
        await post.know(f"C-{number}")
    yield post
    post.service.studio.close()
    await post.store.close()


async def asked(app: Any, token: str, door: str, caller: str) -> Reply:
    """One request, as the server that listens hands it to the application."""
    path = f"/c/{token}" if door == "c" else f"/e/{token}.{door}"
    headers = {"host": "mail.example", **(BROWSER if door == "c" else APPLE), "amp-email-sender": SENDER}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "https",
        "path": path, "raw_path": quote(path).encode(), "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": (caller, 1), "server": ("mail.example", 443), "state": {},
    }  # fmt: skip
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    return Reply(start["status"], tuple(start["headers"]), b"".join(each["body"] for each in bodies))


def forgeries(post: Post, chance: random.Random) -> dict[str, Callable[[int], str]]:
    """What is done to tokens, by name; each takes a running number."""
    own = post.service.seals
    event = ["C-1", "person", "000-1-a", "email.hero", GOLD, "email", 9 << 50]
    times = [9 << 50, 1]

    def body_of(token: str) -> str:
        return token.partition(".")[2]

    def flipped(number: int) -> str:
        raw = bytearray(base64.urlsafe_b64decode(body_of(post.token("C-1")) + "=="))
        raw[number // 8 % len(raw)] ^= 1 << number % 8
        return f"k002.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"

    def misspelled(number: int) -> str:
        token = post.token("C-1")
        at = chance.randrange(6, len(token))
        return token[:at] + ("=", "!", " ", "\n", "+", "\u00e9")[number % 6] + token[at:]

    def spliced(number: int) -> str:
        one, two = post.token("C-1"), body_of(post.token("C-2"))
        at = chance.randrange(8, len(two) - 16)  # of fewer letters both may have the same
        return one[: 5 + at] + two[at:]

    return {
        "noise": lambda number: f"k002.{base64.urlsafe_b64encode(chance.randbytes(140)).decode().rstrip('=')}",
        "letters": lambda number: "".join(chance.choice("aZ9-_.~<>\"'&;%\u00e9\u0000 /?#") for _ in range(number % 60)),
        "truncated": lambda number: post.token("C-1")[: -1 - number % 150],
        "lengthened": lambda number: post.token("C-1") + chance.choice("AQgw09-_") * (1 + number % 3),
        "bit flipped": flipped,
        "misspelled": misspelled,
        "spliced": spliced,
        "expired": lambda number: post.token("C-1", valid_ms=-1 - number),
        "foreign key": lambda number: post.token("C-1", sealer=Sealer({"k002": FOREIGN})),
        "retired key": lambda number: post.token("C-1", sealer=Sealer({"k001": RETIRED})),
        "unknown key id": lambda number: f"k{number % 1000:03d}x.{body_of(post.token('C-1'))}",
        "event token": lambda number: own.seal("event", event),
        "visitor token": lambda number: own.seal("visitor", ["C-1", "https://bank.example", 9 << 50]),
        "session": lambda number: own.seal("session", ["admin", number]),
        "journal line": lambda number: own.seal("journal", ["followed", "{}"]),
        "other shape": lambda number: own.seal("render", [["C-1", 1], ["a" * 16, "C-1", "email.hero", "", *times, 1],
                                                          [1, "C-1", "email.hero", "", *times]][number % 3]),  # type: ignore[list-item]
    }  # fmt: skip


async def tried(post: Post, count: int, seed: int = 1) -> Found:
    """So many tokens through every door; what stands in the store is compared by the caller."""
    app, chance, found = assemble(post.service), random.Random(seed), Found()
    kinds = forgeries(post, chance)
    for door in DOORS:
        found.reference[door] = await asked(app, "random-letters", door, "10.255.255.255")
    _check_reference(post, found)
    for number in range(count):
        kind = list(kinds)[number % len(kinds)]
        token, caller = kinds[kind](number), f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        found.tokens[kind] += 1
        for door in DOORS:
            reply = await asked(app, token, door, caller)
            found.answers += 1
            if reply != found.reference[door]:
                found.faults.append(f"{kind}, {door}: {reply.status} {reply.body[:80]!r} for {token!r}")
    return found


def _check_reference(post: Post, found: Found) -> None:
    """What random letters get: the brand, whole and of its size, and a link home."""
    brand = {scale: post.service.studio.fallback("email.hero", scale=scale) for scale in (1, 2)}
    for door, (status, headers, body) in found.reference.items():
        told = {name.decode(): value.decode() for name, value in headers}
        if door in PICTURES:
            scale = 2 if door.startswith("2x") else 1
            with Image.open(io.BytesIO(body)) as image:
                image.load()
                is_sound = image.size == (600 * scale, 200 * scale) and image.format == door[-3:].upper().replace(
                    "JPG", "JPEG"
                )
            is_sound = is_sound and (door.endswith("jpg") or body == brand[scale].content)
        elif door == "c":
            is_sound = told["location"] == DEFAULT_URL
        else:
            is_sound = b"We are here for you" in body and b"random-letters" not in body
        if status != (302 if door == "c" else 200) or not is_sound or "no-store" not in told["cache-control"]:
            found.faults.append(f"random letters, {door}: {status} {told} {body[:80]!r}")


async def good_ones(post: Post, found: Found) -> None:
    """A token that is good is shown its choice at every door: the forged were refused for what they are."""
    app, token = assemble(post.service), post.token("C-7")
    for door in DOORS:
        if await asked(app, token, door, "10.254.0.1") == found.reference[door]:
            found.faults.append(f"a good token is shown the brand, {door}")


def digest(url: str) -> bytes:
    """Everything that a server holds."""
    found = blake2b()
    with redis.Redis.from_url(url) as client:
        for name in sorted(client.scan_iter(count=1_000)):
            found.update(name + b"\0" + (client.dump(name) or b""))
    return found.digest()


async def led_elsewhere(post: Post, found: Found) -> None:
    """Ask links to lead elsewhere, by whatever a request has: query, path, headers."""
    await post.know("shown")
    shown, unseen = post.token("shown"), post.token("C-6")
    await post.fetch(shown, by=APPLE)
    port = free_port()
    config = uvicorn.Config(assemble(post.service), port=port, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        for target, more in _temptations((shown, unseen, "forged")):
            found.redirects += 1
            location, whole = await _location(port, target, more)
            if location is not None:
                host = urlsplit(location).hostname or ""
                found.led_to[host] += 1
                if host != "bank.example" or urlsplit(location).scheme != "https":
                    found.faults.append(f"{target!r} {more!r} leads to {location!r}")
            if b"evil" in whole.partition(b"\r\n\r\n")[0].lower() or whole.count(b"\nlocation") > 1:
                found.faults.append(f"{target!r} {more!r}: {whole[:200]!r}")
    finally:
        server.should_exit = True
        await serving


def _temptations(tokens: tuple[str, ...]) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Targets of requests, with headers."""
    for number, elsewhere in enumerate(ELSEWHERE):
        raw, coded = elsewhere.encode("utf-8"), quote(elsewhere, safe="").encode()
        for parameter in PARAMETERS:
            token = tokens[number % len(tokens)].encode()
            yield b"/c/%s?%s=%s" % (token, parameter.encode(), coded), {}
        for token in tokens:
            yield b"/c/%s?%s" % (token.encode(), coded), {}
            yield b"/c/%s/%s" % (token.encode(), coded), {}
            yield b"/c/%s@%s" % (token.encode(), coded), {}
        yield b"/c/" + coded, {}
        if raw.isascii() and raw.decode().isprintable() and b" " not in raw:
            yield b"/c/" + raw, {}
            yield b"https://evil.example/c/" + tokens[number % len(tokens)].encode(), {}
            for name in HEADERS:
                yield b"/c/" + tokens[number % len(tokens)].encode(), {name: elsewhere}


async def _location(port: int, target: bytes, more: Mapping[str, str]) -> tuple[str | None, bytes]:
    """Where one raw request is sent on to, and the whole answer."""
    headers = {"host": "mail.example", **BROWSER, **more, "connection": "close"}
    lines = [b"GET %s HTTP/1.1" % target, *(f"{name}: {value}".encode() for name, value in headers.items())]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\r\n".join([*lines, b"", b""]))
    whole = b""
    with suppress(ConnectionError):
        whole = await reader.read()
    writer.close()
    head = whole.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    found = [line.partition(":")[2].strip() for line in head if line.lower().startswith("location:")]
    return (found[0] if found else None), whole


async def run(url: str, count: int) -> Found:
    """Everything, on an empty server."""
    async with office(url) as post:
        before = digest(url)
        found = await tried(post, count)
        if digest(url) != before:
            found.faults.append("the store holds something else than before")
        await good_ones(post, found)
        if digest(url) == before:
            found.faults.append("a good token left nothing either: nothing was shown about the forged")
        await led_elsewhere(post, found)
        return found


def main(count: int = 10_000) -> None:
    """Print what came out; exits with 1 when the claim does not hold."""
    started_ms = wall_ms()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder)) as server:
        found = asyncio.run(run(server.url, count))
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in found.tokens.items())
    print(f"{sum(found.tokens.values()):,} tokens through {len(DOORS)} addresses each ({', '.join(DOORS)}): "
          f"{found.answers:,} answers in {(wall_ms() - started_ms) / 1000:.0f} s")  # fmt: skip
    print(f"of which {kinds}")
    print(f"{found.redirects:,} raw requests asked a link to lead elsewhere; it led to {dict(found.led_to)}")
    print(f"answers that differ from what random letters get, changes in the store, foreign hosts: {len(found.faults)}")
    if found.faults:
        sys.exit("\n".join(["FAILED", *found.faults[:20]]))


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
