"""Request: what every service with FastAPI is asked, checked by pydantic; each imports it in its own environment."""

from __future__ import annotations

from pydantic import BaseModel


class Customer(BaseModel):
    """Who is asked about."""

    id: str


class Request(BaseModel):
    """A request of the size and shape of one for a decision."""

    customer: Customer
    channel: str
    placements: list[str]
    context: dict[str, str]
