"""Fixtures every part shares: the same persons in every run, a real server, and a store on it.

One server per test process, so one per worker of pytest-xdist. Each test gets it empty.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
import redis

from decisioning.errors import StoreUnavailable
from decisioning.store.embedded import EmbeddedServer, find_binary
from decisioning.store.redis import RedisStore, connect

# One thread a process: the test processes share the cores already, and trees whose threads wait for each other on a
# busy machine take thirty times as long. Read when the training library is first imported.
os.environ["OMP_NUM_THREADS"] = "1"

PATIENCE_MS = 10_000  # a test machine may be busy; what time does to a store is tested by tests that set their own


@pytest.fixture(autouse=True)
def persons(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of new customers, by which arms, ties and draws fall: other ones in each test, the same in every run."""
    dice = Random(request.node.nodeid)
    monkeypatch.setattr(secrets, "token_hex", lambda count: dice.randbytes(count).hex())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    try:
        find_binary()
    except StoreUnavailable as missing:
        pytest.skip(str(missing))  # tests/skips.py fails the run for it under CI=true
    with EmbeddedServer.start(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def store_url(server: EmbeddedServer) -> str:
    """The URL of an empty real server."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[RedisStore]:
    """A store on an empty real server."""
    connected = connect(store_url, deadline_ms=PATIENCE_MS)
    yield connected
    await connected.close()
