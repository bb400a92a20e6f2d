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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import orjson
from starlette.routing import Route

from api import metrics
from api.email.amp import cors_headers
from api.email.asking import Asked, Asking, Wanted, link_wanted, picture_wanted
from api.email.following import Destination, destination_of, followed, note_of
from api.email.fragment import fragment
from api.email.pictures import Drawing
from api.email.showing import Shown, placement_of, show
from api.endpoint import Receive, Scope, Send
from api.errors import Problem
from api.instants import text_of
from api.service import Service
from api.taking import FOLLOWED
from api.web.images import image_path
from decisioning.catalog.strategy import Placement
from decisioning.errors import NextbestError
from decisioning.opening import SCANNER, ClientClass

LOG = logging.getLogger("nextbest")
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
class Answer:
    """What goes back."""

    body: bytes
    media_type: str
    shown: str  # for the count: an outcome, quiet or fallback
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


class MailEndpoint:
    """One of the two paths."""

    path: str
    methods: tuple[str, ...] = ("GET", "HEAD")
    wanted: Callable[[str], Wanted]

    def __init__(self, service: Service, asking: Asking) -> None:
        self.service = service
        self._asking = asking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        started_s = time.perf_counter()
        asked = self._asking.asked(scope, self.wanted(scope["path_params"]["name"]))
        try:
            answer = await self._answered(asked)
        except (Problem, NextbestError, TimeoutError):
            answer = self._in_trouble(asked)
        except Exception:  # the outermost: a mail is out, and nobody can repeat what it asks
            LOG.exception("%s shows its fallback", self.path)
            answer = self._in_trouble(asked)
        metrics.MAIL.labels(asked.wanted.form, asked.client_class, answer.shown).inc()
        metrics.REQUESTS.labels(self.path, answer.status).inc()
        metrics.LATENCY.labels(self.path).observe(time.perf_counter() - started_s)
        await _send(send, asked.method, answer)

    async def _answered(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def _in_trouble(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def _deadline(self) -> asyncio.Timeout:
        return asyncio.timeout(IN_TIME * self.service.settings.deadline_ms / 1000)


class Picture(MailEndpoint):
    """/e/TOKEN in every form: a picture, or content for whoever renders it."""

    path = "/e/{token}"
    wanted = staticmethod(picture_wanted)
    methods = ("GET", "HEAD", "POST")  # platforms keep what they GET when they send, and not what they POST

    async def _answered(self, asked: Asked) -> Answer:
        if asked.wanted.form == "amp":
            return await self._amp(asked)
        return await self._shown(asked, asked.client_class)

    async def _shown(self, asked: Asked, client_class: ClientClass) -> Answer:
        if asked.token is None:
            return self._in_trouble(asked)
        placement = placement_of(asked.token, self.service.deployed().strategy)
        if client_class == SCANNER:
            return self._quiet(asked, placement)
        if asked.wanted.form == "image" and self.service.studio.is_full:
            return self._in_trouble(asked)  # before anything is promised: nobody would see it
        async with self._deadline():
            shown = await show(self.service, asked.token, client_class)
            return await self._showing(asked, placement, shown)

    async def _showing(self, asked: Asked, placement: Placement, shown: Shown) -> Answer:
        placed = shown.placed
        if placed.action is None or placed.content is None:
            return self._quiet(asked, placement)
        if asked.wanted.form == "image":
            scale, as_jpeg = asked.wanted.scale, asked.wanted.as_jpeg
            drawing = await self.service.studio.draw(placement, placed.content, scale=scale, as_jpeg=as_jpeg)
            return Answer(drawing.content, drawing.media_type, placed.outcome)
        content = self._with_addresses(asked, placement, placed.content)
        return _written(asked, placed.outcome, content, placement, text_of(placed.valid_until_ms))

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
        if asked.wanted.form == "image":
            return self._prepared(asked, self.service.studio.quiet(placement.name, scale=asked.wanted.scale), QUIET)
        return _written(asked, QUIET, None, placement, None)

    def _in_trouble(self, asked: Asked) -> Answer:
        if asked.wanted.form == "image":
            drawing = self.service.studio.fallback(asked.placement, scale=asked.wanted.scale)
            return self._prepared(asked, drawing, FALLBACK)
        placement = _known_placement(self.service, asked.placement)
        if placement is None:
            return _written(asked, FALLBACK, None, None, None)
        content = self._with_addresses(asked, placement, placement.fallback.render(None, {}))
        return _written(asked, FALLBACK, content, placement, None)

    def _with_addresses(self, asked: Asked, placement: Placement, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The content with the strategy's image files as addresses here, for whoever renders it elsewhere."""
        strategy = self.service.live.at_hand
        names = [name for name, field in placement.fields.items() if field.type == "image" and content.get(name)]
        if strategy is None or asked.wanted.form == "html" or not names:
            return content
        files = [name for name in names if content[name] in strategy.images]
        return {**content, **{name: f"{asked.base}/{image_path(content[name], strategy)}" for name in files}}

    def _prepared(self, asked: Asked, drawing: Drawing, shown: str) -> Answer:
        if asked.wanted.as_jpeg:
            drawing = self.service.studio.as_jpeg(drawing)
        return Answer(drawing.content, drawing.media_type, shown)


class Link(MailEndpoint):
    """/c/TOKEN: to what the picture showed."""

    path = "/c/{token}"
    wanted = staticmethod(link_wanted)

    async def _answered(self, asked: Asked) -> Answer:
        if asked.token is None:
            return self._in_trouble(asked)
        token, client_class = asked.token, asked.client_class
        found = Destination(placement_of(token, self.service.deployed().strategy).default_url, FALLBACK)
        note = note_of(token, client_class)  # one id for both ways: a note may be written though its answer came late
        try:
            async with self._deadline():
                found = await destination_of(self.service, token, client_class)
                note = {**note, "how": found.how}
                if client_class != SCANNER:
                    await followed(self.service, **note)
        except (NextbestError, TimeoutError):
            if client_class != SCANNER:  # not under the deadline, whose end would lose it: a flush takes milliseconds
                with suppress(Problem):  # no room for notes is no reason to lead elsewhere
                    await self.service.journal.take(self.service.seals, FOLLOWED, note)
        return _redirect(found.url, found.how)

    def _in_trouble(self, asked: Asked) -> Answer:
        placement = _known_placement(self.service, asked.placement)
        return _redirect("" if placement is None else placement.default_url, FALLBACK)


def mail_routes(service: Service) -> list[Route]:
    """Both paths. Whatever follows them is a token, even one with a line break, at which a route's own pattern ends."""
    routes, asking = [], Asking(service)
    for mail in (Picture(service, asking), Link(service, asking)):
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
    link = f"{asked.base}/c/{asked.wanted.raw_token}"
    if asked.token is None:  # what does not open is not repeated to whoever made it up
        link = "" if placement is None else placement.default_url
    if asked.wanted.form == "html":
        return Answer(fragment(placement, content, link).encode(), "text/html; charset=utf-8", outcome)
    if asked.wanted.form == "amp":
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
