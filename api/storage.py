"""Storage: which server this installation uses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.settings import Settings
from decisioning.store.embedded import connect_url
from decisioning.store.protocol import Store
from decisioning.store.redis import connect

COMMAND_DEADLINE_MS = 10_000  # a command line can wait longer than a customer


def url_of(settings: Settings) -> str:
    """The user's own server, else the embedded one that runs on the data directory. Raises StoreUnavailable."""
    return settings.redis_url or connect_url(settings.store_dir)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store]:
    """The store for the length of a command, which never starts a server. Raises StoreUnavailable when none runs."""
    store = connect(url_of(settings), deadline_ms=COMMAND_DEADLINE_MS)
    try:
        yield store
    finally:
        await store.close()
