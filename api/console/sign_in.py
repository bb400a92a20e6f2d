"""Signing in and out.

A wrong name and a wrong password look the same and take the same time. After five attempts in a row a name has to wait:
one more a minute.
"""

from __future__ import annotations

import asyncio
import re

from starlette.responses import RedirectResponse, Response

from api.console.page import SIGN_IN, Visit
from api.console.sessions import SESSION, demo_user, opened_for, set_session
from api.console.users import NOBODY, PASSWORD_LENGTH_MAX, ROLES, User
from api.errors import Problem

HOME = "/console/agent"
OURS = re.compile(r"/(console/|docs\b)[\w/?=&.%+-]*")  # where signing in may lead; never to another host
_hashing = asyncio.Semaphore(2)  # a flood of guesses must not take every thread that pages need


async def sign_in_page(visit: Visit) -> Response:
    """GET: the form."""
    if visit.session is not None:
        return RedirectResponse(_target(visit.asked("next")), 303)
    return visit.show("sign_in.html", target=visit.asked("next"), failed=None, roles=ROLES)


async def sign_in(visit: Visit) -> Response:
    """POST: check name and password, or, in the demo on this machine, take the role that was chosen."""
    target = visit.form.get("next", "")
    if visit.may_demo and visit.form.get("role") in ROLES:
        return _welcome(visit, demo_user(visit.form["role"]), target)
    user_id, password = visit.form.get("user", "").strip(), visit.form.get("password", "")
    # Both count, so that neither many names from one place nor one name from many get far.
    if not (visit.console.by_address.allows(visit.address) and visit.console.by_name.allows(user_id)):
        message = "Too many attempts. Wait a minute before the next one."
        return _refused(visit, target, Problem("rate_limited", message, "sign-in", 60))
    user = await visit.console.roster.find(user_id)
    async with _hashing:
        knows = await asyncio.to_thread((user or NOBODY).knows, password[:PASSWORD_LENGTH_MAX])
    if user is None or not knows:
        return _refused(visit, target, Problem("unauthorised", "Name or password is wrong.", "sign-in"))
    return _welcome(visit, user, target)


async def sign_out(visit: Visit) -> Response:
    """POST: forget the session."""
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(SESSION, path="/")
    return response


def _welcome(visit: Visit, user: User, target: str) -> Response:
    response = RedirectResponse(_target(target), 303)
    set_session(response, opened_for(user), visit.service.seals, is_secure=visit.is_secure)
    return response


def _refused(visit: Visit, target: str, problem: Problem) -> Response:
    response = visit.show("sign_in.html", problem.status, target=target, failed=problem.message, roles=ROLES)
    if problem.retry_after_s:
        response.headers["retry-after"] = str(problem.retry_after_s)
    return response


def _target(asked: str) -> str:
    return asked if OURS.fullmatch(asked) else HOME
