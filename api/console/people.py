"""People of the demo: whom its pages can be seen as, and who it is now.

`nextbest run` names a few of its customers in the store's registry. The choice is a cookie of the browser, so that two
browsers may be two customers.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import orjson
from starlette.responses import RedirectResponse, Response

from api.console.page import Visit
from api.errors import Problem
from decisioning.errors import InvalidIdentifier, StoreUnavailable
from decisioning.identifiers import checked_customer_id

KIND, NAME = "demo", "customers"  # of the registry's entry
COOKIE = "nextbest_customer"
NOBODY_NAMED = ("C-00001",)


async def people_of(visit: Visit) -> tuple[str, ...]:
    """The customers that the switcher offers."""
    try:
        packed = await visit.in_time(visit.service.store.get(KIND, NAME))
    except StoreUnavailable:
        packed = None
    return tuple(orjson.loads(packed or b"[]")) or NOBODY_NAMED


async def person_of(visit: Visit) -> str:
    """Whom the demo is seen as. Raises Problem outside the demo."""
    if not visit.may_demo:
        raise Problem("not_found", "This page belongs to the demo, which `nextbest run` starts.", "path")
    try:
        return checked_customer_id(unquote(visit.cookies.get(COOKIE, "")))
    except InvalidIdentifier:
        return (await people_of(visit))[0]


async def switch_person(visit: Visit) -> Response:
    """POST: be somebody else."""
    await person_of(visit)
    customer_key = checked_customer_id(visit.form.get("customer", "").strip())
    back = visit.form.get("back", "/")
    response = RedirectResponse(back if back in ("/", "/demo/bank", "/demo/inbox") else "/", 303)
    kept = quote(customer_key)  # an id may have a comma, which a cookie would quote in a way that nobody reads here
    response.set_cookie(COOKIE, kept, path="/", httponly=True, samesite="lax", secure=visit.is_secure)
    return response
