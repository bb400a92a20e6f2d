"""An office for tests: the console around the in-memory store, with a browser that keeps cookies and fills in forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from api.app import assemble
from api.console.users import add_user
from decisioning.catalog.load import load_bundle, read_bundle
from tests.api.desk import Desk
from tests.decisioning.bank import FILES, strategy

RETAIL_BANK = Path(__file__).parents[2] / "examples" / "retail_bank"
CALL = {
    "channels.yaml": FILES["channels.yaml"] + "call: {direction: inbound, lease_minutes: 60, contact_cost: 0.0}\n",
    "consents.yaml": FILES["consents.yaml"]
    + "call: {marketing: {absent: granted, basis: legitimate_interest}, service: {absent: granted, basis: contract}}\n",
    "placements.yaml": FILES["placements.yaml"]
    + "call.next: {channel: call, nothing_value: 0.5, fields: {points: {type: texts, max: 300, required: true}, "
    "accept_label: {type: text}}, fallback: brand_call}\n",
    "content/blocks.yaml": FILES["content/blocks.yaml"]
    + 'brand_call: {points: [{en: "Thank them for calling", hu: "Köszönje meg a hívást"}]}\n',
    "actions/cards.yaml": FILES["actions/cards.yaml"]
    .replace(
        '      email: {placements: [email.hero], content: {headline: "Gold"}}\n',
        '      email: {placements: [email.hero], content: {headline: "Gold"}}\n'
        "      call: {placements: [call.next], content: {points: [{en: \"Gold for {{ customer.first_name | 'you' }}\", "
        'hu: "Arany, {{ customer.first_name | \'önnek\' }}"}], accept_label: "Send the form"}}\n',
    )
    .replace(
        '      email: {placements: [email.hero], content: {headline: "Silver"}}\n',
        '      email: {placements: [email.hero], content: {headline: "Silver"}}\n'
        '      call: {placements: [call.next], content: {points: ["Silver then"]}}\n',
    ),
}


class Office:
    """One browser at one console."""

    def __init__(self, *, demo: bool = False, desk: Desk | None = None) -> None:
        self.desk = desk or Desk(bank=strategy(CALL))
        # A busy test machine is no reason to degrade.
        self.desk.service.settings = replace(self.desk.service.settings, demo=demo, deadline_ms=5000)
        self.browser = self.new_browser()

    def new_browser(self, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """A browser without cookies."""
        app = self.desk.http._transport.app  # type: ignore[attr-defined]
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")

    def fresh(self) -> Office:
        """Another browser at the same console."""
        office = copy(self)
        office.browser = self.new_browser()
        return office

    def another_process(self) -> httpx.AsyncClient:
        """This browser, at a process that has just started."""
        transport = httpx.ASGITransport(assemble(self.desk.service), client=("127.0.0.1", 1))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080", cookies=self.browser.cookies)

    async def sign_in(self, role: str = "agent", *, language: str | None = None) -> str:
        """Make a user of this role, called the same, and sign in."""
        password = await add_user(self.desk.store, role, role, language)
        answer = await self.send("/console/sign-in", "/console/sign-in", user=role, password=password)
        assert answer.status_code == 303, answer.text
        return password

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """A page."""
        return await self.browser.get(path, headers=headers)

    async def send(
        self, page: str, path: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        """Send a form whose CSRF token stands in a page."""
        csrf = token_in((await self.browser.get(page)).text)
        return await self.browser.post(path, data={"csrf": csrf, **fields}, headers=headers)


def token_in(html: str) -> str:
    """The CSRF token of a page's first form."""
    return value_of("csrf", html)


def value_of(name: str, html: str) -> str:
    """The value of a page's first hidden field of this name."""
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found, html
    return unescape(found[1])


def bank_files() -> dict[str, bytes]:
    """The retail bank, with nothing left to chance and no budget that the gold card would have to wait for."""
    files = dict(read_bundle(RETAIL_BANK))
    chances = (b"holdout:", b"exploration:")  # what everybody wants is then what everybody gets
    lines = files["strategy.yaml"].splitlines(keepends=True)
    files["strategy.yaml"] = b"".join(line for line in lines if not line.startswith(chances))
    del files["experiments.yaml"]  # one of its arms draws at random
    cards = files["actions/cards.yaml"].replace(b"    volume_constraints: {gold_cards: 1}\n", b"")
    files["actions/cards.yaml"] = cards.replace(
        b"    product: card_platinum\n", b"    product: card_platinum\n    volume_constraints: {gold_cards: 1}\n"
    )
    return files


def bank_desk() -> Desk:
    """The retail bank, where the gold card is what everybody wants."""
    return Desk(bank=load_bundle(bank_files()), propensities={"default": 0.02, "grow/cards/gold_upgrade": 0.6})
