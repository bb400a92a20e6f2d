"""What browsers may call: the rows below /web, their preflights, and the snippet."""

from __future__ import annotations

from starlette.routing import Route

from api.endpoint import Endpoint
from api.service import Service
from api.throttle import Throttle
from api.web.decisions import decide_for_page, fallback_for_page
from api.web.endpoint import Limits, Preflight, WebEndpoint
from api.web.images import Images
from api.web.responses import respond_for_page
from api.web.schemas import (
    VisitorAnswer,
    VisitorRequest,
    VisitorTokenAnswer,
    VisitorTokenRequest,
    WebDecisionAnswer,
    WebDecisionRequest,
    WebResponses,
    WebResponsesAnswer,
)
from api.web.script import script
from api.web.visitors import mint_anonymous, mint_visitor_token

VISITOR = "visitor"  # the owner of these rows: whoever holds a visitor token, on a page of its origin
PAGE_PATHS = ("/web/decisions", "/web/responses", "/web/visitors")


def web_endpoints(service: Service) -> list[Endpoint]:
    """The rows for browsers, and the one by which a site's server gets a token for them."""
    limits = Limits(
        addresses=Throttle(per_second=50, burst=200),  # a company or a mobile network may share one address
        tokens=Throttle(per_second=5, burst=30),  # one person who changes pages as fast as they can
    )
    return [
        Endpoint(
            service,
            "POST",
            "/v1/visitor-tokens",
            "decide",
            mint_visitor_token,
            VisitorTokenAnswer,
            "Make a visitor token for a browser.",
            VisitorTokenRequest,
            problems=("invalid_identifier",),
        ),
        WebEndpoint(
            service,
            "POST",
            "/web/visitors",
            VISITOR,
            mint_anonymous,
            VisitorAnswer,
            "Make a visitor token for an anonymous visitor.",
            VisitorRequest,
            limits=limits,
        ),
        WebEndpoint(
            service,
            "POST",
            "/web/decisions",
            VISITOR,
            decide_for_page,
            WebDecisionAnswer,
            "Decide for a page.",
            WebDecisionRequest,
            rescue=fallback_for_page,
            problems=("unknown_placement", "invalid_attribute", "erased"),
            limits=limits,
        ),
        WebEndpoint(
            service,
            "POST",
            "/web/responses",
            VISITOR,
            respond_for_page,
            WebResponsesAnswer,
            "Report what a visitor did.",
            WebResponses,
            problems=("invalid_token", "erased"),
            limits=limits,
        ),
    ]


def web_routes(service: Service) -> list[Route]:
    """What pages need beside those rows."""
    return [
        Route("/nextbest.js", script, methods=["GET"]),
        Route("/web/images/{version}/{name}", Images(service).answer, methods=["GET"]),
        *(Route(path, Preflight(service), methods=["OPTIONS"]) for path in PAGE_PATHS),
    ]
