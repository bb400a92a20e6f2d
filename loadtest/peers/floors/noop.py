"""Noop: FastAPI and a body checked by pydantic, and nothing else. Any service of this kind pays it first."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from loadtest.peers.serving import serve

app = FastAPI()


class Customer(BaseModel):
    """Who is asked about."""

    id: str


class Request(BaseModel):
    """A request of the size and shape of one for a decision."""

    customer: Customer
    channel: str
    placements: list[str]
    context: dict[str, str]


@app.post("/ask")
async def ask(request: Request) -> dict[str, str]:
    """Nothing."""
    return {}


if __name__ == "__main__":
    serve(app)
