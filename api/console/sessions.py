"""Sessions: who is signed in, as a sealed cookie that only this installation can make or read.

A session names its user and the stamp of their password and last sign-out, and ends with any of them, after hours, and
before that when nobody uses it. Its `csrf` stands in every form of ours: another site can make a browser send the
cookie, and cannot know that.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.console.users import ROLES, Known, Roster, User
from api.errors import Problem
from api.instants import wall_ms
from api.tokens import Sealer

SESSION, FORM = "nextbest_session", "nextbest_form"  # cookies: signed in; on the way to it
SESSION_MS = 12 * 3_600_000
IDLE_MS = 3_600_000  # without a page that a person asked for
RENEWED_MS = 60_000  # a cookie is made anew at most so often
DEMO_PREFIX = "demo-"
DEMO_STAMP = "demo"  # in place of a password's, which is longer


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    user: User
    stamp: str  # of the user, when they signed in
    csrf: str
    ends_ms: int  # whatever happens
    used_ms: int  # a minute ago at most, while pages are asked for

    @property
    def is_over(self) -> bool:
        """True after hours, or when nobody used it for long."""
        return wall_ms() >= min(self.ends_ms, self.used_ms + IDLE_MS)

    def is_to_be_renewed(self) -> bool:
        """True when the browser's cookie does not tell of its use yet."""
        return wall_ms() >= self.used_ms + RENEWED_MS


def opened_for(known: Known) -> Session:
    """A new session."""
    now_ms = wall_ms()
    return Session(known.user, known.stamp, known.user.csrf, now_ms + SESSION_MS, now_ms)


def opened_in_demo(role: str) -> Session:
    """A new session of the demo, without a password: its `csrf` is a secret of its own."""
    now_ms = wall_ms()
    return Session(demo_user(role), DEMO_STAMP, secrets.token_urlsafe(16), now_ms + SESSION_MS, now_ms)


def demo_user(role: str) -> User:
    """Who works in the demo."""
    return User(f"{DEMO_PREFIX}{role}", role, None, "", "")


def set_session(response: Response, session: Session, sealer: Sealer, *, is_secure: bool) -> None:
    """Sign a browser in, or tell its cookie that the session is in use."""
    now_ms = wall_ms()
    parts: list[str | int | None] = [session.user.user_id, session.stamp, session.csrf, session.ends_ms, now_ms]
    max_age_s = (session.ends_ms - now_ms) // 1000
    _set(response, SESSION, sealer.seal("session", parts), is_secure=is_secure, max_age_s=max_age_s)


def set_form(response: Response, csrf: str, *, is_secure: bool) -> None:
    """Give a browser that is not signed in something that its next form has to repeat."""
    _set(response, FORM, csrf, is_secure=is_secure, max_age_s=3600)


def _set(response: Response, name: str, value: str, *, is_secure: bool, max_age_s: int) -> None:
    response.set_cookie(name, value, max_age=max_age_s, path="/", httponly=True, samesite="lax", secure=is_secure)


async def session_of(
    cookies: Mapping[str, str], sealer: Sealer | None, roster: Roster, *, may_demo: bool
) -> Session | None:
    """The session behind a browser's cookies; None for one that is forged, over, or whose user is gone."""
    token = cookies.get(SESSION)
    if not token or sealer is None:
        return None
    try:
        user_id, stamp, csrf, ends_ms, used_ms = sealer.open("session", token, "cookie")
    except (Problem, ValueError):
        return None
    if not isinstance(ends_ms, int) or not isinstance(used_ms, int):
        return None
    known = await _known(str(user_id), roster, may_demo=may_demo)
    if known is None or known.stamp != stamp:
        return None
    session = Session(known.user, known.stamp, str(csrf), ends_ms, used_ms)
    return None if session.is_over else session


async def _known(user_id: str, roster: Roster, *, may_demo: bool) -> Known | None:
    role = user_id.removeprefix(DEMO_PREFIX)
    if user_id.startswith(DEMO_PREFIX) and may_demo and role in ROLES:
        return Known(demo_user(role), DEMO_STAMP, 0.0)
    return await roster.find(user_id)
