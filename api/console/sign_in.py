"""Signing in and out.

A wrong name and a wrong password look the same and take the same time. Who fails again and again has to wait.
"""

from __future__ import annotations

import asyncio
import logging
import re

from starlette.responses import RedirectResponse, Response

from api.console.page import SIGN_IN, Visit
from api.console.sessions import DEMO_STAMP, SESSION, Session, opened_for, opened_in_demo, set_session
from api.console.users import NOBODY, PASSWORD_LENGTH_MAX, ROLES, USER_ID
from api.errors import Problem
from decisioning.errors import StoreUnavailable

LOG = logging.getLogger("nextbest")
HOME = "/console/agent"
OURS = re.compile(r"/(console/|docs\b)[\w/?=&.%+-]*")  # where signing in may lead; never to another host
_hashing = asyncio.Semaphore(2)  # a flood of guesses must not take every thread that pages need


async def sign_in_page(visit: Visit) -> Response:
    """GET: the form."""
    target = visit.led_to(visit.asked("next"))
    if visit.session is not None:
        return RedirectResponse(_target(target), 303)
    lost = "Your session is over, and what you pressed last was not taken." if visit.asked("lost") else None
    return visit.show("sign_in.html", target=target, failed=lost, roles=ROLES)


async def sign_in(visit: Visit) -> Response:
    """POST: check name and password, or, in the demo on this machine, take the role that was chosen."""
    target = visit.form.get("next", "")
    if visit.may_demo and visit.form.get("role") in ROLES:
        return _welcome(visit, opened_in_demo(visit.form["role"]), target)
    user_id, password = visit.form.get("user", "").strip(), visit.form.get("password", "")
    if not USER_ID.fullmatch(user_id):
        user_id = ""  # nobody's, and all of these are one to the bounds, however long
    if not visit.console.attempts.allows(user_id, visit.address):
        LOG.warning("sign-in of %s from %s held back: too many attempts", user_id or "nobody", visit.address)
        message = "Too many attempts. Wait a minute before the next one."
        return _refused(visit, target, Problem("rate_limited", message, "sign-in", 60))
    known = await visit.console.roster.find(user_id)
    async with _hashing:
        knows = await asyncio.to_thread((known.user if known else NOBODY).knows, password[:PASSWORD_LENGTH_MAX])
    if known is None or not knows:
        LOG.warning("sign-in of %s from %s failed", user_id or "nobody", visit.address)
        return _refused(visit, target, Problem("unauthorised", "Name or password is wrong.", "sign-in"))
    visit.console.attempts.forgive(user_id, visit.address)
    return _welcome(visit, opened_for(known), target)


async def sign_out(visit: Visit) -> Response:
    """POST: end every session of this user; while the store is down, the one of this browser."""
    user_id = visit.session.user.user_id if visit.session else ""
    if visit.session and visit.session.stamp != DEMO_STAMP:
        try:
            await visit.console.roster.sign_out(user_id)
        except StoreUnavailable:
            LOG.error("%s signed out while the store is down: copies of the cookie stay good", user_id)
    LOG.info("%s signed out from %s", user_id or "nobody", visit.address)
    visit.session = None
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(SESSION, path="/")
    return response


def _welcome(visit: Visit, session: Session, target: str) -> Response:
    LOG.info("%s signed in from %s", session.user.user_id, visit.address)
    response = RedirectResponse(_target(target), 303)
    set_session(response, session, visit.service.seals, is_secure=visit.is_secure)
    return response


def _refused(visit: Visit, target: str, problem: Problem) -> Response:
    response = visit.show("sign_in.html", problem.status, target=target, failed=problem.message, roles=ROLES)
    if problem.retry_after_s:
        response.headers["retry-after"] = str(problem.retry_after_s)
    return response


def _target(asked: str) -> str:
    return asked if OURS.fullmatch(asked) else HOME
