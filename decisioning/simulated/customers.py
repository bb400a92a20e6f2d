"""Customers of a simulated bank, as rows for `nextbest load`, and what they did before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from decisioning.simulated.actions import Place
from decisioning.simulated.attributes import Attribute, quantiles
from decisioning.simulated.draws import Draws

# Share of customers who said yes and who said no to marketing, by channel; the others were never asked.
CONSENT_SHARES = {"web": (0.20, 0.06), "email": (0.55, 0.17), "call_center": (0.15, 0.08)}
DAYS_BACK = 60  # within which earlier interactions lie
KNOWN_EACH = 8  # different offers that a customer had to do with, however often
OUTCOME_SHARES = (
    ("impression", 0.55),
    ("clicked", 0.15),
    ("converted", 0.2),
    ("dismissed", 0.04),
    ("rejected", 0.03),
    ("accepted", 0.03),
)
CHANNELS = tuple(CONSENT_SHARES)


def customer_id(number: int) -> str:
    """C-00001 for the first."""
    return f"C-{number:05d}"


def customer_rows(seed: int, count: int, known: Sequence[Attribute]) -> Iterator[dict[str, Any]]:
    """Attributes by name and consents, from the first customer on."""
    for number in range(1, count + 1):
        found = zip(known, quantiles(seed, number, known), strict=True)
        values = {each.name: each.at(quantile) for each, quantile in found if quantile is not None}
        yield {"customer_id": customer_id(number), **values, **_consents(Draws(seed, "consent", number))}


def interactions(seed: int, count: int, each: int, all_places: Sequence[Place]) -> Iterator[dict[str, Any]]:
    """What customers did, `each` of them so much, and how many days ago."""
    offers = [place.key for place in all_places if place.kind == "offer"]
    for number in range(1, count + 1):
        draws = Draws(seed, "interaction", number)
        known = [draws.one(offers) for _ in range(KNOWN_EACH)]
        for _ in range(each):
            yield {
                "customer_id": customer_id(number),
                "outcome": draws.drawn(OUTCOME_SHARES),
                "action": draws.one(known),
                "channel": draws.one(CHANNELS),
                "days_ago": round(DAYS_BACK * draws.uniform(), 3),
            }


def _consents(draws: Draws) -> dict[str, bool]:
    drawn = {channel: (draws.uniform(), shares) for channel, shares in CONSENT_SHARES.items()}
    return {
        f"consent.{channel}.marketing": answer < yes
        for channel, (answer, (yes, no)) in drawn.items()
        if answer < yes + no
    }
