"""Attributes: what is known of simulated customers, as many as a measurement asks for.

The first are those of a bank; beyond them come amounts and counts by branch of trade and time, as a warehouse delivers
them by the hundred. A customer is first drawn as quantiles, one number from 0 to 1 per attribute: values follow from
them, and so do the limits of rules, which can then be set to let a stated share of customers pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from decisioning.simulated.draws import Draws

EPOCH = datetime(2026, 11, 1, tzinfo=UTC)  # the day on which simulated customers are as they are
GAP_SHARE = 0.05  # of values that are not known
LANGUAGES = ("en", "de")

Value = int | float | bool | str | list[str]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. What it is decides which of the fields below `kind` count."""

    name: str
    kind: str  # as in a schema
    source: str = "core_banking"
    low: float = 0.0
    high: float = 1.0
    skew: float = 1.0  # 1: evenly between low and high; 3: most are near low, as money is
    levels: tuple[str, ...] = ()
    share: float = 0.5  # of customers for whom a yes-or-no is yes
    is_personal: bool = False
    is_feature: bool = True
    is_always_known: bool = False
    days_fresh: int | None = None

    def entry(self) -> dict[str, Any]:
        """Its entry in schema.yaml."""
        entry: dict[str, Any] = {"type": self.kind}
        if self.levels and self.kind == "string" and self.is_feature:
            entry["enum"] = list(self.levels)
        if self.kind in ("int", "double"):
            entry |= {"min": self.at(0.0), "max": self.at(1.0)}
        entry["source"] = self.source
        if self.days_fresh:
            entry["stale_after_days"] = self.days_fresh
        if self.is_personal:
            entry |= {"personal": True, "allowed_for": ["marketing", "service"]}
        return entry if self.is_feature else {**entry, "feature": False}

    def at(self, quantile: float) -> Any:
        """The value so far up among all customers."""
        if self.kind == "bool":
            return quantile < self.share
        if self.kind == "string":
            return self.levels[min(int(quantile * len(self.levels)), len(self.levels) - 1)]
        if self.kind == "list<string>":
            return [
                level for index, level in enumerate(self.levels) if int(quantile * 2 ** len(self.levels)) >> index & 1
            ]
        if self.kind == "timestamp":
            return f"{EPOCH - timedelta(minutes=int(quantile * self.high * 1440)):%Y-%m-%dT%H:%M:%SZ}"
        number = self.low + (self.high - self.low) * quantile**self.skew
        return round(number) if self.kind == "int" else round(number, 2)


NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Klara", "Leo")
HELD = ("brokerage", "pension", "safe", "leasing", "fund", "gold_account", "youth_account", "custody")

BANK = (
    Attribute("first_name", "string", "crm", levels=NAMES, is_personal=True, is_feature=False),
    Attribute("language", "string", "crm", levels=LANGUAGES, is_always_known=True),
    Attribute("age", "int", "crm", 16, 90, is_personal=True),
    Attribute("segment", "string", "crm", levels=("student", "mass", "affluent", "premium")),
    Attribute("income_monthly", "double", low=600, high=14_000, skew=2.5, is_personal=True),
    Attribute("balance_avg_3m", "double", low=-500, high=60_000, skew=3.0, is_personal=True),
    Attribute("in_arrears", "bool", share=0.05, is_always_known=True),
    Attribute("other_products", "list<string>", levels=HELD, is_feature=False, is_always_known=True),
    Attribute("tenure_days", "int", "crm", 0, 12_000),
    Attribute("app_active_days_30d", "int", "web_analytics", 0, 30, skew=1.5),
    Attribute("has_credit_card", "bool", share=0.6),
    Attribute("credit_card_utilisation", "double", low=0, high=1.2, skew=1.5),
    Attribute("salary_account", "bool", share=0.65),
    Attribute("home_owner", "bool", "crm", share=0.4),
    Attribute("has_mortgage", "bool", share=0.2),
    Attribute("has_savings", "bool", share=0.6),
    Attribute("has_investments", "bool", share=0.25),
    Attribute("travel_spend_3m", "double", low=0, high=6_000, skew=3.0),
    Attribute("online_spend_3m", "double", low=0, high=4_000, skew=2.5),
    Attribute("cash_withdrawals_3m", "int", low=0, high=40, skew=2.0),
    Attribute("children_count", "int", "crm", 0, 5, skew=2.5, is_personal=True),
    Attribute("card_tier", "string", levels=("classic", "gold", "platinum")),
    Attribute("city", "string", "crm", levels=("Wien", "Graz", "Linz", "Berlin", "Dublin"), is_personal=True),
    Attribute("loyalty_tier", "string", "loyalty", levels=("blue", "silver", "gold")),
    Attribute("loyalty_points", "int", "loyalty", 0, 20_000, skew=2.0),
    Attribute("complaints_open", "int", "crm", 0, 4, skew=6.0),
    Attribute("has_insurance_travel", "bool", share=0.15),
    Attribute("has_insurance_home", "bool", share=0.3),
    Attribute("last_product_viewed", "string", "web_analytics", levels=("cards", "loans", "savings", "insurance")),
    Attribute("last_login_at", "timestamp", "web_analytics", high=400.0, is_feature=False),
)
COUNT_MIN = 10  # rules, texts and contact with the customer read the first ten

BRANCHES = (
    "groceries", "travel", "fuel", "fashion", "pharmacy", "restaurants", "electronics", "furniture", "sports", "books",
    "streaming", "games", "garden", "pets", "children", "beauty", "optics", "transport", "hotels", "tickets",
    "education", "charity", "telecom", "energy",
)  # fmt: skip
MEASURES = ("spend", "visits", "refunds", "largest", "online_spend")
SPANS_DAYS = (7, 30, 90, 365)
COUNT_MAX = len(BANK) + len(BRANCHES) * len(MEASURES) * len(SPANS_DAYS)


def attributes(count: int) -> tuple[Attribute, ...]:
    """The first so many of all attributes."""
    names = (f"{measure}_{branch}_{days}d" for days in SPANS_DAYS for measure in MEASURES for branch in BRANCHES)
    return (*BANK, *map(_of_trade, names))[:count]


def _of_trade(name: str) -> Attribute:
    if name.startswith(("visits", "refunds")):
        return Attribute(name, "int", "card_processor", high=60, skew=2.0)
    return Attribute(name, "double", "card_processor", high=3_000, skew=3.0)


def quantiles(seed: int, number: int, known: Sequence[Attribute]) -> list[float | None]:
    """One customer: how far up they are in each attribute, None where it is not known."""
    draws = Draws(seed, "customer", number)
    drawn = [(draws.uniform(), draws.uniform()) for _ in known]
    return [
        quantile if each.is_always_known or gap >= GAP_SHARE else None
        for each, (quantile, gap) in zip(known, drawn, strict=True)
    ]
