"""Standby: the last strategy this machine knew, on its disk, for a start while the store is down.

With it a process that never met the store shows the brand and leads mails' links to their `default_url`. It does not
decide by it: customers, consents and keys are in the store. Whatever is wrong with the file, there is none.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from pathlib import Path

from api.publications import unpack_bundle
from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError

LOG = logging.getLogger("nextbest")


class Standby:
    """Of all processes that share a data directory; the last one that took a strategy up has written it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "last_strategy"

    async def keep(self, packed: bytes | None) -> None:
        """Keep a strategy as it was published; a disk that takes nothing is no reason not to serve."""
        if packed is None:
            return
        try:
            await asyncio.to_thread(self._write, packed)
        except OSError as error:
            LOG.warning("the strategy is not kept for a start without the store: %s", error)

    async def strategy(self) -> Strategy | None:
        """What was kept last, compiled; None where there is nothing, or nothing that can be read."""
        try:
            return await asyncio.to_thread(lambda: load_bundle(unpack_bundle(self._path.read_bytes())))
        except FileNotFoundError:
            return None
        except (OSError, NextbestError) as error:
            LOG.warning("the strategy that was kept cannot be read: %s", error)
            return None

    def _write(self, packed: bytes) -> None:
        """In one step, so that nobody reads half of it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")  # containers share process ids
        fresh.write_bytes(packed)
        fresh.replace(self._path)
