"""The address without a path: in the demo all channels of one customer side by side, else the way in."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from api.console.bank import seen_by
from api.console.inbox import mails_of
from api.console.page import SIGN_IN, Visit
from api.console.sessions import opened_in_demo, set_session
from api.console.sign_in import HOME
from api.console.users import AGENT


async def start_page(visit: Visit) -> Response:
    """GET: whoever opens the demo on this machine is its agent, unless they chose to be somebody else."""
    if not visit.may_demo:
        return RedirectResponse(SIGN_IN if visit.session is None else HOME, 303)
    is_new = visit.session is None
    if visit.session is None:
        visit.session = opened_in_demo(AGENT)
        visit.csrf = visit.session.csrf
    values = await seen_by(visit)
    mails = await mails_of(visit, values["customer"], visit.service.deployed().strategy)
    response = visit.show("start.html", mails=mails, **values)
    if is_new:
        set_session(response, visit.session, visit.service.seals, is_secure=visit.is_secure)
    return response
