"""A house for stories: the retail bank on a real store, with a model, served by a real process.

People of the house all want the gold card. Nothing of the service is replaced; what is simulated is the bank and its
customers, as in the demo.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.redis import connect
from models import Feature, save_artifact
from models.train import train
from tests.console.office import bank_files
from tests.service.conftest import KEY, Installation

GOLD = "grow/cards/gold_upgrade"
PERSON = {
    "first_name": "Alice",
    "language": "en",
    "age": 34,
    "segment": "affluent",
    "tenure_days": 1200,
    "complaints_open": 0,
    "card_tier": "classic",
    "balance_avg_3m": 6200.0,
    "income_monthly": 3100.0,
    "in_arrears": False,
    "has_credit_card": False,
    "salary_account": True,
}
WANTED, UNWANTED = 0.6, 0.02  # how often the gold card is accepted, and anything else
ROWS = 4_000


class House:
    """One installation and the address of its serving process."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.process, self.url = installation.serve()
        self.http = httpx.Client(base_url=self.url, headers=KEY, timeout=30)

    def welcome(self, customer: str, **attributes: Any) -> str:
        """A customer who permits everything."""
        known = {"attributes": {**PERSON, **attributes}}
        self.http.patch(f"/v1/customers/{customer}", json=known).raise_for_status()
        channels = ("web", "email", "call_center")
        consents = [{"channel": each, "purpose": "marketing", "granted": True} for each in channels]
        self.http.put(f"/v1/customers/{customer}/consents", json=consents).raise_for_status()
        return customer

    def interactions(self, customer: str) -> list[tuple[str, str]]:
        """Channel and outcome of what happened with a customer's offers, in order."""
        known = self.http.get(f"/v1/customers/{customer}").json()
        return [(each["channel"], each["outcome"]) for each in known["interactions"] if each["action"] == GOLD]

    def visitor_token(self, customer: str, origin: str) -> str:
        """What a site's own server gets for a customer who has signed in."""
        asked = {"customer": {"id": customer}, "origin": origin}
        return str(self.http.post("/v1/visitor-tokens", json=asked).raise_for_status().json()["visitor_token"])

    def pause(self) -> None:
        """From now on it accepts connections and never answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on as if nothing had been."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def opened_house() -> Iterator[House]:
    """A house until the block ends."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServer.start(Path(name) / "store") as server:
        asyncio.run(_furnish(server.url, Path(name) / "models"))
        installation = Installation(Path(name), server.url)
        installation.environment["NEXTBEST_MODELS_DIR"] = str(Path(name) / "models")
        try:
            yield House(installation)
        finally:
            installation.end()


async def _furnish(url: str, models: Path) -> None:
    files = bank_files()
    strategy = load_bundle(files)
    rng = np.random.default_rng(1)
    others = [each.key for each in strategy.actions if each.key != GOLD]
    actions = [GOLD if chosen else str(rng.choice(others)) for chosen in rng.random(ROWS) < 0.5]
    chance = np.where(np.array(actions) == GOLD, WANTED, UNWANTED)
    fitted = train(
        {"channel": list(rng.choice(["web", "email", "call_center"], ROWS))},
        actions=actions,
        labels=(rng.random(ROWS) < chance).astype(float),
        features=[Feature("channel", "categorical")],
    )
    store = connect(url, deadline_ms=30_000)
    await publish_strategy(store, files, strategy)
    await store.put("current", "model", save_artifact(fitted.model, models).encode())
    await store.close()
