"""Wire: commands go to the store, be it one server or a cluster, and replies come back within a deadline.

Between redis.py, which knows keys and scripts, and lane.py and cluster.py, which know connections and nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from decisioning.store.cluster import Cluster, limited
from decisioning.store.lane import Lane
from decisioning.store.link import Command, Reply, connection_to

CLUSTER_MARK = "+cluster://"


class Wire:
    """Bound to the event loop of its first call."""

    def __init__(self, url: str, *, deadline_ms: int) -> None:
        """url: as connect() in redis.py takes it. Raises ValueError when it cannot be read."""
        self._seeds = _seeds(url)
        self._deadline_s = deadline_ms / 1000
        self._way: Lane | Cluster
        if CLUSTER_MARK in url:
            self._way = Cluster(self._seeds, deadline_s=self._deadline_s)
        else:
            self._way = Lane(url, deadline_s=self._deadline_s)
        self._is_sure = CLUSTER_MARK in url or url.startswith("unix:")  # nodes name each other by host and port
        self._finding_out = asyncio.Lock()

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one round trip, together with those of other callers; replies in order.

        Raises StoreUnavailable after the deadline or when a connection breaks. A caller who gives up before its turn
        has sent nothing.
        """
        if self._is_sure:
            return await self._way.exchange(commands)
        async with limited(self._deadline_s):  # for both
            await self._find_out()
            return await self._way.exchange(commands)

    async def close(self) -> None:
        """Give the connections back; calls under way or waiting fail as unavailable."""
        await self._way.close()

    async def _find_out(self) -> None:
        """A server that is part of a cluster says so."""
        async with self._finding_out:
            if self._is_sure:
                return
            [info] = await self._way.exchange([("INFO", b"cluster")])
            if isinstance(info, bytes) and b"cluster_enabled:1" in info:
                await self._way.close()
                self._way = Cluster(self._seeds, deadline_s=self._deadline_s)
            self._is_sure = True


def _seeds(url: str) -> list[str]:
    """The URL of each server that it names: `redis+cluster://` may name several, as host:port,host:port."""
    if CLUSTER_MARK not in url:
        connection_to(url)
        return [url]
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix("+cluster")
    seeds = [parts._replace(scheme=scheme, netloc=f"{user}{at}{host}").geturl() for host in hosts.split(",")]
    for seed in seeds:
        connection_to(seed)
    return seeds
