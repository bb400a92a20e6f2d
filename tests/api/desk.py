"""A desk for tests: the whole HTTP application around the in-memory store and the small bank."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from api.app import assemble
from api.deployed import Deployed
from api.keys import ApiKey, KeyRing
from api.live import Live
from api.service import Service
from api.settings import Settings
from api.tokens import Sealer
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Profile, SourceFacts
from decisioning.records import Versions
from decisioning.scoring import StatedScorer
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Change, Store
from tests.decisioning.bank import PROPENSITIES, strategy

KEY = {"Authorization": "Bearer demo-key"}
HERO = {"customer": {"id": "C-1"}, "channel": "web", "placements": ["web.hero"]}


class Desk:
    """Speaks to one application; the demo key opens every door."""

    def __init__(
        self, store: Store | None = None, bank: Strategy | None = None, propensities: Mapping[str, float] = PROPENSITIES
    ) -> None:
        settings = Settings.from_environment({})
        self.store = store or MemoryStore()
        self.keys = KeyRing(demo=True)
        live = Live(self.store, Path("absent"), self.keys)
        bank = bank or strategy()
        live.current = Deployed(bank, StatedScorer(bank, propensities), Versions(bank.version, "stated"))  # type: ignore[arg-type]
        self.service = Service(settings, self.store, self.keys, live, Sealer({"k1": b"k" * 32}))
        transport = httpx.ASGITransport(assemble(self.service), client=("127.0.0.1", 1))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=KEY)

    async def know(self, customer_key: str = "C-1", **attributes: Any) -> None:
        """Store a customer."""
        known = {"age": 40, "tier": "classic", "language": "en", **attributes}
        money = {"income": known.pop("income", 3000.0), "suspicious": known.pop("suspicious", False)}
        (snapshot,) = await self.store.read([customer_key])
        facts = {"crm": known, "core": money}
        profile = Profile({name: SourceFacts(snapshot.now_ms, values) for name, values in facts.items()})
        await self.store.commit([Change(customer_key, snapshot.state_version, snapshot.state, profile)])

    async def ask(self, *placements: str, customer: str = "C-1", **more: Any) -> dict[str, Any]:
        """A decision that must succeed."""
        names = list(placements or ("web.hero",))
        body = {"customer": {"id": customer}, "channel": names[0].split(".")[0], "placements": names, **more}
        answer = await self.http.post("/v1/decisions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def tell(self, **body: Any) -> httpx.Response:
        """Report a response."""
        return await self.http.post("/v1/responses", json=body)

    def add_key(self, secret: str, *scopes: str, per_second: float = 1000.0) -> dict[str, str]:
        """Headers of a new key."""
        from hashlib import sha256

        self.keys.keys = {**self.keys.keys, sha256(secret.encode()).hexdigest(): ApiKey(secret, scopes, per_second)}
        return {"Authorization": f"Bearer {secret}"}
