"""World: what a customer is to everybody who may read it, which is what an answer may have been decided on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.any_order.town import PURPOSES, actions_of, consent_without_words, verdict

View = Mapping[str, Any]  # the body of GET /v1/customers; empty for somebody unknown


@dataclass(frozen=True)
class World:
    """What an answer may have been decided on."""

    view: View

    def verdict(self, action: str, context: Mapping[str, Any], now_ms: int) -> bool | None:
        """What the rules say of an action here."""
        attributes: dict[str, Any] = {}
        for facts in self.view.get("sources", {}).values():
            attributes |= facts["attributes"]
        past = self.view.get("interactions", ())
        accepted_ms = [ms(each["at"]) for each in past if (each["outcome"], each["action"]) == ("accepted", action)]
        return verdict(action, attributes, context, accepted_ms, now_ms)

    def permits(self, action: str, channel: str, variant: str) -> bool:
        """What the customer says of being addressed about an action here."""
        for each in self.view.get("consents", ()):
            if (each["channel"], each["purpose"]) == (channel, PURPOSES[action]):
                return bool(each["granted"])
        return consent_without_words(variant, channel) or PURPOSES[action] == "service"

    def stands(self, action: str, variant: str, now_ms: int) -> bool:
        """Whether the strategy still has it, and nothing about the customer says no."""
        loans = {"page": "loans"}  # what a page says ends nothing
        return action in actions_of(variant) and self.verdict(action, loans, now_ms) is not False

    def promised(self, variant: str, now_ms: int) -> str | None:
        """The action of the first entry of the lease that still holds."""
        for entry in self.view.get("lease", ()):
            if ms(entry["until"]) > now_ms and self.stands(entry["action"], variant, now_ms):
                return str(entry["action"])
        return None


def ms(text: str) -> int:
    """Milliseconds of a time on the wire."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
