"""The words between a browser and the service. Strict like those of /v1; what a browser need not know is not there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from api.schemas import VISITOR_PATTERN, CustomerRef, Name, Strict

Origin = Annotated[
    str, Meta(min_length=1, max_length=200, description="Of the page, for example https://bank.example.")
]
Token = Annotated[str, Meta(min_length=1, max_length=2000)]
VisitorToken = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2000,
        description="Names the customer. Here, or as a bearer token in the header Authorization.",
    ),
]
# What a page can know by itself. `converted` needs somebody who knows that money came: POST /v1/responses.
WebOutcome = Literal["impression", "clicked", "accepted", "rejected", "dismissed"]


class VisitorTokenRequest(Strict):
    """A token for the browser of a customer whom your server knows."""

    customer: CustomerRef
    origin: Origin
    minutes: Annotated[int, Meta(ge=1, le=60, description="How long it is good for.")] = 60


class VisitorTokenAnswer(Struct, kw_only=True):
    """The token, for one customer and the pages of one origin."""

    visitor_token: str
    expires_at: str


class VisitorRequest(Strict):
    """A token for somebody whom nobody knows yet, or who was here before."""

    visitor_id: (
        Annotated[
            str,
            Meta(pattern=VISITOR_PATTERN, description="Of an earlier answer; left out, a new one is made."),
        ]
        | UnsetType
    ) = UNSET


class VisitorAnswer(VisitorTokenAnswer, kw_only=True):
    """The token, and the id that it names."""

    visitor_id: str


class WebDecisionRequest(Strict):
    """What should this visitor see in these placements of one channel, now?"""

    placements: Annotated[list[Name], Meta(min_length=1, max_length=100, description="20 at most are answered.")]
    visitor_token: VisitorToken | UnsetType = UNSET
    customer: CustomerRef | UnsetType = UNSET  # may only repeat whom the token names
    context: dict[str, Any] = field(default_factory=dict)


class WebPlacementAnswer(Struct, kw_only=True):
    """The outcome of one placement."""

    placement: str
    outcome: Literal["offer", "message", "nothing"]
    rank: int
    content: dict[str, Any] | None
    types: dict[str, str]  # of the content's fields: text, html, url, image, link or texts
    event_token: str | None


class WebDecisionAnswer(Struct, kw_only=True):
    """What to show."""

    valid_until: str
    fallback: bool  # prepared brand content, because something inside was in trouble; a page may keep its own
    placements: list[WebPlacementAnswer]
    refused: dict[str, str]  # why a placement that was asked for is not among them; a 4xx where none is


class WebResponse(Strict):
    """What a visitor did with what was shown."""

    event_token: Token
    outcome: WebOutcome


class WebResponses(Strict):
    """Responses of one page."""

    responses: Annotated[list[WebResponse], Meta(min_length=1, max_length=50)]
    visitor_token: VisitorToken | UnsetType = UNSET


class WebResponseAnswer(Struct, kw_only=True):
    """One response as it was taken; `kept` is counted as soon as the store answers."""

    status: Literal["counted", "repeated", "kept"]


class WebResponsesAnswer(Struct, kw_only=True):
    """All of them, in order."""

    responses: list[WebResponseAnswer]
