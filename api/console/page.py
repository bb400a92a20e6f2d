"""Page: one row of the console as a bare ASGI callable.

Every page goes through here: session and role, limit, form and its CSRF token, one place that catches everything, one
set of headers. The content security policy allows no inline script or style; nothing we write needs one.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from api import metrics
from api.console.attempts import Attempts
from api.console.sessions import FORM, Session, session_of, set_form, set_session
from api.console.shell import rendered
from api.console.users import Roster
from api.endpoint import KIB
from api.errors import Problem, problem_of
from api.loopback import is_local
from api.service import Service
from api.throttle import Throttle, network_of
from decisioning.errors import StoreUnavailable

LOG = logging.getLogger("nextbest")
BODY_BYTES_MAX = 16 * KIB
DEADLINES = 2  # a page asks the store several times, and has twice the time of an answer that asks it twice
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
SIGN_IN = "/console/sign-in"
REFRESHING = "changed"  # the element by which an open screen loads itself again

Said = TypeVar("Said")


@dataclass(slots=True)
class Console:
    """What all pages of one process share."""

    service: Service
    roster: Roster = field(init=False)
    visits: Throttle = field(default_factory=lambda: Throttle(burst=60, per_second=20))  # by user, else by address
    attempts: Attempts = field(default_factory=Attempts)

    def __post_init__(self) -> None:
        self.roster = Roster(self.service.store)


@dataclass(slots=True)
class Visit:
    """One request to a page, as its handler sees it."""

    console: Console
    request: Request
    cookies: Mapping[str, str]
    session: Session | None
    csrf: str  # for every form of the page
    form: Mapping[str, str]
    may_demo: bool
    until_s: float  # on the loop's clock: later than this, prepared content is as good

    @property
    def service(self) -> Service:
        """Store, strategy and model."""
        return self.console.service

    @property
    def signed_in(self) -> Session:
        """The session of a page that has roles, which nobody reaches without one."""
        assert self.session is not None
        return self.session

    @property
    def wants_fragment(self) -> bool:
        """True when htmx asks, and puts the answer into the page that is there."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def is_from_elsewhere(self) -> bool:
        """True when a page of another site led here; a browser says so itself."""
        return self.request.headers.get("sec-fetch-site") in ("cross-site", "same-site")

    def led_to(self, target: str) -> str:
        """Where signing in leads: a page of another site may name one of ours, but not what it is asked.

        The page itself would no longer know who led there: the sign-in's form comes in between, and is our own.
        """
        return target.partition("?")[0] if self.is_from_elsewhere else target

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return self.request.client.host if self.request.client else ""

    @property
    def is_secure(self) -> bool:
        """True over https: cookies stay there."""
        return self.request.url.scheme == "https"

    async def in_time(self, asking: Awaitable[Said]) -> Said:
        """What the store says, while there is time. Raises StoreUnavailable, and from then on at once."""
        try:
            async with asyncio.timeout_at(self.until_s):
                return await asking
        except (StoreUnavailable, TimeoutError):
            self.until_s = 0.0
            raise StoreUnavailable("the page has no more time to ask") from None

    def asked(self, name: str) -> str:
        """A parameter of the address, or empty."""
        return self.request.query_params.get(name, "").strip()

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """A template of ours, with what every page knows."""
        user = self.session.user if self.session else None
        path = self.request.url.path
        body = rendered(template, user=user, csrf=self.csrf, path=path, is_demo=self.may_demo, **values)
        return Response(body, status, media_type="text/html")


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(slots=True)
class Page:
    """A method and path, which roles may open it, and what answers."""

    console: Console
    method: str
    path: str
    roles: frozenset[str]  # empty: everybody
    handler: Handler
    is_pulse: bool = False  # open screens ask by themselves, which keeps no session alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started_s = time.perf_counter()
        request, service = Request(scope, receive), self.console.service
        visit = await self._visit(request)
        try:
            response = await self._answered(visit)
        except Exception as error:  # the outermost: whatever broke, somebody looks at the screen
            response = self._troubled(visit, error)
        response.headers.update({name: each for name, each in HEADERS.items() if name not in response.headers})
        is_by_itself = self.is_pulse or request.headers.get("hx-trigger") == REFRESHING
        if visit.session is not None and self.roles and not is_by_itself and visit.session.is_to_be_renewed():
            set_session(response, visit.session, service.seals, is_secure=visit.is_secure)
        if visit.session is None and visit.cookies.get(FORM) != visit.csrf and self.method == "GET":
            set_form(response, visit.csrf, is_secure=visit.is_secure)
        metrics.REQUESTS.labels(self.path, response.status_code).inc()
        metrics.LATENCY.labels(self.path).observe(time.perf_counter() - started_s)
        await response(scope, receive, send)

    async def _visit(self, request: Request) -> Visit:
        service = self.console.service
        until_s = asyncio.get_running_loop().time() + DEADLINES * service.settings.deadline_ms / 1000
        may_demo = service.settings.demo and is_local(request.scope)
        cookies = _cookies_of(request)
        session = await session_of(cookies, service.sealer, self.console.roster, may_demo=may_demo)
        csrf = session.csrf if session else cookies.get(FORM) or secrets.token_urlsafe(16)
        return Visit(self.console, request, cookies, session, csrf, {}, may_demo, until_s)

    async def _answered(self, visit: Visit) -> Response:
        name = f"user {visit.session.user.user_id}" if visit.session else f"address {network_of(visit.address)}"
        if not self.console.visits.allows(name):
            raise Problem("rate_limited", "Too many requests in a short time. Wait a moment.", "page", 1)
        if self.roles and visit.session is None:
            return _to_sign_in(visit)
        if visit.session and self.roles and visit.session.user.role not in self.roles:
            message = f"This page is for {' and '.join(sorted(self.roles))}. You are {visit.session.user.role}."
            raise Problem("forbidden", message, "page")
        if self.method == "POST":
            visit.form = await _form(visit)
        return await self.handler(visit)

    def _troubled(self, visit: Visit, error: Exception) -> Response:
        problem = problem_of(error)
        if problem is None:
            LOG.error("%s %s: %s", self.method, self.path, error, exc_info=True)
            problem = Problem("internal", "Something broke here and was logged. Try again.", "server")
        template = "trouble_part.html" if visit.wants_fragment else "trouble.html"
        response = visit.show(template, problem.status, problem=problem)
        if problem.retry_after_s:
            response.headers["retry-after"] = str(problem.retry_after_s)
        return response


def _cookies_of(request: Request) -> dict[str, str]:
    """As they stand: ours are never quoted, and unquoting what others send takes Python before 3.11.10 seconds."""
    pairs = (each.partition("=") for header in request.headers.getlist("cookie") for each in header.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _to_sign_in(visit: Visit) -> Response:
    """The way in, and back to the page that is open; what a form said is lost, and the page says so."""
    url = visit.request.headers.get("hx-current-url", "") if visit.wants_fragment else str(visit.request.url)
    is_form = visit.request.method == "POST"
    asked = "" if is_form and not visit.wants_fragment else visit.led_to(re.sub(r"^https?://[^/]*", "", url))
    told = urlencode({"next": asked, "lost": "1"} if is_form else {"next": asked})
    if visit.wants_fragment:
        return Response(status_code=204, headers={"hx-redirect": f"{SIGN_IN}?{told}"})
    return RedirectResponse(f"{SIGN_IN}?{told}", 303)


async def _form(visit: Visit) -> dict[str, str]:
    """The fields of a form that one of our own pages sent. Raises Problem."""
    raw = b""
    async for chunk in visit.request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES_MAX:
            raise Problem("too_large", f"A form has at most {BODY_BYTES_MAX // KIB} KiB.", "body")
    fields = dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))
    origin = visit.request.headers.get("origin")
    is_ours = origin is None or urlsplit(origin).netloc == visit.request.headers.get("host")
    # Without a session the form repeats a cookie; a browser that was never here has none.
    expected = visit.csrf if visit.session else visit.cookies.get(FORM, "")
    if not (is_ours and expected and hmac.compare_digest(fields.get("csrf", "").encode(), expected.encode())):
        raise Problem("forbidden", "This form is too old or not from here. Load the page again and repeat.", "csrf")
    return fields
