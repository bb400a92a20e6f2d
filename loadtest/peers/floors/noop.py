"""Noop: FastAPI and a body checked by pydantic, and nothing else. Any service of this kind pays it first."""

from __future__ import annotations

from fastapi import FastAPI

from loadtest.peers.request import Request
from loadtest.peers.serving import serve

app = FastAPI()


@app.post("/ask")
async def ask(request: Request) -> dict[str, str]:
    """Nothing."""
    return {}


if __name__ == "__main__":
    serve(app)
