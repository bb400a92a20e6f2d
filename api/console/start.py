"""The address without a path: in the demo its start page, else the way in."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from api.console.page import SIGN_IN, Visit
from api.console.sign_in import HOME


async def start_page(visit: Visit) -> Response:
    """GET /"""
    return RedirectResponse(SIGN_IN if visit.session is None else HOME, 303)
