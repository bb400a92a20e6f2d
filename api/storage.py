"""Storage: which server this installation uses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from api.settings import Settings
from decisioning.errors import StoreUnavailable
from decisioning.store.embedded import connect_url
from decisioning.store.protocol import Store
from decisioning.store.redis import connect

COMMAND_DEADLINE_MS = 10_000  # a command line can wait longer than a customer


def url_of(settings: Settings) -> str:
    """The user's own server, else the embedded one that runs on the data directory. Raises StoreUnavailable."""
    if settings.redis_url:
        return settings.redis_url
    try:
        return connect_url(settings.store_dir)
    except StoreUnavailable as error:
        running = [path.parent.parent for path in sorted(settings.data_dir.glob("*/store/socket"))]
        if not running:
            raise
        ways_out = " or ".join(f"export NEXTBEST_DATA_DIR={path}" for path in running)
        raise StoreUnavailable(f"no server runs on {settings.store_dir}, but elsewhere: {ways_out}") from error


def address_of(settings: Settings) -> str:
    """The same for people to read: without user, password and options, of which one can be a password too."""
    parts = urlsplit(url_of(settings))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store]:
    """The store for the length of a command, which never starts a server. Raises StoreUnavailable when none runs."""
    store = connect(url_of(settings), deadline_ms=COMMAND_DEADLINE_MS)
    try:
        yield store
    finally:
        await store.close()
