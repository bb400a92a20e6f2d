"""Actions of a simulated bank: offers, messages and services in groups of a product line.

The i-th action is the same in a strategy of any size with as many attributes, so that a larger strategy holds the
smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from decisioning.simulated import texts
from decisioning.simulated.attributes import Attribute
from decisioning.simulated.draws import Draws
from decisioning.simulated.rules import NOT_AGAIN, OFFER_ELIGIBILITY, own_rules

# Families of products in the order in which actions are dealt to them: issue, family, kind.
FAMILIES = (
    ("grow", "cards", "offer"),
    ("grow", "loans", "offer"),
    ("grow", "savings", "offer"),
    ("grow", "insurance", "offer"),
    ("grow", "investments", "offer"),
    ("grow", "mortgages", "offer"),
    ("retain", "loyalty", "offer"),
    ("retain", "relationship", "offer"),
    ("nurture", "digital", "offer"),
    ("nurture", "education", "message"),
    ("service", "account_care", "service"),
    ("nurture", "brand", "message"),
)
AUDIENCES = (
    "everyone", "students", "families", "seniors", "graduates", "freelancers", "homeowners", "tenants", "commuters",
    "travellers", "investors", "savers", "parents", "farmers", "doctors", "teachers", "traders", "builders", "artists",
    "athletes", "drivers", "gardeners", "newcomers", "returners", "expats", "retirees", "founders",
)  # fmt: skip
NAMES = (
    "aurora", "beacon", "cedar", "delta", "ember", "falcon", "garnet", "harbour", "indigo", "juniper", "koral", "lumen",
    "meridian", "nova", "onyx", "prisma",
)  # fmt: skip
COUNT_MAX = 5_000

# Share of actions that have something to show in a channel.
CHANNEL_SHARES = {"web": 0.85, "email": 0.6, "call_center": 0.4}
WEB_PLACEMENTS = ("web.home.hero", "web.home.tile", "web.account.banner")
PLACEMENTS_MAX = 20  # as many as one request may name
SLOT_SHARE = 0.7  # of what is shown on the web that also goes into a further placement
BUDGETED_EVERY = 25  # actions, one spends of the budgets; 25 and 12 families share no divisor, so each has some
WEIGHTED_SHARE = 0.3  # of offers that count more on the page of their family
RESTS = ("rest_after_rejection", "rest_after_dismissals", "group_rest_after_two", "email_pressure", "call_pressure")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the i-th action stands in the catalogue."""

    issue: str
    family: str
    kind: str  # offer, message, or service: a message of the service purpose
    group: str
    name: str

    @property
    def key(self) -> str:
        """issue/group/action"""
        return f"{self.issue}/{self.group}/{self.name}"


def places(count: int) -> list[Place]:
    """Where each action stands."""
    return [_place(*divmod(index, len(FAMILIES))) for index in range(count)]


def _place(edition: int, family_index: int) -> Place:
    issue, family, kind = FAMILIES[family_index]
    audience, name = divmod(edition, len(NAMES))
    group = family if audience == 0 else f"{family}_{AUDIENCES[audience]}"
    return Place(issue, family, kind, group, NAMES[name])


def web_slots(placements: int) -> list[str]:
    """Placements on web pages beyond the first three, so that there are so many in all."""
    return [f"web.page.slot_{number}" for number in range(len(WEB_PLACEMENTS) + 1, placements + 1)]


def action_files(
    seed: int, all_places: Sequence[Place], known: Sequence[Attribute], *, placements: int
) -> Iterator[tuple[str, Any]]:
    """Path and content of each file below actions/, one per group."""
    groups: dict[str, dict[str, Any]] = {}
    for index, place in enumerate(all_places):
        file = groups.setdefault(place.group, {"issue": place.issue, "group": place.group, "actions": {}})
        action = _action(Draws(seed, "action", place.key), place, known)
        if place.kind == "offer" and index % BUDGETED_EVERY == 0:
            action["volume_constraints"] = {"limited_editions": 1, "welcome_gifts": 12.5}
        if web := action["treatments"].get("web"):
            slots = Draws(seed, "slots", place.key)  # of their own, so that more of them change nothing else
            web["placements"] += [slot for slot in web_slots(placements) if slots.chance(SLOT_SHARE)]
        file["actions"][place.name] = action
    yield from ((f"actions/{group}.yaml", file) for group, file in groups.items())


def _action(draws: Draws, place: Place, known: Sequence[Attribute]) -> dict[str, Any]:
    if place.kind == "offer":
        action = _offer(draws, place, known)
    else:
        purpose = "service" if place.kind == "service" else "marketing"
        value = round(0.5 + 3.0 * draws.uniform(), 2)
        action = {"kind": "message", "brand_value": value, "purpose": purpose, "contact_policies": ["message_rest"]}
        if rules := own_rules(draws, known)[:1]:
            action["applicability"] = rules
    return action | {"treatments": _treatments(draws, place)}


def _offer(draws: Draws, place: Place, known: Sequence[Attribute]) -> dict[str, Any]:
    applicable, *suitable = own_rules(draws, known)
    offer: dict[str, Any] = {
        "kind": "offer",
        "action_value": float(round(8 + 240 * draws.uniform() ** 3)),
        "purpose": "marketing",
        "eligibility": list(OFFER_ELIGIBILITY),
        "applicability": [applicable, NOT_AGAIN],
        "suitability": suitable,
        "contact_policies": [f"{place.family}_fatigue", *RESTS],
    }
    if draws.chance(WEIGHTED_SHARE):
        offer["context_weights"] = [{"when": f'context.page == "{place.family}"', "weight": 1.4}]
    return offer


def _treatments(draws: Draws, place: Place) -> dict[str, Any]:
    shown_in = [channel for channel, share in CHANNEL_SHARES.items() if draws.chance(share)]
    return {channel: _treatment(draws, place, channel) for channel in shown_in or ["web"]}


def _treatment(draws: Draws, place: Place, channel: str) -> dict[str, Any]:
    if channel == "call_center":
        return {"placements": ["call_center.next_action"], "content": texts.call_content(place.family, place.name)}
    placements = _web_placements(draws) if channel == "web" else ["email.hero"]
    return {"placements": placements, "content": texts.page_content(draws, place.family, place.name)}


def _web_placements(draws: Draws) -> list[str]:
    chosen = [each for each in WEB_PLACEMENTS if draws.chance(0.7)]
    return chosen or [draws.one(WEB_PLACEMENTS)]
