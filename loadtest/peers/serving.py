"""Serving: what floors and peers have in common: uvicorn as we run it, a free port, and the options of the start.

Runs in the environment of the peer, so it imports nothing but uvicorn and the standard library.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn

KEEP_ALIVE_S = 600  # connections rest while others are measured
CUSTOMER = re.compile(rb'"id":"([^"]*)"')


@cache
def options() -> argparse.Namespace:
    """--store URL and --bank FOLDER, as running.py states them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--bank", type=Path, required=True)
    return parser.parse_args()


def store_url() -> str:
    """Of the store that peers share; it is empty when the first one comes."""
    return str(options().store)


def customers() -> Iterator[dict[str, Any]]:
    """The customers of the bank, one by one, without their consents."""
    with (options().bank / "generated/customers.jsonl").open() as lines:
        for line in lines:
            yield {name: value for name, value in json.loads(line).items() if not name.startswith("consent.")}


def asked_customer(body: bytes) -> bytes:
    """The id in a request, without reading the rest."""
    found = CUSTOMER.search(body)
    return found[1] if found else b""


def serve(app: Any) -> None:
    """Answer until asked to end; the first line of output is the port."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    uvicorn.Server(config).run(sockets=[listening])
