"""Mailroom: tokens of mails that were sent yesterday, for proofs: what opens one seconds after that is no person."""

from __future__ import annotations

import asyncio
from typing import Self

from api.email.tokens import sealed
from api.instants import wall_ms
from api.tokens import DAY_MS, Sealer, installation_sealer
from decisioning.store.protocol import Store
from decisioning.store.redis import connect


class Mailroom:
    """Of one installation."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    @classmethod
    def at(cls, url: str) -> Self:
        """Of the installation on this store."""

        async def opened() -> Self:
            store = connect(url, deadline_ms=30_000)
            try:
                return await cls.of(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    @classmethod
    async def of(cls, store: Store) -> Self:
        """Of the installation on this store."""
        return cls(await installation_sealer(store))

    def token(self, customer: str) -> str:
        """A new mail."""
        now_ms = wall_ms()
        times = {"expires_ms": now_ms + DAY_MS, "made_ms": now_ms - DAY_MS}
        return sealed(self._sealer, customer, "email.hero", message="", **times)
