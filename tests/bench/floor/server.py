"""The service that does nothing: FastAPI, a body checked by pydantic, an empty answer. Any decision pays this first.

Run as a child process by load.py; it prints the port it listens on.
"""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

KEEP_ALIVE_S = 600  # between two loads the connections rest while other things are measured

app = FastAPI()


class Request(BaseModel):
    """A request of the size and shape of one for a decision."""

    customer_id: str
    channel: str
    placements: list[str]
    context: dict[str, str]


@app.post("/noop")
async def noop(request: Request) -> dict[str, str]:
    return {}


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
