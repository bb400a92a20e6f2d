"""Tokens: what a caller echoes without being able to read it.

A sealed token is the key's id in clear and an AES-256-GCM ciphertext over a short list of texts, so a customer cannot
be read from a URL or a log. An installation may have several keys: the last one seals, every one opens. A key is added
by `nextbest tokens rotate`. Every serving process takes it up within about a second, and none seals with it before all
can open what it sealed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from itertools import pairwise

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.errors import Problem
from api.instants import wall_ms
from decisioning.errors import RegistryDamaged
from decisioning.store.protocol import Store

NONCE_BYTES = 12
TURN_MS = 5_000  # for one process to add a key, while others wait
TAKEN_UP_MS = 5_000  # after it was made every process has a key, also one that was busy
MADE = "token_key_made"  # kind of the registry's entries that say when a key was added
LIFE_DAYS_MAX = 365  # of any token: a key can go so long after it sealed its last one
DAY_MS = 86_400_000


class Sealer:
    """Seals and opens tokens with the installation's keys."""

    def __init__(self, keys: Mapping[str, bytes], *, newest_made_ms: int = 0) -> None:
        self.key_ids = frozenset(keys)
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        ordered = sorted(keys, key=_number)
        self._newest, self._before = ordered[-1], ordered[-2:][0]
        self._newest_from_ms = newest_made_ms + TAKEN_UP_MS

    def seal(self, kind: str, parts: Sequence[str | int | None]) -> str:
        """A token for these parts; `kind` is authenticated, so a token of one kind cannot pass for another."""
        nonce = os.urandom(NONCE_BYTES)
        key_id = self._newest if wall_ms() >= self._newest_from_ms else self._before
        sealed = self._ciphers[key_id].encrypt(nonce, orjson.dumps(parts), kind.encode())
        return f"{key_id}.{_spelled(nonce + sealed)}"

    def open(self, kind: str, token: str, where: str) -> list[str | int | None]:
        """The parts. Raises Problem, blaming `where`, for a token that is forged, cut, or of another kind or place."""
        key_id, _, body = token.partition(".")
        cipher = self._ciphers.get(key_id)
        try:
            raw = urlsafe_b64decode(body + "=" * (-len(body) % 4))
            if cipher is None or len(raw) <= NONCE_BYTES or _spelled(raw) != body:
                raise ValueError("no such key, too short, or spelled as nothing made here is")
            parts: list[str | int | None] = orjson.loads(
                cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], kind.encode())
            )
            return parts
        except (InvalidTag, ValueError):
            raise Problem(
                "invalid_token",
                "This was not made here or was changed. Send it back exactly as received.",
                where,
            ) from None


def _spelled(raw: bytes) -> str:
    """As text, in the one way that opens: decoding alone skips what is no letter of it, and some bits at the end."""
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _number(key_id: str) -> int:
    return int(key_id.removeprefix("k"))


async def installation_sealer(store: Store) -> Sealer:
    """The installation's sealer; the first process that asks makes its key."""
    while not (names := await store.names("token_key")):
        if await store.own("token_key", secrets.token_hex(8), ttl_ms=TURN_MS):
            await store.put("token_key", "k001", secrets.token_bytes(32))
        else:
            await asyncio.sleep(0.05)  # another process is about to
    keys = {name: await store.get("token_key", name) for name in names}
    made = await store.get(MADE, max(names, key=_number))
    return Sealer({name: key for name, key in keys.items() if key is not None}, newest_made_ms=int(made or 0))


async def renewed_sealer(store: Store, sealer: Sealer) -> Sealer:
    """The same sealer, or one with the keys that were added or retired since.

    Raises RegistryDamaged for a store that has come back empty: new keys would make every mail's token worthless, and
    what was sealed in the journal, before anybody can bring its data back.
    """
    names = await store.names("token_key")
    if not names:
        raise RegistryDamaged("the store has come back without the token keys. Restore its data, or start anew.")
    if frozenset(names) == sealer.key_ids:
        return sealer
    return await installation_sealer(store)


async def rotate(store: Store, *, now_ms: int) -> str:
    """Add a key, which seals from a few seconds later on; its name. Keys of before go on opening what they sealed."""
    await installation_sealer(store)
    while not await store.own("token_rotation", secrets.token_hex(8), ttl_ms=TURN_MS):
        await asyncio.sleep(0.05)  # two at once would give one name to two keys
    last = max(await store.names("token_key"), key=_number)
    name = f"k{_number(last) + 1:03d}"
    await store.put(MADE, name, str(now_ms).encode())
    await store.put("token_key", name, secrets.token_bytes(32))
    return name


async def retire(store: Store, *, now_ms: int) -> list[str]:
    """Remove the keys that can have sealed nothing which still lives; their names."""
    names = sorted(await store.names("token_key"), key=_number)
    retired = []
    for name, successor in pairwise(names):
        made = await store.get(MADE, successor)  # from then on the key before it sealed nothing
        if made is not None and now_ms - int(made) - TAKEN_UP_MS > LIFE_DAYS_MAX * DAY_MS:
            await store.remove("token_key", name)
            await store.remove(MADE, name)
            retired.append(name)
    return retired
