"""What mails ask for: /e/TOKEN.png and its other forms, /c/TOKEN. Bare ASGI, outside /v1, without an API key.

The owner of a request is its token; its limits are those of the token and of the address that asks. A picture is always
a 200 and a valid picture, a link always leads somewhere of ours, within the deadline: what goes wrong inside shows the
placement's fallback. `docs/email.md` says what each form gives.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, quote

import orjson
from starlette.routing import Route

from api import metrics
from api.email.amp import cors_headers
from api.email.clients import Fetch, Form, client_class_of
from api.email.following import Destination, destination_of, followed, note_of
from api.email.fragment import fragment
from api.email.pace import Followed, Pace
from api.email.pictures import Drawing
from api.email.showing import Shown, placement_of, show
from api.email.tokens import RenderToken, opened
from api.endpoint import Receive, Scope, Send
from api.errors import Problem
from api.instants import text_of, wall_ms
from api.service import Service
from api.taking import FOLLOWED
from decisioning.catalog.strategy import Placement
from decisioning.errors import NextbestError
from decisioning.opening import SCANNER, ClientClass

LOG = logging.getLogger("nextbest")
FORMS: Mapping[str, Form] = {"png": "image", "jpg": "image", "html": "html", "json": "json", "amp": "amp"}
DOUBLE = ".2x"  # before the ending: the picture for fine screens
IN_TIME = 0.8  # of the deadline; what is left is for drawing to an end, and for the journal
URL_SAFE = "%:/?#[]@!$&'()*+,;=~"  # what an address may hold as it is
QUIET, FALLBACK = "quiet", "fallback"
NEVER_KEPT = [  # mail services keep pictures for a day unless every one of these says no; validators invite a 304
    (b"cache-control", b"no-store, no-cache, must-revalidate, max-age=0"),
    (b"pragma", b"no-cache"),
    (b"expires", b"0"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]
NOWHERE = b"<!doctype html><meta charset=utf-8><title>Not available</title><p>This page is not available right now."


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, taken apart."""

    method: str
    form: Form
    token: RenderToken | None  # None: it does not open
    raw_token: str
    scale: int
    as_jpeg: bool
    client_class: ClientClass
    headers: Mapping[str, str]
    source: str | None  # of AMP's first version
    base: str  # scheme and host that the request named


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    body: bytes
    media_type: str
    shown: str  # for the count: an outcome, quiet or fallback
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


class MailEndpoint:
    """One of the two paths."""

    methods: tuple[str, ...] = ("GET", "HEAD")

    def __init__(self, service: Service, path: str, followed: Followed) -> None:
        self.service = service
        self.path = path
        self._pace = Pace()
        self._followed = followed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        started_s = time.perf_counter()
        asked = self._asked(scope)
        try:
            answer = await self._answered(asked)
        except (Problem, NextbestError, TimeoutError):
            answer = self._in_trouble(asked)
        except Exception:  # the outermost: a mail is out, and nobody can repeat what it asks
            LOG.exception("%s shows its fallback", self.path)
            answer = self._in_trouble(asked)
        metrics.MAIL.labels(asked.form, asked.client_class, answer.shown).inc()
        metrics.REQUESTS.labels(self.path, answer.status).inc()
        metrics.LATENCY.labels(self.path).observe(time.perf_counter() - started_s)
        await _send(send, asked.method, answer)

    async def _answered(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def _in_trouble(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def _deadline(self) -> asyncio.Timeout:
        return asyncio.timeout(IN_TIME * self.service.settings.deadline_ms / 1000)

    def _form(self, name: str) -> tuple[str, Form, int]:
        """Token, form and scale of the last part of the path."""
        raise NotImplementedError

    def _asked(self, scope: Scope) -> Asked:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        name: str = scope["path_params"]["name"]
        raw_token, form, scale = self._form(name)
        now_ms, token = wall_ms(), None
        if self.service.sealer is not None:
            try:
                token = opened(self.service.sealer, raw_token, now_ms=now_ms)
            except Problem:
                token = None
        address = scope["client"][0] if scope.get("client") else ""
        age_ms = None if token is None else now_ms - token.made_ms
        if form == "click" and token is not None:
            self._followed.note(address, token.token_id, now_ms=now_ms)
        links = self._followed.count(address, now_ms=now_ms)
        fetch = Fetch(form, scope["method"], headers, age_ms, links)
        source = parse_qs(scope["query_string"].decode("latin-1")).get("__amp_source_origin", [None])[0]
        base = f"{scope['scheme']}://{headers.get('host', '')}"
        made_of = form, token, raw_token, scale, name.lower().endswith(".jpg")
        asked = Asked(scope["method"], *made_of, client_class_of(fetch), headers, source, base)
        is_in_pace = self._pace.allows(address, token.token_id if token else None)
        return asked if is_in_pace else replace(asked, token=None)  # is shown what trouble shows


class Picture(MailEndpoint):
    """/e/TOKEN in every form: a picture, or content for whoever renders it."""

    methods = ("GET", "HEAD", "POST")  # platforms keep what they GET when they send, and not what they POST

    def _form(self, name: str) -> tuple[str, Form, int]:
        stem, _, ending = name.rpartition(".")
        form = FORMS.get(ending.lower(), "image")
        return stem.removesuffix(DOUBLE), form, 2 if stem.endswith(DOUBLE) else 1

    async def _answered(self, asked: Asked) -> Answer:
        if asked.form == "amp":
            return await self._amp(asked)
        return await self._shown(asked, asked.client_class)

    async def _shown(self, asked: Asked, client_class: ClientClass) -> Answer:
        if asked.token is None:
            return self._in_trouble(asked)
        placement = placement_of(asked.token, self.service.deployed().strategy)
        if client_class == SCANNER:
            return self._quiet(asked, placement)
        async with self._deadline():
            shown = await show(self.service, asked.token, client_class)
            return await self._showing(asked, placement, shown)

    async def _showing(self, asked: Asked, placement: Placement, shown: Shown) -> Answer:
        placed = shown.placed
        if placed.action is None or placed.content is None:
            return self._quiet(asked, placement)
        if asked.form == "image":
            scale, as_jpeg = asked.scale, asked.as_jpeg
            drawing = await self.service.studio.draw(placement, placed.content, scale=scale, as_jpeg=as_jpeg)
            return Answer(drawing.content, drawing.media_type, placed.outcome)
        return _written(asked, placed.outcome, placed.content, placement, text_of(placed.valid_until_ms))

    async def _amp(self, asked: Asked) -> Answer:
        cors = cors_headers(asked.headers, asked.source, self.service.settings.amp_senders)
        if cors is None:
            return Answer(b'{"items":[]}', "application/json", FALLBACK, 403)
        extra = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in cors.items())
        try:
            answer = await self._shown(asked, asked.client_class)
        except (Problem, NextbestError, TimeoutError):
            answer = self._in_trouble(asked)
        return replace(answer, headers=extra)

    def _quiet(self, asked: Asked, placement: Placement) -> Answer:
        if asked.form == "image":
            return self._prepared(asked, self.service.studio.quiet(placement.name, scale=asked.scale), QUIET)
        return _written(asked, QUIET, None, placement, None)

    def _in_trouble(self, asked: Asked) -> Answer:
        name = "" if asked.token is None else asked.token.placement
        if asked.form == "image":
            return self._prepared(asked, self.service.studio.fallback(name, scale=asked.scale), FALLBACK)
        placement = _known_placement(self.service, name)
        content = None if placement is None else placement.fallback.render(None, {})
        return _written(asked, FALLBACK, content, placement, None)

    def _prepared(self, asked: Asked, drawing: Drawing, shown: str) -> Answer:
        if asked.as_jpeg:
            drawing = self.service.studio.as_jpeg(drawing)
        return Answer(drawing.content, drawing.media_type, shown)


class Link(MailEndpoint):
    """/c/TOKEN: to what the picture showed."""

    def _form(self, name: str) -> tuple[str, Form, int]:
        return name, "click", 1

    async def _answered(self, asked: Asked) -> Answer:
        if asked.token is None:
            return self._in_trouble(asked)
        token, client_class = asked.token, asked.client_class
        note = note_of(token, client_class)  # one id for both ways: a note may be written though its answer came late
        try:
            async with self._deadline():
                found = await destination_of(self.service, token, client_class)
                if client_class != SCANNER:
                    await followed(self.service, **{**note, "how": found.how})
        except (NextbestError, TimeoutError):
            found = Destination(placement_of(token, self.service.deployed().strategy).default_url, FALLBACK)
            if client_class != SCANNER:  # not under the deadline, whose end would lose it: a flush takes milliseconds
                await self.service.journal.take(self.service.seals, FOLLOWED, note)
        return _redirect(found.url, found.how)

    def _in_trouble(self, asked: Asked) -> Answer:
        placement = _known_placement(self.service, "" if asked.token is None else asked.token.placement)
        return _redirect("" if placement is None else placement.default_url, FALLBACK)


def mail_routes(service: Service) -> list[Route]:
    """Both paths. Whatever follows them is a token, even one with a line break, at which a route's own pattern ends."""
    routes, followed = [], Followed()
    for mail in (Picture(service, "/e/{token}", followed), Link(service, "/c/{token}", followed)):
        route = Route(mail.path.replace("{token}", "{name:path}"), mail, methods=mail.methods)
        route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)
        routes.append(route)
    return routes


def _known_placement(service: Service, name: str) -> Placement | None:
    """The placement of this name, else the first that mails draw, else none."""
    strategy = service.live.at_hand
    if strategy is None:
        return None
    placements = strategy.placements
    drawn = (each for each in placements.values() if each.picture is not None)
    return placements.get(name) or next(drawn, None)


def _written(
    asked: Asked, outcome: str, content: Mapping[str, Any] | None, placement: Placement | None, until: str | None
) -> Answer:
    """Content for whoever renders it: a fragment of HTML, JSON, or the items of an amp-list."""
    link = f"{asked.base}/c/{asked.raw_token}"
    if asked.token is None:  # what does not open is not repeated to whoever made it up
        link = "" if placement is None else placement.default_url
    if asked.form == "html":
        return Answer(fragment(placement, content, link).encode(), "text/html; charset=utf-8", outcome)
    if asked.form == "amp":
        items = [] if content is None else [{**content, "link": link}]
        return Answer(orjson.dumps({"items": items}), "application/json", outcome)
    said = "nothing" if content is None else ("message" if outcome == FALLBACK else outcome)
    body = {"outcome": said, "content": content, "link": link, "valid_until": until, "degraded": outcome == FALLBACK}
    return Answer(orjson.dumps(body), "application/json", outcome)


def _redirect(url: str, how: str) -> Answer:
    """A 302 to an address of the strategy; a plain page where there is none."""
    if not url:
        return Answer(NOWHERE, "text/html; charset=utf-8", how)
    location = quote(url, safe=URL_SAFE).encode()
    return Answer(b"", "text/plain", how, 302, ((b"location", location),))


async def _send(send: Send, method: str, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *NEVER_KEPT,
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})
