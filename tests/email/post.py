"""A post office for tests: the whole HTTP application around the small bank, whose mails have pictures and links."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import httpx

from api.email.tokens import sealed
from api.instants import wall_ms
from decisioning.catalog.strategy import Strategy
from decisioning.customer import PARTITION_COUNT, State, partition_of
from decisioning.interactions import DAY_MS
from decisioning.store.packing import parsed
from decisioning.store.protocol import Store
from tests.api.desk import Desk
from tests.decisioning.bank import FILES, strategy

PLACEMENT = """
email.hero:
  channel: email
  nothing_value: 0.5
  fields: {headline: {type: text, required: true}, cta: {type: link}}
  fallback: mail_brand
  default_url: https://bank.example/
  quiet: "#FFFFFF"
  picture:
    size: 600x200
    background: "#FFFFFF to #F4F1EA"
    boxes:
      - {field: headline, at: [30, 20], size: 540x80, font: 28, font_min: 16, weight: bold, color: "#16263D", lines: 2}
    button: {field: cta, at: [30, 120], size: 300x44, font: 16, font_min: 14, color: "#FFFFFF", background: "#1B5560"}
"""
PERSON = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0"}
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
    "accept-language": "en",
    "sec-fetch-user": "?1",
}
APPLE = {"user-agent": "Mozilla/5.0"}
SCANNER = {"user-agent": "Barracuda Sentinel (EE)"}


def mail_bank(*, greeting: str = "", query: str = "", stock: int = 0) -> Strategy:
    """The small bank with pictures in its mails; greeting and query: added to gold's headline and address; stock: how
    many of gold there are, without a limit for 0.
    """
    return strategy(mail_files(greeting=greeting, query=query, stock=stock))


def mail_files(*, greeting: str = "", query: str = "", stock: int = 0) -> dict[str, str]:
    """What `mail_bank` has beside the small bank's files."""
    placements = re.sub(r"(?m)^email\.hero:.*\n", "", FILES["placements.yaml"]) + PLACEMENT
    blocks = FILES["content/blocks.yaml"] + (
        'mail_brand: {headline: {en: "We are here for you", hu: "Itt vagyunk"}, '
        'cta: {label: "Visit us", url: "https://bank.example/"}}\n'
    )
    cards = FILES["actions/cards.yaml"]
    for name, more, asked in (("Gold", greeting, query), ("Silver", "", "")):
        url = f"https://bank.example/{name.lower()}?from=mail{asked}#top"
        before = f'content: {{headline: "{name}"}}'
        after = f'content: {{headline: "{name}{more}", cta: {{label: "See it", url: "{url}"}}}}'
        cards = cards.replace(f"[email.hero], {before}", f"[email.hero], {after}")
    files = {"placements.yaml": placements, "content/blocks.yaml": blocks}
    if stock:
        cards = cards.replace("  gold:\n", "  gold:\n    volume_constraints: {stock: 1}\n")
        files["volume_constraints.yaml"] = (
            f"stock: {{limit: {stock}, unit: number, scope: all, period: total, spend_on: selected}}\n"
        )
    return files | {"actions/cards.yaml": cards}


BANK = mail_bank()
PERSONAL = mail_bank(greeting=", {{ customer.first_name }}", query="&name={{ customer.first_name }}")


class Post(Desk):
    """A desk that writes mails."""

    def __init__(self, store: Store | None = None, bank: Strategy = BANK) -> None:
        super().__init__(store, bank)
        self.deadline(5000)  # a busy test machine is no reason to show the brand

    def deadline(self, deadline_ms: int) -> None:
        """How long an answer may take from now on."""
        self.service.settings = replace(self.service.settings, deadline_ms=deadline_ms)

    def token(
        self, customer: str = "C-1", *, placement: str = "email.hero", valid_ms: int = DAY_MS, **more: Any
    ) -> str:
        """A mail of yesterday."""
        made_ms, expires_ms = wall_ms() - DAY_MS, wall_ms() + valid_ms
        sealer = more.get("sealer", self.service.seals)
        return sealed(sealer, customer, placement, message="", expires_ms=expires_ms, made_ms=made_ms)

    async def fetch(
        self, token: str, *, form: str = "png", by: dict[str, str] | None = None, method: str = "GET"
    ) -> httpx.Response:
        """Open the mail."""
        return await self._mail(method, f"/e/{token}.{form}", PERSON if by is None else by)

    async def follow(
        self, token: str, *, by: dict[str, str] | None = None, method: str = "GET", query: str = ""
    ) -> httpx.Response:
        """Follow the mail's link."""
        return await self._mail(method, f"/c/{token}{query}", BROWSER if by is None else by)

    async def _mail(self, method: str, path: str, by: dict[str, str]) -> httpx.Response:
        request = httpx.Request(method, f"http://desk{path}", headers=by)
        return await self.http.send(request, follow_redirects=False)

    async def state(self, customer: str = "C-1") -> State:
        """What stands of the customer."""
        (snapshot,) = await self.store.read([customer])
        return snapshot.state

    async def records(self) -> list[dict[str, Any]]:
        """Everything in the log, oldest first in each partition."""
        return [record for each in range(PARTITION_COUNT) for record in await self._logged(each)]

    async def records_of(self, customer: str) -> list[dict[str, Any]]:
        """What the log has of one customer."""
        person_key = (await self.state(customer)).person_key
        return [each for each in await self._logged(partition_of(customer)) if each["person_key"] == person_key]

    async def _logged(self, partition: int) -> list[dict[str, Any]]:
        return [parsed(entry.record.body) for entry in await self.store.log(partition, after="0-0", limit=10_000)]
