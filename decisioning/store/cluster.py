"""Cluster: which node of a Redis or Valkey cluster holds what, and what to do when that changes.

Between wire.py and lane.py. Each node has a lane of its own, so a node that is away delays and fails nobody but those
who ask for what it holds. A command that a node refuses with MOVED or ASK has not run, and goes where the refusal
points; nothing else is ever sent again. While a node that holds something fails, the map of the cluster is looked up
ten times a second, so a replica is asked within 0.1 s of its promotion.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from decisioning.errors import StoreUnavailable
from decisioning.store.lane import Lane
from decisioning.store.link import Command, Reply

HOPS_MAX = 4  # of one command: a slot that has just moved costs one, and the answer can be outdated itself
LOOK_NODES = 4  # asked for the map at the same time; the first sound answer is taken
LOOK_PAUSE_S = 0.1
_ASKING: Command = ("ASKING",)
_LOOK: tuple[Command, ...] = ("CLUSTER", b"INFO"), ("CLUSTER", b"SLOTS")


@asynccontextmanager
async def limited(deadline_s: float) -> AsyncIterator[None]:
    """What is inside raises StoreUnavailable after the deadline."""
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"the store did not answer within {deadline_s * 1000:.0f} ms") from None


class _Place(NamedTuple):
    """Where a command goes."""

    url: str
    is_asking: bool = False  # the slot is on its way there, and the node takes its commands only when told so


class Cluster:
    """Bound to the event loop of its first call."""

    def __init__(self, seeds: Sequence[str], *, deadline_s: float) -> None:
        """seeds: URLs of some nodes, of which one has to answer; they differ in nothing but host and port."""
        self._seeds = seeds
        self._deadline_s = deadline_s
        self._lanes: dict[str, Lane] = {}  # by URL of the node
        self._members: set[str] = set()  # all nodes in the map, replicas included
        self._holders: list[str] = []  # of each slot; empty where nobody holds it
        self._failing: set[str] = set()  # nodes that did not answer when last asked
        self._is_outdated = False  # the map: somebody was sent elsewhere
        self._first_look = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send each command to the node that holds its key, to all nodes at once; replies in order.

        Raises StoreUnavailable after the deadline or when one of these nodes fails; commands to the others may have run
        nevertheless.
        """
        async with limited(self._deadline_s):
            return await self._lead(commands)

    async def close(self) -> None:
        """Give all connections back; calls under way or waiting fail as unavailable."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._keep_only(set())

    async def _lead(self, commands: Sequence[Command]) -> list[Reply]:
        if not self._holders:
            await self._look_once()
        places = [self._place_of(command) for command in commands]
        replies = await self._spread(commands, places)
        for _ in range(HOPS_MAX):
            astray = [at for at, reply in enumerate(replies) if isinstance(reply, AskError)]
            if not astray:
                break
            for at in astray:
                places[at] = self._pointed(replies[at], places[at])
            again = await self._spread([commands[at] for at in astray], [places[at] for at in astray])
            for at, reply in zip(astray, again, strict=True):
                replies[at] = reply
        if any(isinstance(reply, ClusterDownError) for reply in replies):
            self._look_soon()
        return replies

    def _place_of(self, command: Command) -> _Place:
        verb, *arguments = command
        key = arguments[2 if verb in ("EVALSHA", "EVAL") else 0]  # behind a script come the count of keys and the keys
        assert isinstance(key, bytes)
        slot = key_slot(key)
        holder = self._holders[slot]
        if not holder:
            self._look_soon()
            raise StoreUnavailable(f"no node of the cluster holds slot {slot}")  # a key may name a customer
        return _Place(holder)

    def _pointed(self, refusal: AskError, place: _Place) -> _Place:
        """Where the refusal of a node sends us."""
        url = _beside(place.url, refusal.host, refusal.port)
        if not url or not 0 <= refusal.slot_id < REDIS_CLUSTER_HASH_SLOTS:
            self._look_soon()
            raise StoreUnavailable(f"a node of the cluster points to a place that cannot be: {refusal}")
        if not isinstance(refusal, MovedError):
            return _Place(url, is_asking=True)
        self._holders[refusal.slot_id] = url
        self._look_soon()
        return _Place(url)

    async def _spread(self, commands: Sequence[Command], places: Sequence[_Place]) -> list[Reply]:
        by_place: dict[_Place, list[int]] = {}
        for at, place in enumerate(places):
            by_place.setdefault(place, []).append(at)
        if len(by_place) == 1:
            return await self._ask(places[0], commands)
        parts = (self._ask(place, [commands[at] for at in which]) for place, which in by_place.items())
        replies: list[Reply] = [None] * len(commands)
        for which, part in zip(by_place.values(), await asyncio.gather(*parts), strict=True):
            for at, reply in zip(which, part, strict=True):
                replies[at] = reply
        return replies

    async def _ask(self, place: _Place, commands: Sequence[Command]) -> list[Reply]:
        try:
            if place.is_asking:
                asked = [each for command in commands for each in (_ASKING, command)]
                return (await self._lane_to(place.url).exchange(asked))[1::2]
            replies = await self._lane_to(place.url).exchange(commands)
        except BaseException:  # a caller's end of patience is one of these, and all that tells of a silent node
            self._failing.add(place.url)
            self._look_soon()
            raise
        if self._failing:
            self._failing.discard(place.url)
        return replies

    def _lane_to(self, url: str) -> Lane:
        lane = self._lanes.get(url)
        if lane is None:
            lane = self._lanes[url] = Lane(url, deadline_s=self._deadline_s)
        return lane

    async def _look_once(self) -> None:
        async with self._first_look:  # a thousand callers of the first moment look once
            if not self._holders:
                await self._look()

    def _look_soon(self) -> None:
        self._is_outdated = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        """Look until nothing in the map is in doubt: a promotion takes seconds, and nobody announces it to clients."""
        while self._is_outdated or not self._failing.isdisjoint(self._holders):
            self._is_outdated = False
            with suppress(StoreUnavailable):
                await self._look()
            await asyncio.sleep(LOOK_PAUSE_S)

    async def _look(self) -> None:
        """Take the map of the first node that answers and is in touch with the cluster's majority."""
        known = list(self._members.union(self._seeds))
        asked = random.sample(known, min(LOOK_NODES, len(known)))
        looks = [asyncio.ensure_future(self._map_of(url)) for url in asked]
        try:
            for look in asyncio.as_completed(looks):
                with suppress(StoreUnavailable):
                    self._holders, self._members = await look
                    await self._keep_only(self._members.union(self._seeds))
                    return
        finally:
            for each in looks:
                each.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
        names = ", ".join(sorted(urlsplit(url).netloc.rpartition("@")[2] for url in asked))
        raise StoreUnavailable(f"none of the nodes {names} answers as a member of a working cluster")

    async def _map_of(self, url: str) -> tuple[list[str], set[str]]:
        """The holders of all slots and the members, as the node at this URL sees them."""
        info, ranges = await self._lane_to(url).exchange(_LOOK)
        if not (isinstance(info, bytes) and b"cluster_state:ok" in info and isinstance(ranges, list)):
            raise StoreUnavailable(f"not in touch with its cluster: {info!r}")
        self._failing.discard(url)
        return _map_in(ranges, url)

    async def _keep_only(self, urls: set[str]) -> None:
        gone = [self._lanes.pop(url) for url in self._lanes.keys() - urls]
        await asyncio.gather(*(lane.close() for lane in gone))


def _map_in(ranges: list[Reply], url: str) -> tuple[list[str], set[str]]:
    """The holders of all slots and the members, out of what the node at this URL says. Raises StoreUnavailable when it
    is no map: another node may have one.
    """
    holders, members = [""] * REDIS_CLUSTER_HASH_SLOTS, set[str]()
    try:
        for first, last, *nodes in ranges:
            if not 0 <= first <= last < REDIS_CLUSTER_HASH_SLOTS:
                raise ValueError(f"slots {first} to {last}")
            urls = [_beside(url, (node[0] or b"").decode(), node[1]) for node in nodes]
            members.update(each for each in urls if each)
            holders[first : last + 1] = [urls[0]] * (last + 1 - first)  # the primary is named first
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise StoreUnavailable(f"a node's map of its cluster cannot be read: {error}") from error
    return holders, members


def _beside(url: str, host: str, port: int) -> str:
    """The URL of another node than this one's, empty where there can be none; a node that names no host means its own.

    Nodes that were told to give names and have none say that theirs is "?".
    """
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    host = host or parts.hostname or ""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    beside = parts._replace(netloc=f"{user}{at}{place}").geturl()
    try:
        is_sound = urlsplit(beside).port == port and urlsplit(beside).netloc.endswith(place)
    except ValueError:  # for brackets and ports that cannot be
        is_sound = False
    return beside if is_sound else ""
