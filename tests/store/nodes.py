"""Nodes: a real Redis or Valkey cluster on this machine, for tests and proofs that need several nodes.

Put together by hand, slots and epochs included, so that it is ready within two seconds and without `redis-cli`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import redis
from redis.backoff import ConstantBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import RedisError
from redis.retry import Retry

from decisioning.store.process import die_with_parent

PATIENCE_S = 30  # far beyond what a busy machine takes
CLUSTERED = ("--cluster-enabled", "yes", "--save", "", "--repl-diskless-sync-delay", "0")


class Node:
    """One server on a port of its own; killed with the process that started it."""

    def __init__(self, binary: Path, folder: Path, options: tuple[str, ...]) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self._command = [str(binary), "--port", str(self.port), *options]
        self._folder = folder
        self.launch()

    def launch(self, *more: str) -> None:
        """Start the server, for the first time or again on what it left; with more options if need be."""
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, *more],
                cwd=self._folder,
                stdout=log,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the server at once; returns when it is gone."""
        self.process.kill()
        self.process.wait()

    def ask(self, *words: str | int) -> str:
        """The server's plain reply to one command."""
        with redis.Redis(port=self.port, retry=Retry(ConstantBackoff(0.02), 200)) as client:
            client.response_callbacks.clear()  # the server's words, not redis-py's dictionaries
            reply = client.execute_command(*words)
        return reply.decode() if isinstance(reply, bytes) else str(reply)

    @property
    def name(self) -> str:
        return self.ask("CLUSTER", "MYID")

    @property
    def is_primary(self) -> bool:
        return self.ask("INFO", "replication").partition("role:")[2].startswith("master")


class ClusterOfNodes:
    """Primaries with equal shares of the slots, and replicas of them in turn."""

    def __init__(self, binary: Path, folder: Path, *, primaries: int, replicas: int, options: tuple[str, ...]) -> None:
        self.nodes = [Node(binary, folder / f"node-{n}", (*CLUSTERED, *options)) for n in range(primaries + replicas)]
        self.primaries, self.replicas = self.nodes[:primaries], self.nodes[primaries:]

    @classmethod
    def start(
        cls, binary: Path, folder: Path, *, primaries: int = 3, replicas: int = 0, options: tuple[str, ...] = ()
    ) -> Self:
        """Start all nodes and wait until each of them sees a working cluster."""
        started = cls(binary, folder, primaries=primaries, replicas=replicas, options=options)
        try:
            started._join()
        except BaseException:
            started.stop()
            raise
        return started

    @property
    def url(self) -> str:
        """A URL that names all primaries."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.primaries)}"

    def holder_of(self, key: str) -> Node:
        """The primary, of those at the start, whose slots include the key's."""
        slot = int(self.nodes[0].ask("CLUSTER", "KEYSLOT", key))
        return self.primaries[slot * len(self.primaries) // REDIS_CLUSTER_HASH_SLOTS]

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    def _join(self) -> None:
        share = REDIS_CLUSTER_HASH_SLOTS / len(self.primaries)
        for n, node in enumerate(self.primaries):
            first, last = -int(-n * share // 1), -int(-(n + 1) * share // 1) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port)
        wait_until(
            lambda: all(f"known_nodes:{len(self.nodes)}\r" in node.ask("CLUSTER", "INFO") for node in self.nodes)
        )
        for node, primary in zip(self.replicas, cycle(self.primaries), strict=False):
            node.ask("CLUSTER", "REPLICATE", primary.name)
        wait_until(lambda: all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes))
        wait_until(lambda: all("master_link_status:up" in node.ask("INFO", "replication") for node in self.replicas))


def nodes_of(url: str) -> list[str]:
    """The URL of each server behind a store's URL: the primaries of a cluster, else the one server."""
    if "+cluster://" not in url:
        return [url]
    return [f"redis://{place}" for place in urlsplit(url).netloc.split(",")]


def free_port() -> int:
    """A free port whose neighbour 10,000 above, the cluster bus, is free too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        if port < 55_000 and is_free(port + 10_000):
            return port


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what is sure to come, and fail when it does not."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not _holds(condition):
        assert time.monotonic() < give_up_s, "it did not happen"
        time.sleep(0.02)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except RedisError:  # a server that is just being started or stopped
        return False
