"""Truth: the hidden rule by which simulated customers accept offers. Models never see this file; measurements may.

The log-odds of a yes are the sum of
  - the action's base rate, for an average customer on the home page,
  - the customer's traits, or products of two, each times an effect that its issue, its group or the action itself has,
  - the channel, more for people who like it,
  - fresh interest: the product family last viewed, and the page.
Whatever is missing has no effect, except web behaviour and loyalty, whose absence itself says something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Offer:
    """Base rate on the web, worth of one acceptance in euro, and what moves this action beyond its group."""

    base_rate: float
    value: float
    effects: Mapping[str, float]


ISSUE_EFFECTS: Mapping[str, Mapping[str, float]] = {
    "acquire": {},
    "grow": {"complaint": -0.8, "tenure": 0.10, "salary": 0.20},
    "retain": {"complaint": -0.4, "loyal": 0.25, "tenure": 0.15},
    "nurture": {"digital": 0.25},
}

GROUP_EFFECTS: Mapping[str, Mapping[str, float]] = {
    "acquire/accounts": {},
    "grow/cards": {"online": 0.30, "cash": -0.25, "loyal": 0.20},
    "grow/loans": {"balance": -0.50, "family_years": 0.60, "retired": -0.90},
    "grow/mortgages": {"family_years": 0.90, "income": 0.40, "family_years*income": 0.35, "retired": -1.20},
    "grow/savings": {"balance": 0.45, "cash": -0.10},
    "grow/investments": {"balance": 0.55, "income": 0.30, "cash": -0.20},
    "grow/insurance": {"children": 0.25, "owner": 0.30},
    "retain/relationship": {"salary": 0.20},
    "retain/loyalty": {"online": 0.30},
    "nurture/digital": {"young": 0.50, "retired": -0.70, "cash": -0.20},
}

OFFERS: Mapping[str, Offer] = {
    "acquire/accounts/open_current_account": Offer(0.04, 70.0, {}),
    "acquire/accounts/switch_bank": Offer(0.025, 95.0, {}),
    "grow/cards/gold_upgrade": Offer(
        0.028, 85.0, {"income": 0.40, "travel": 0.50, "travel*income": 0.30, "young": -0.50}
    ),
    "grow/cards/platinum_upgrade": Offer(0.01, 110.0, {"income": 0.60, "travel": 0.70, "balance": 0.30}),
    "grow/cards/credit_card": Offer(0.03, 60.0, {"balance": -0.30, "online": 0.40, "young": 0.40, "retired": -0.80}),
    "grow/cards/credit_limit_increase": Offer(0.05, 40.0, {"credit_use": 2.20, "balance": -0.30}),
    "grow/cards/family_card": Offer(0.042, 18.0, {"children": 0.50, "digital": 0.30}),
    "grow/loans/personal_loan": Offer(0.02, 110.0, {"credit_use": 1.20, "income": -0.30, "young": 0.30}),
    "grow/loans/car_loan": Offer(0.013, 130.0, {"budapest": -0.70, "income": 0.30, "children": 0.20}),
    "grow/loans/home_improvement_loan": Offer(0.011, 140.0, {"owner": 1.00, "age": 0.30}),
    "grow/loans/debt_consolidation": Offer(0.024, 95.0, {"credit_use": 1.80, "income": -0.40}),
    "grow/loans/overdraft": Offer(0.055, 22.0, {"young": 0.50, "balance": -0.30}),
    "grow/mortgages/first_home": Offer(
        0.0048, 450.0, {"owner": -0.80, "balance": 0.40, "budapest": 0.40, "children": 0.30}
    ),
    "grow/mortgages/refinance": Offer(0.012, 180.0, {"mortgage": 0.90, "digital": 0.30}),
    "grow/mortgages/green_renovation": Offer(0.007, 160.0, {"owner": 1.00, "budapest": -0.60, "balance": 0.30}),
    "grow/savings/savings_account": Offer(0.065, 32.0, {"age": 0.20, "digital": 0.20}),
    "grow/savings/term_deposit": Offer(
        0.026, 40.0, {"retired": 0.90, "balance": 0.30, "balance*age": 0.25, "digital": -0.20}
    ),
    "grow/savings/regular_saver": Offer(0.06, 24.0, {"young": 0.50, "income": 0.30, "balance": -0.40}),
    "grow/savings/child_savings": Offer(0.042, 28.0, {"children": 0.60, "family_years": 0.40}),
    "grow/investments/fund_starter": Offer(0.026, 60.0, {"digital": 0.40, "young*digital": 0.60, "retired": -0.60}),
    "grow/investments/managed_portfolio": Offer(0.005, 160.0, {"premium_card": 0.50, "age": 0.30, "digital": -0.30}),
    "grow/investments/pension_plan": Offer(0.014, 110.0, {"family_years": 0.50, "age": 0.40, "retired": -2.00}),
    "grow/investments/government_bonds": Offer(0.03, 32.0, {"retired": 0.90, "age": 0.30, "digital": -0.20}),
    "grow/insurance/travel_insurance": Offer(0.052, 18.0, {"travel": 0.90, "owner": -0.20}),
    "grow/insurance/home_insurance": Offer(0.032, 55.0, {"owner": 0.90, "mortgage": 0.80}),
    "grow/insurance/life_insurance": Offer(
        0.012, 90.0, {"children": 0.50, "mortgage": 0.70, "family_years": 0.50, "retired": -1.00}
    ),
    "grow/insurance/payment_protection": Offer(0.027, 40.0, {"mortgage": 0.50, "income": -0.40, "credit_use": 0.60}),
    "retain/relationship/salary_switch": Offer(
        0.034, 80.0, {"young": 0.50, "retired": -1.80, "balance": 0.30, "digital": 0.30}
    ),
    "retain/relationship/bonus_rate": Offer(0.065, 25.0, {"balance": 0.60, "retired": 0.40}),
    "retain/relationship/fee_free_account": Offer(0.11, 14.0, {"income": -0.40, "young": 0.40}),
    "retain/relationship/adviser_review": Offer(0.042, 28.0, {"balance": 0.50, "age": 0.40, "digital": -0.40}),
    "retain/loyalty/join": Offer(0.12, 10.0, {"travel": 0.30, "digital": 0.20}),
    "retain/loyalty/points_for_fee": Offer(0.1, 8.0, {"premium_card": 0.70, "loyal": 0.30}),
    "retain/loyalty/silver_fast_track": Offer(0.07, 12.0, {"travel": 0.50, "online": 0.20}),
    "nurture/digital/mobile_app": Offer(0.095, 12.0, {"online": 0.40, "age": -0.30}),
    "nurture/digital/e_statements": Offer(0.11, 5.0, {"age": -0.20}),
    "nurture/digital/mobile_wallet": Offer(0.09, 8.0, {"young": 0.40, "online": 0.30}),
}

CHANNEL_EFFECTS: Mapping[str, Mapping[str, float]] = {
    "web": {},
    "email": {"always": -0.40, "digital": 0.15},
    "call_center": {"always": 0.60, "age": 0.25},
}
# Some things are easier to say yes to in a conversation, others with a thumb.
CHANNEL_GROUP_EFFECTS: Mapping[tuple[str, str], float] = {
    ("call_center", "grow/mortgages"): 0.35,
    ("call_center", "grow/investments"): 0.25,
    ("call_center", "nurture/digital"): -0.60,
    ("email", "retain/loyalty"): 0.25,
}

VIEWED_EFFECT = 0.90  # the family last viewed on web or app is the action's
PAGE_EFFECT = 0.60  # the page is about the action's family
PAGE_GROUPS: Mapping[str, str] = {
    "cards": "cards",
    "loans": "loans",
    "mortgage": "mortgages",
    "savings": "savings",
    "investments": "investments",
    "insurance": "insurance",
    "travel": "insurance",
}


def true_propensity(
    customers: Mapping[str, Sequence[Any] | NDArray[Any]],
    action_keys: Sequence[str],
    channel: str,
    pages: Sequence[str | None] | NDArray[Any] | None = None,
) -> Floats:
    """The true chance of acceptance, float64[customers, actions], 0..1.

    customers    columns named as the attributes, without `customer.`; None or NaN is missing, so is an absent column
    action_keys  keys of OFFERS; another one is a KeyError
    channel      web, email or call_center
    pages        the page each customer is on; None means a neutral one
    """
    traits = traits_of(customers)
    count = len(traits["always"])
    viewed = _texts(customers, "last_product_viewed", count)
    about = np.array(
        [PAGE_GROUPS.get(page or "", "") for page in ([None] * count if pages is None else pages)], dtype=object
    )
    log_odds = np.empty((count, len(action_keys)))
    for position, key in enumerate(action_keys):
        group = key.split("/")[1]
        interest = VIEWED_EFFECT * (viewed == group) + PAGE_EFFECT * (about == group)
        log_odds[:, position] = _log_odds(traits, key, channel) + interest
    return 1.0 / (1.0 + np.exp(-log_odds))


def traits_of(customers: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, Floats]:
    """What moves customers, each trait roughly between -2 and 2 and 0 for the average one."""
    count = len(next(iter(customers.values())))

    def number(name: str, missing: float = np.nan) -> Floats:
        column = np.asarray(customers.get(name, np.full(count, np.nan)), dtype=np.float64)
        return np.where(np.isnan(column), missing, column)

    age = number("age")
    tier, loyalty = _texts(customers, "card_tier", count), _texts(customers, "loyalty_tier", count)
    traits = {
        "age": (age - 43.0) / 15.0,
        "young": _step((28.0 - age) / 3.0),
        "family_years": np.exp(-(((age - 37.0) / 9.0) ** 2)) - 0.4,
        "retired": _step((age - 64.0) / 2.5),
        "income": np.log(np.maximum(number("income_monthly"), 100.0) / 1400.0) / 0.5,
        "balance": np.log(np.maximum(number("balance_avg_3m"), 50.0) / 1500.0) / 1.2,
        "tenure": (number("tenure_days") / 365.0 - 8.0) / 7.0,
        "children": np.minimum(number("children_count"), 3.0) - 0.6,
        "owner": number("home_owner") - 0.45,
        "mortgage": number("has_mortgage") - 0.15,
        "salary": number("salary_account") - 0.6,
        "complaint": np.minimum(number("complaints_open"), 1.0),
        "travel": (np.log1p(number("travel_spend_3m")) - 3.5) / 2.5,
        "online": (np.log1p(number("online_spend_3m")) - 4.7) / 1.6,
        "cash": (number("cash_withdrawals_3m") - 6.0) / 3.0,
        "credit_use": number("credit_card_utilisation") - 0.4,
        "digital": (number("app_active_days_30d", missing=0.0) - 8.0) / 8.0,
        "loyal": _levels(loyalty, {"blue": 0.0, "silver": 0.7, "gold": 1.2}, missing=-0.5),
        "premium_card": _levels(tier, {"classic": -0.3, "gold": 0.7, "platinum": 0.9}, missing=0.0),
        "budapest": (_texts(customers, "city", count) == "Budapest") - 0.36,
    }
    known = {name: np.clip(np.nan_to_num(values, nan=0.0), -2.5, 2.5) for name, values in traits.items()}
    return known | {"always": np.ones(count)}


def _log_odds(traits: Mapping[str, Floats], key: str, channel: str) -> Floats:
    offer, group, issue = OFFERS[key], key.rpartition("/")[0], key.partition("/")[0]
    constant = np.log(offer.base_rate / (1.0 - offer.base_rate)) + CHANNEL_GROUP_EFFECTS.get((channel, group), 0.0)
    log_odds = np.full(len(traits["always"]), constant)
    for effects in (ISSUE_EFFECTS[issue], GROUP_EFFECTS[group], offer.effects, CHANNEL_EFFECTS[channel]):
        for name, effect in effects.items():
            first, _, second = name.partition("*")
            log_odds += effect * (traits[first] * traits[second] if second else traits[first])
    return log_odds


def _step(position: Floats) -> Floats:
    """From 0 to 1, softly, around position 0."""
    return 1.0 / (1.0 + np.exp(-position))


def _levels(texts: NDArray[Any], levels: Mapping[str, float], missing: float) -> Floats:
    return np.array([levels.get(text, missing) for text in texts], dtype=np.float64)


def _texts(customers: Mapping[str, Sequence[Any] | NDArray[Any]], name: str, count: int) -> NDArray[Any]:
    return np.asarray(customers.get(name, [None] * count), dtype=object)
