"""Pages for tests: a desk whose bank lets one site's pages ask, and what such a page sends."""

from __future__ import annotations

from typing import Any

import httpx

from decisioning.catalog.strategy import Strategy
from tests.api.desk import Desk
from tests.decisioning.bank import FILES, strategy

SITE = "https://bank.example"


def bank_with_origins(changes: dict[str, str] | None = None) -> Strategy:
    """The small bank; pages of SITE may ask in its web channel."""
    channels = FILES["channels.yaml"].replace("web: {", f"web: {{origins: [{SITE}], ")
    return strategy({"channels.yaml": channels, **(changes or {})})


class Page:
    """A page of some site, which speaks for one visitor."""

    def __init__(self, desk: Desk, origin: str | None = SITE) -> None:
        headers = {} if origin is None else {"Origin": origin}
        self.http = httpx.AsyncClient(transport=desk.http._transport, base_url="http://desk", headers=headers)

    async def post(self, path: str, **body: Any) -> httpx.Response:
        """What the snippet sends: JSON as text."""
        return await self.http.post(path, json=body, headers={"Content-Type": "text/plain;charset=UTF-8"})

    async def decide(self, token: str, *placements: str, **more: Any) -> httpx.Response:
        """Ask for placements."""
        return await self.post("/web/decisions", visitor_token=token, placements=list(placements), **more)

    async def anonymous(self) -> dict[str, Any]:
        """A token for somebody new."""
        return (await self.post("/web/visitors")).json()  # type: ignore[no-any-return]


async def token_for(desk: Desk, customer: str = "C-1", origin: str = SITE) -> str:
    """What the site's own server gets for a customer."""
    body = {"customer": {"id": customer}, "origin": origin}
    answer = await desk.http.post("/v1/visitor-tokens", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["visitor_token"])


GOLD_SHOWN = """
          headline: {en: "Gold, {{ customer.first_name | 'friend' }}", hu: "Arany"}
          body: "<p>Dear <b>{{ customer.first_name | 'friend' }}</b>, <a href='https://bank.example/gold'>look</a></p>"
          image: https://bank.example/gold.png
          points: ["For {{ customer.first_name | 'you' }}", "No fee"]
          cta:
            label: "Take {{ customer.first_name | 'it' }}"
            url: "https://bank.example/cards?for={{ customer.first_name | 'you' }}"
"""
FIELDS = (
    "{headline: {type: text, required: true}, body: {type: html}, image: {type: image}, points: {type: texts}, "
    "cta: {type: link}}, default_url: https://bank.example/"
)


def window_bank(site: str) -> Strategy:
    """The bank, whose gold card has every type of field in its content; pages of this site may ask."""
    placements = FILES["placements.yaml"].replace("{headline: {type: text, required: true}}", FIELDS)
    shown = '{headline: {en: "Gold, {{ customer.first_name | \'friend\' }}", hu: "Arany"}}'
    cards = FILES["actions/cards.yaml"].replace(f"        content: {shown}\n", f"        content:{GOLD_SHOWN}")
    channels = FILES["channels.yaml"].replace("web: {", f"web: {{origins: [{site}], ")
    return strategy({"channels.yaml": channels, "placements.yaml": placements, "actions/cards.yaml": cards})
