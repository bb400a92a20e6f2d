"""API keys: 256 random bits, stored as their SHA-256, with scopes and a rate.

The owner of an endpoint is the scope it asks for. Keys live in the store's registry and are re-read once a second, so a
removed key stops working within about a second on every worker.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from api.errors import Problem
from api.loopback import is_local
from decisioning.errors import NextbestError
from decisioning.store.protocol import Store

LOG = logging.getLogger("nextbest")
SCOPES = ("decide", "respond", "customers", "admin")
PER_SECOND_DEFAULT = 500
PER_SECOND_MAX = 100_000
DEMO_KEY = "demo-key"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who calls, what they may do, and how often per second in each serving process."""

    key_id: str
    scopes: tuple[str, ...]
    per_second: float


DEMO = ApiKey("demo", SCOPES, float("inf"))
_decoder = msgspec.json.Decoder(ApiKey)


@dataclass(slots=True)
class Bucket:
    """A token bucket: a second's worth may be taken at once."""

    level: float
    at_s: float


@dataclass(slots=True)
class KeyRing:
    """The keys one process knows, and how much each has used."""

    demo: bool
    keys: Mapping[str, ApiKey] = field(default_factory=dict)  # by SHA-256
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def authorise(self, header: str | None, scope: str, connection: Mapping[str, Any]) -> ApiKey:
        """The key of whoever calls by this ASGI connection; raises Problem for one that is missing, unknown, too fast,
        or without the scope.
        """
        scheme, _, secret = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Problem(
                "unauthorised", "Send 'Authorization: Bearer KEY'. `nextbest keys add` makes a key.", "authorization"
            )
        key = self._known(secret, connection)
        if key is None:
            raise Problem(
                "unauthorised",
                "This key is not known here. `nextbest keys list` shows the known ones.",
                "authorization",
            )
        if scope not in key.scopes:
            raise Problem(
                "forbidden", f"This key lacks the scope '{scope}'. It has: {', '.join(key.scopes)}.", "authorization"
            )
        self._take(key)
        return key

    def _known(self, secret: str, connection: Mapping[str, Any]) -> ApiKey | None:
        if self.demo and secret == DEMO_KEY and is_local(connection):
            return DEMO
        return self.keys.get(sha256(secret.encode(errors="replace")).hexdigest())

    def _take(self, key: ApiKey) -> None:
        if key.per_second == float("inf"):
            return
        now_s = time.monotonic()
        bucket = self.buckets.setdefault(key.key_id, Bucket(key.per_second, now_s))
        bucket.level = min(key.per_second, bucket.level + (now_s - bucket.at_s) * key.per_second)
        bucket.at_s = now_s
        if bucket.level < 1:
            message = (
                f"More than {key.per_second:g} requests a second with this key. Slow down, or ask for a higher rate."
            )
            raise Problem("rate_limited", message, "authorization", retry_after_s=1)
        bucket.level -= 1


async def known_keys(store: Store) -> dict[str, ApiKey]:
    """All keys in the store's registry, by SHA-256."""
    found = {name: await store.get("api_key", name) for name in await store.names("api_key")}
    keys = {}
    for digest, packed in found.items():
        try:
            keys[digest] = _decoder.decode(packed or b"")
        except msgspec.DecodeError:
            LOG.error("API key %s… in the store's registry cannot be read and opens nothing", digest[:8])
    return keys


async def add_key(store: Store, key_id: str, scopes: Iterable[str], per_second: float = PER_SECOND_DEFAULT) -> str:
    """Register a new key and return its secret, which is stored nowhere."""
    if any(key.key_id == key_id for key in (await known_keys(store)).values()):
        raise NextbestError(f"there is a key {key_id!r} already. Remove it first, or choose another name.")
    secret = secrets.token_urlsafe(32)
    key = ApiKey(key_id, tuple(scopes), per_second)
    await store.put("api_key", sha256(secret.encode()).hexdigest(), msgspec.json.encode(key))
    return secret


async def remove_key(store: Store, key_id: str) -> None:
    """Remove every key of this name. Raises NextbestError when there is none."""
    named = [digest for digest, key in (await known_keys(store)).items() if key.key_id == key_id]
    if not named:
        raise NextbestError(f"no key {key_id!r}. `nextbest keys list` shows the known ones.")
    for digest in named:
        await store.remove("api_key", digest)
