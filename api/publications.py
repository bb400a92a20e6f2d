"""Publications: the strategies in the store, which one is current, and the log of who made it so.

A published strategy stays in the store under its version, so going back is naming it again. Loading finds the faults
of its text; its pictures are drawn here, once, because serving processes load strategies and have no time for that.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import orjson

from api.email.inspection import inspect
from api.trail import ROLLBACK, SHORT, full_version, version_before, whoami
from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.errors import RegistryDamaged, StrategyFaulty, VersionMissing
from decisioning.restocking import Upkeep
from decisioning.store.protocol import Store

PUBLISH, SWITCH = "publish", "switch"
LOG = "publication"  # kind of the registry's entries, which are named by time and version


@dataclass(frozen=True, slots=True)
class Publication:
    """One line of the log: a version became current."""

    version: str
    name: str  # what the strategy calls itself
    at_ms: int  # by the clock of the machine the command ran on
    by: str  # user@host
    how: str  # publish, switch or rollback


async def publish_strategy(store: Store, files: Mapping[str, bytes], strategy: Strategy) -> None:
    """Store a strategy, compiled from these files, under its version and make it current.

    Raises StrategyFaulty when one of its pictures would come out wrong: a mail that is out shows what is published.
    """
    flawed = await asyncio.to_thread(inspect, strategy, now_ms=time.time_ns() // 1_000_000)
    if flawed:
        raise StrategyFaulty(flawed)
    packed = orjson.dumps({path: b64encode(body).decode() for path, body in files.items()})
    await store.put("strategy", strategy.version, packed)
    await _name(store, strategy, PUBLISH)


async def switch_strategy(store: Store, version: str) -> Strategy:
    """Make a stored strategy current, by the beginning of its version; running processes take it up within seconds."""
    strategy = await stored_strategy(store, version)
    await _name(store, strategy, SWITCH)
    return strategy


async def roll_back(store: Store) -> Strategy:
    """Make the strategy current that was so before the present one. Raises VersionMissing when there is none."""
    current = await current_version(store)
    before = version_before(await publications(store), current)
    if before is None:
        raise VersionMissing("no strategy was current before this one. `nextbest strategies list` shows what is there.")
    strategy = await stored_strategy(store, before)
    await _name(store, strategy, ROLLBACK)
    return strategy


async def stored_strategy(store: Store, version: str) -> Strategy:
    """A strategy by the beginning of its version, compiled anew. Raises VersionMissing or StrategyFaulty."""
    return load_bundle(await stored_files(store, version))


async def stored_files(store: Store, version: str) -> dict[str, bytes]:
    """The files of a published strategy, by the beginning of its version. Raises VersionMissing."""
    name = full_version(version, await store.names("strategy"), of="strategy")
    packed = await store.get("strategy", name)
    if packed is None:
        raise VersionMissing(f"strategy {name[:SHORT]} has just left the store.")
    return unpack_bundle(packed)


async def publications(store: Store) -> list[Publication]:
    """The log, oldest first. Raises RegistryDamaged."""
    found = []
    for name in await store.names(LOG):
        try:
            found.append(msgspec.json.decode(await store.get(LOG, name) or b"", type=Publication))
        except msgspec.MsgspecError as error:
            raise RegistryDamaged(f"publication {name} in the store's registry cannot be read: {error}") from error
    return found


async def current_version(store: Store) -> str:
    """The version that the pointer names; empty when nothing was ever published."""
    return (await store.get("current", "strategy") or b"").decode(errors="replace")


def unpack_bundle(packed: bytes) -> dict[str, bytes]:
    """A stored strategy's files. Raises RegistryDamaged."""
    try:
        return {path: b64decode(body) for path, body in orjson.loads(packed).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise RegistryDamaged(f"a strategy in the store's registry cannot be read: {error}") from error


async def _name(store: Store, strategy: Strategy, how: str) -> None:
    if strategy.volume_constraints:
        await Upkeep(store).run(strategy)  # before anybody decides by it: the first requests find units in their blocks
    await store.put("current", "strategy", strategy.version.encode())
    line = Publication(strategy.version, strategy.name, time.time_ns() // 1_000_000, whoami(), how)
    await store.put(LOG, f"{line.at_ms:013d}-{line.version[:SHORT]}", msgspec.json.encode(line))
