"""Strategy files of a simulated bank, all but its actions: channels, placements, schema, consents, limits, budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from decisioning.simulated.actions import FAMILIES, web_slots
from decisioning.simulated.attributes import LANGUAGES, Attribute

DEFAULT_URL = "https://bank.example/"

STRATEGY = {
    "name": "simulated-bank",
    "currency": "EUR",
    "timezone": "Europe/Vienna",
    "languages": list(LANGUAGES),
    "language_attribute": "customer.language",
    "ranking": "gross",
    "holdout": {"share": 0.05, "salt": "simulated-2026", "gets": "nothing"},
    "exploration": {
        "sacrifice": 0.05,
        "placements": ["web.home.hero", "web.home.tile"],
        "issues": ["grow", "nurture", "retain"],
    },
}

CHANNELS = {
    "web": {"direction": "inbound", "lease_minutes": 60, "contact_cost": 0.0, "origins": ["https://bank.example"]},
    "email": {"direction": "outbound", "lease_minutes": 240, "contact_cost": 0.0, "quiet_hours": ["22:00", "07:00"]},
    "call_center": {"direction": "inbound", "lease_minutes": 60, "contact_cost": 0.4},
}

CONSENTS = {
    "web": {
        "marketing": {"absent": "granted", "basis": "legitimate_interest"},
        "service": {"absent": "granted", "basis": "contract"},
    },
    "email": {
        "marketing": {"absent": "refused", "basis": "consent"},
        "service": {"absent": "granted", "basis": "contract"},
    },
    "call_center": {
        "marketing": {"absent": "granted", "basis": "legitimate_interest"},
        "service": {"absent": "granted", "basis": "contract"},
    },
}

PAGE_FIELDS = {
    "headline": {"type": "text", "max": 80, "required": True},
    "body": {"type": "text", "max": 600},
    "image": {"type": "image", "size": "1200x400"},
    "cta": {"type": "link", "required": True},
}
CALL_FIELDS = {
    "talking_points": {"type": "texts", "max": 200, "required": True},
    "accept_label": {"type": "text", "max": 40},
    "reject_label": {"type": "text", "max": 40},
}

# The placements of the retail bank, without the picture of its mail: `nextbest check` draws one for every action.
PLACEMENTS: dict[str, tuple[float, dict[str, Any]]] = {
    "web.home.hero": (3.0, PAGE_FIELDS),
    "web.home.tile": (1.5, PAGE_FIELDS),
    "web.account.banner": (2.0, PAGE_FIELDS),
    "email.hero": (2.2, PAGE_FIELDS),
    "call_center.next_action": (4.0, CALL_FIELDS),
}

BLOCKS = {
    "brand_page": {
        "headline": {"en": "Your money, looked after", "de": "Ihr Geld in guten Händen"},
        "body": {"en": "Accounts, savings and advice in one place.", "de": "Konten, Sparen und Beratung an einem Ort."},
        "cta": {"label": {"en": "See what we do", "de": "Unser Angebot ansehen"}, "url": DEFAULT_URL},
    },
    "brand_call": {
        "talking_points": [
            {"en": "Thank the customer for calling.", "de": "Bedanken Sie sich für den Anruf."},
        ],
    },
}

VOLUME_CONSTRAINTS = {  # so generous that no load test reaches them, and asked and charged all the same
    "limited_editions": {
        "limit": 50_000_000,
        "unit": "number",
        "scope": "all",
        "period": "total",
        "spend_on": "accepted",
    },
    "welcome_gifts": {"limit": 50_000_000, "unit": "money", "scope": "all", "period": "day", "spend_on": "selected"},
}

DERIVED = {
    "is_settled": {"expression": "customer.age >= 30 && customer.balance_avg_3m > 5000.0"},
    "is_digital": {"expression": "customer.app_active_days_30d >= 8"},
}

LENDING_LEVER = {
    "gives": {"lever": ["grow/loans"]},
    "hits": "first",
    "columns": ["derived.is_settled", "customer.segment"],
    "rows": [[True, "-", 1.0], [False, "student", 0.6], ["-", "-", 0.8]],
}


def strategy_files(known: Sequence[Attribute], *, placements: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and content of each file."""
    shapes = PLACEMENTS | {name: (1.0, PAGE_FIELDS) for name in web_slots(placements)}
    yield "strategy.yaml", STRATEGY
    yield "channels.yaml", CHANNELS
    yield "placements.yaml", {name: _placement(name, *shape) for name, shape in shapes.items()}
    yield "schema.yaml", _schema(known)
    yield "derived.yaml", DERIVED
    yield "consents.yaml", CONSENTS
    yield "contact_policies.yaml", dict(_policies())
    yield "volume_constraints.yaml", VOLUME_CONSTRAINTS
    yield "experiments.yaml", {"always_on": {"salt": "simulated-a1", "arms": {"full": 0.95, "random": 0.05}}}
    yield "tables/lending_lever.yaml", LENDING_LEVER
    yield "content/blocks.yaml", BLOCKS


def _placement(name: str, nothing_value: float, fields: dict[str, Any]) -> dict[str, Any]:
    fallback = "brand_call" if fields is CALL_FIELDS else "brand_page"
    placement = {
        "channel": name.partition(".")[0],
        "nothing_value": nothing_value,
        "fields": fields,
        "fallback": fallback,
        "default_url": DEFAULT_URL,
    }
    return placement | ({"one_per_group": True} if name == "web.home.tile" else {})


def _schema(known: Sequence[Attribute]) -> dict[str, Any]:
    pages = ["home", "account", *(family for _, family, _ in FAMILIES)]
    return {
        "purposes": ["marketing", "service"],
        "customer": {each.name: each.entry() for each in known},
        "context": {
            "page": {"type": "string", "enum": pages},
            "device": {"type": "string", "enum": ["desktop", "mobile", "tablet"]},
        },
    }


def _policies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every family has a limit of its own, every offer rests after a no, and mails and calls have a limit in all."""
    for index, (_, family, kind) in enumerate(FAMILIES):
        if kind == "offer":
            yield f"{family}_fatigue", _policy("group", "impression", 5 + index % 4, 7 + 7 * (index % 2), 14)
    yield "rest_after_rejection", _policy("action", "rejected", 1, 90, 90)
    yield "rest_after_dismissals", _policy("action", "dismissed", 2, 30, 30)
    yield "group_rest_after_two", _policy("group", "rejected", 2, 60, 60)
    yield "email_pressure", {**_policy("customer", "impression", 4, 7, 3), "channel": "email"}
    yield "call_pressure", {**_policy("customer", "impression", 3, 30, 14), "channel": "call_center"}
    yield "message_rest", _policy("action", "impression", 4, 30, 30)


def _policy(scope: str, outcome: str, limit: int, window_days: int, hold_days: int) -> dict[str, Any]:
    return {"scope": scope, "outcomes": [outcome], "limit": limit, "window_days": window_days, "hold_days": hold_days}
