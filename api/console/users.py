"""Users: who may sign in to the console, in which role.

They live in the store's registry under the kind `user`, with a scrypt hash of their password. Who asks is read again
once a second: who is removed or signs out is out within about that time. While the store is down, those who were known
last stay known.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace

import msgspec

from decisioning.errors import NextbestError, StoreUnavailable
from decisioning.store.protocol import Store

LOG = logging.getLogger("nextbest")
KIND, SIGNED_OUT = "user", "signed_out"  # of the registry's entries: a user; what their last sign-out was called
USER_ID = re.compile(r"[a-z][a-z0-9._-]{0,39}")
REFRESH_S = 1.0
PASSWORD_BYTES = 12  # 96 random bits, printed as 16 letters
PASSWORD_LENGTH_MAX = 200
SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # 16 MB and about 50 ms a guess
AGENT, ANALYST, ADMIN = "agent", "analyst", "admin"
ROLES = (AGENT, ANALYST, ADMIN)
SEES_PERSONAL = frozenset({AGENT, ADMIN})  # others see `masked` where an attribute is personal
ANSWERS = frozenset({AGENT, ADMIN})  # may report what a customer said


class User(msgspec.Struct, frozen=True):
    """One person with a password."""

    user_id: str
    role: str
    language: str | None  # of talking points; None: the strategy's first
    salt: str
    digest: str

    @property
    def csrf(self) -> str:
        """What this user's forms carry, in whichever session: signing in anew spoils no page that is open elsewhere."""
        return hmac.digest(self.digest.encode(), b"csrf", "sha256").hex()[:32]

    def knows(self, password: str) -> bool:
        """True when this is the user's password. Takes about 50 ms of one core."""
        return hmac.compare_digest(_digest(password, b64decode(self.salt)), self.digest)


_decoder = msgspec.json.Decoder(User)


def user_with(user_id: str, role: str, language: str | None, password: str) -> User:
    """A user whose password is stored as its hash alone."""
    salt = secrets.token_bytes(16)
    return User(user_id, role, language, b64encode(salt).decode(), _digest(password, salt))


NOBODY = User("", "", None, "c2FsdA==", "")  # knows no password, and takes as long as others to say so


def _digest(password: str, salt: bytes) -> str:
    raw = password.encode(errors="replace")
    return b64encode(hashlib.scrypt(raw, salt=salt, maxmem=64 << 20, **SCRYPT)).decode()


async def add_user(store: Store, user_id: str, role: str, language: str | None = None) -> str:
    """Register a user and return the password, which is stored nowhere. Raises NextbestError for a taken name."""
    if not USER_ID.fullmatch(user_id):
        raise NextbestError(f"{user_id!r} is no user name: lower-case letters, digits and . _ -, at most 40.")
    if await store.get(KIND, user_id) is not None:
        raise NextbestError(f"there is a user {user_id!r} already. Remove them first, or choose another name.")
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    await store.put(KIND, user_id, msgspec.json.encode(user_with(user_id, role, language, password)))
    return password


async def remove_user(store: Store, user_id: str) -> None:
    """Remove a user, whose sessions end with them. Raises NextbestError when there is none."""
    if not await store.remove(KIND, user_id):
        raise NextbestError(f"no user {user_id!r}. `nextbest users list` shows the known ones.")
    await store.remove(SIGNED_OUT, user_id)


async def known_users(store: Store) -> dict[str, User]:
    """All users by name."""
    users = {}
    for name in await store.names(KIND):
        try:
            users[name] = _decoder.decode(await store.get(KIND, name) or b"")
        except msgspec.DecodeError:
            LOG.error("user %s in the store's registry cannot be read and may not sign in", name)
    return users


@dataclass(frozen=True, slots=True)
class Known:
    """A user, and what tells their sessions from those of before."""

    user: User
    stamp: str  # another one with a new password, and after signing out
    read_s: float


class Roster:
    """The users one process knows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Known] = {}

    async def find(self, user_id: str) -> Known | None:
        """A user by name, as of a second ago at most; as known last while the store is down."""
        if not USER_ID.fullmatch(user_id):
            return None
        known = self._known.get(user_id)
        if known is not None and time.monotonic() - known.read_s < REFRESH_S:
            return known
        try:
            found = await self._read(user_id)
        except StoreUnavailable as error:
            LOG.warning("user not read: %s", error)
            found = None if known is None else replace(known, read_s=time.monotonic())
        if found is None:
            self._known.pop(user_id, None)
        else:
            self._known[user_id] = found
        return found

    async def sign_out(self, user_id: str) -> None:
        """End all sessions of a user. Raises StoreUnavailable."""
        await self._store.put(SIGNED_OUT, user_id, secrets.token_hex(8).encode())
        self._known.pop(user_id, None)

    async def _read(self, user_id: str) -> Known | None:
        packed, signed_out = await asyncio.gather(self._store.get(KIND, user_id), self._store.get(SIGNED_OUT, user_id))
        if packed is None:
            return None
        try:
            user = _decoder.decode(packed)
        except msgspec.DecodeError:
            LOG.error("user %s in the store's registry cannot be read and may not sign in", user_id)
            return None
        return Known(user, f"{user.digest[:12]} {(signed_out or b'').decode()}", time.monotonic())
