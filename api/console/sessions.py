"""Sessions: who is signed in, as a sealed cookie that only this installation can make or read.

A session names its user and the stamp of their password, and ends with either. Its `csrf` stands in every form of ours:
another site can make a browser send the cookie, and cannot know that.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.console.users import ROLES, Roster, User
from api.errors import Problem
from api.instants import wall_ms
from api.tokens import Sealer

SESSION, FORM = "nextbest_session", "nextbest_form"  # cookies: signed in; on the way to it
SESSION_HOURS = 12
DEMO_PREFIX = "demo-"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    user: User
    csrf: str


def opened_for(user: User) -> Session:
    """A new session."""
    return Session(user, secrets.token_urlsafe(16))


def demo_user(role: str) -> User:
    """Who works in the demo, without a password."""
    return User(f"{DEMO_PREFIX}{role}", role, None, "", "demo")


def set_session(response: Response, session: Session, sealer: Sealer, *, is_secure: bool) -> None:
    """Sign a browser in."""
    expires_ms = wall_ms() + SESSION_HOURS * 3_600_000
    parts: list[str | int | None] = [session.user.user_id, session.user.stamp, session.csrf, expires_ms]
    _set(response, SESSION, sealer.seal("session", parts), is_secure=is_secure, max_age_s=SESSION_HOURS * 3600)


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
        user_id, stamp, csrf, expires_ms = sealer.open("session", token, "cookie")
    except (Problem, ValueError):
        return None
    if not isinstance(expires_ms, int) or expires_ms < wall_ms():
        return None
    user = await _user(str(user_id), roster, may_demo=may_demo)
    return None if user is None or user.stamp != stamp else Session(user, str(csrf))


async def _user(user_id: str, roster: Roster, *, may_demo: bool) -> User | None:
    role = user_id.removeprefix(DEMO_PREFIX)
    if user_id.startswith(DEMO_PREFIX) and may_demo and role in ROLES:
        return demo_user(role)
    return await roster.find(user_id)
