"""Get: FastAPI, pydantic, and one GET of a value of a profile's size with redis-py."""

from __future__ import annotations

from fastapi import FastAPI
from redis.asyncio import Redis

from loadtest.peers.floors.profiles import fill
from loadtest.peers.request import Request
from loadtest.peers.serving import serve, store_url

app = FastAPI()
store = Redis.from_url(store_url(), max_connections=256)  # one for each request at once; redis-py refuses the 101st


@app.post("/ask")
async def ask(request: Request) -> dict[str, bool]:
    """Whether the customer is there."""
    return {"found": await store.get(f"customer:{request.customer.id}") is not None}


if __name__ == "__main__":
    fill()
    serve(app)
