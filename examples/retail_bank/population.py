"""Population: simulated customers of a retail bank, as columns.

Attributes hang together because they come from a few hidden traits (age, wealth, digital habits, love of travel); gaps
are where a real bank has them: income without a salary account, web behaviour of people who never log in, loyalty of
non-members. A column is float64 with NaN for missing (numbers and 0/1 flags) or object with None for missing (texts);
each of OTHER_PRODUCTS is a flag of its own, and times are days before or after the last day of the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
Columns = Mapping[str, Column]

DAYS_PER_YEAR = 365.25

NAMES: Mapping[str, tuple[str, ...]] = {
    "hu": (
        "Anna",
        "Bence",
        "Dóra",
        "Eszter",
        "Gábor",
        "István",
        "Judit",
        "Katalin",
        "László",
        "Márta",
        "Péter",
        "Réka",
        "Tamás",
        "Zsófia",
    ),
    "en": (
        "Alice",
        "Ben",
        "Claire",
        "David",
        "Emma",
        "George",
        "Helen",
        "James",
        "Laura",
        "Oliver",
        "Sophie",
        "William",
    ),
    "de": (
        "Anja",
        "Christian",
        "Claudia",
        "Florian",
        "Hannah",
        "Jürgen",
        "Katrin",
        "Lukas",
        "Martina",
        "Sabine",
        "Stefan",
        "Ursula",
    ),
}
LANGUAGE_SHARES = {"hu": 0.72, "en": 0.12, "de": 0.16}
CITY_SHARES = {
    "Budapest": 0.36, "Debrecen": 0.10, "Szeged": 0.09, "Miskolc": 0.08, "Pécs": 0.08,
    "Győr": 0.09, "Sopron": 0.07, "Kecskemét": 0.07, "Székesfehérvár": 0.06,
}  # fmt: skip
VIEWED_SHARES = {
    "cards": 0.22,
    "loans": 0.20,
    "mortgages": 0.12,
    "savings": 0.20,
    "investments": 0.13,
    "insurance": 0.13,
}

OTHER_PRODUCTS = (
    "car_loan",
    "child_savings",
    "e_statements",
    "family_card",
    "fee_free_account",
    "life_insurance",
    "managed_portfolio",
    "mobile_wallet",
    "overdraft",
    "payment_protection",
    "pension_plan",
    "regular_saver",
)

# What an accepted offer changes about the customer; the first column decides whether the customer already has it.
ACQUIRED: Mapping[str, Mapping[str, float | str]] = {
    "grow/cards/gold_upgrade": {"card_tier": "gold"},
    "grow/cards/platinum_upgrade": {"card_tier": "platinum"},
    "grow/cards/credit_card": {"has_credit_card": 1.0, "credit_card_utilisation": 0.15},
    "grow/cards/family_card": {"family_card": 1.0},
    "grow/loans/personal_loan": {"has_personal_loan": 1.0},
    "grow/loans/car_loan": {"car_loan": 1.0},
    "grow/loans/overdraft": {"overdraft": 1.0},
    "grow/mortgages/first_home": {"has_mortgage": 1.0, "home_owner": 1.0, "mortgage_fix_in_days": 1500.0},
    "grow/savings/savings_account": {"has_savings": 1.0},
    "grow/savings/regular_saver": {"regular_saver": 1.0},
    "grow/savings/child_savings": {"child_savings": 1.0},
    "grow/investments/fund_starter": {"has_investments": 1.0},
    "grow/investments/managed_portfolio": {"managed_portfolio": 1.0, "has_investments": 1.0},
    "grow/investments/pension_plan": {"pension_plan": 1.0},
    "grow/insurance/travel_insurance": {"has_insurance_travel": 1.0},
    "grow/insurance/home_insurance": {"has_insurance_home": 1.0},
    "grow/insurance/life_insurance": {"life_insurance": 1.0},
    "grow/insurance/payment_protection": {"payment_protection": 1.0},
    "retain/relationship/salary_switch": {"salary_account": 1.0},
    "retain/relationship/fee_free_account": {"fee_free_account": 1.0},
    "retain/loyalty/join": {"loyalty_tier": "blue", "loyalty_points": 500.0},
    "retain/loyalty/silver_fast_track": {"loyalty_tier": "silver"},
    "nurture/digital/mobile_app": {"app_active_days_30d": 8.0},
    "nurture/digital/e_statements": {"e_statements": 1.0},
    "nurture/digital/mobile_wallet": {"mobile_wallet": 1.0},
}


def draw(rng: np.random.Generator, count: int) -> dict[str, Column]:
    """Customers by column; ages and tenures are those of the last day of the history."""
    age = 16.0 + 64.0 * rng.beta(1.9, 2.6, count)
    years = (age - 43.0) / 15.0
    wealth = rng.standard_normal(count)
    digital = -0.6 * years + 0.8 * rng.standard_normal(count)
    travel = 0.4 * wealth + 0.9 * rng.standard_normal(count)
    columns = _person(rng, age, wealth)
    columns |= _money(rng, columns, years, wealth, digital, travel)
    columns |= _products(rng, columns, years, wealth, digital, travel)
    columns |= _behaviour(rng, digital)
    _leave_gaps(rng, columns)
    return columns


def accept(columns: dict[str, Column], action: str, rows: NDArray[np.int64]) -> None:
    """These customers said yes: what they now have, they have from here on."""
    for name, value in ACQUIRED.get(action, {}).items():
        columns[name][rows] = value


def has_already(columns: Columns, action: str) -> NDArray[np.bool_]:
    """Whether customers already have exactly what the action would give; never for what can be had again."""
    if action not in ACQUIRED:
        return np.zeros(len(columns["age"]), dtype=bool)
    name, value = next(iter(ACQUIRED[action].items()))
    return np.asarray(columns[name] == value, dtype=bool)


def live_on(rng: np.random.Generator, columns: dict[str, Column], rows: NDArray[np.int64]) -> None:
    """Some weeks pass for these customers: money moves, interests change."""
    for name in ("balance_avg_3m", "travel_spend_3m", "online_spend_3m"):
        columns[name][rows] = np.round(columns[name][rows] * np.exp(0.15 * rng.standard_normal(len(rows))), 2)
    columns["last_product_viewed"][rows] = _viewed(rng, ~np.isnan(columns["app_active_days_30d"][rows]))


def _person(rng: np.random.Generator, age: Column, wealth: Column) -> dict[str, Column]:
    count = len(age)
    language = _choose(rng, LANGUAGE_SHARES, count)
    children = rng.poisson(np.where((age > 26) & (age < 56), 1.1, 0.12))
    return {
        "first_name": _first_names(rng, language),
        "language": language,
        "age": age,
        "city": _choose(rng, CITY_SHARES, count),
        "tenure_days": np.floor(rng.beta(1.1, 2.2, count) * np.minimum(age - 14.0, 34.0) * DAYS_PER_YEAR),
        "children_count": np.minimum(children, 5).astype(float),
        "home_owner": _flag(rng, -0.6 + 0.06 * (age - 40.0) + 0.6 * wealth) * (age >= 22),
        "complaints_open": rng.choice([0.0, 1.0, 2.0], count, p=[0.955, 0.039, 0.006]),
    }


def _first_names(rng: np.random.Generator, language: Column) -> Column:
    names = np.empty(len(language), dtype=object)
    for tag, known in NAMES.items():
        speakers = language == tag
        names[speakers] = rng.choice(known, int(speakers.sum()))
    return names


def _money(
    rng: np.random.Generator, columns: Columns, years: Column, wealth: Column, digital: Column, travel: Column
) -> dict[str, Column]:
    age = columns["age"]
    earning = 0.4 * np.exp(-(((age - 47.0) / 15.0) ** 2)) - 0.7 * (age < 22) - 0.3 * (age > 65)
    income = 1250.0 * np.exp(earning + 0.45 * wealth + 0.15 * rng.standard_normal(len(age)))
    balance = 1500.0 * np.exp(0.9 * wealth + 0.35 * years + 0.8 * rng.standard_normal(len(age)))
    balance = np.where(rng.random(len(age)) < 0.04, -rng.uniform(20.0, 600.0, len(age)), balance)
    salary_account = _flag(rng, 0.7 + 0.2 * wealth) * ((age >= 18) & (age < 68))
    risk = 1.0 / (1.0 + np.exp(1.3 + 0.8 * wealth + 0.7 * rng.standard_normal(len(age))))
    return {
        "salary_account": salary_account,
        "income_monthly": np.round(income, 2),
        "balance_avg_3m": np.round(balance, 2),
        "segment": _segment(age, income, balance),
        "risk_score": np.round(risk, 3),
        "in_arrears": (rng.random(len(age)) < 0.12 * risk).astype(float),
        "travel_spend_3m": np.round(_spend(rng, 190.0, 0.9 * travel, 0.35), 2),
        "online_spend_3m": np.round(_spend(rng, 240.0, 0.6 * digital + 0.4 * wealth, 0.15), 2),
        "cash_withdrawals_3m": rng.poisson(np.clip(6.0 - 2.0 * digital, 0.3, None)).astype(float),
    }


def _segment(age: Column, income: Column, balance: Column) -> Column:
    is_premium = (income > 3200.0) | (balance > 30_000.0)
    is_affluent = (income > 2100.0) | (balance > 10_000.0)
    is_student = (age < 25) & (income < 900.0)
    segments = np.select([is_premium, is_affluent, is_student], ["premium", "affluent", "student"], "mass")
    return segments.astype(object)


def _spend(rng: np.random.Generator, typical: float, trait: Column, none_share: float) -> Column:
    amount = typical * np.exp(trait + 0.5 * rng.standard_normal(len(trait)))
    return np.where(rng.random(len(trait)) < none_share, 0.0, amount)


def _products(
    rng: np.random.Generator, columns: Columns, years: Column, wealth: Column, digital: Column, travel: Column
) -> dict[str, Column]:
    age, owner, children = columns["age"], columns["home_owner"], columns["children_count"]
    adult = (age >= 18).astype(float)
    saving = np.log(np.maximum(columns["balance_avg_3m"], 1.0) / 1500.0)
    tier_trait = wealth + 0.3 * years + 0.6 * rng.standard_normal(len(age))
    credit_card = _flag(rng, -0.6 + 0.5 * wealth) * adult
    mortgage = _flag(rng, -0.4 + 0.1 * wealth) * owner * ((age >= 26) & (age < 66))
    chances = {
        "has_personal_loan": -1.5 - 0.3 * wealth - 0.4 * years**2,
        "has_savings": -0.4 + 0.7 * saving,
        "has_investments": -2.5 + 0.8 * saving,
        "has_insurance_travel": -1.8 + 0.6 * travel,
        "has_insurance_home": -8.0 + 8.2 * owner + 0.3 * wealth,
        "car_loan": -2.6 - 0.3 * years**2,
        "child_savings": -5.0 + 3.2 * (children > 0) + 0.4 * saving,
        "e_statements": 0.1 + 0.9 * digital,
        "family_card": -6.0 + 3.6 * (children > 0),
        "fee_free_account": -1.2 + 1.0 * (age < 27),
        "life_insurance": -2.4 + 0.8 * mortgage + 0.5 * (children > 0),
        "managed_portfolio": -4.2 + 0.9 * saving,
        "mobile_wallet": -1.2 + 0.9 * digital,
        "overdraft": -1.4 + 0.8 * columns["salary_account"],
        "payment_protection": -3.0 + 1.4 * mortgage,
        "pension_plan": -2.2 + 0.4 * wealth + 0.3 * years,
        "regular_saver": -2.0 + 0.2 * saving,
    }
    return {name: _flag(rng, chance) * adult for name, chance in chances.items()} | {
        "card_tier": np.select([tier_trait > 2.1, tier_trait > 0.9], ["platinum", "gold"], "classic").astype(object),
        "has_credit_card": credit_card,
        "credit_card_utilisation": np.where(credit_card == 1.0, np.round(rng.beta(1.6, 2.4, len(age)), 3), np.nan),
        "has_mortgage": mortgage,
        "mortgage_fix_in_days": np.where(mortgage == 1.0, np.floor(rng.uniform(-200.0, 1400.0, len(age))), np.nan),
    }


def _behaviour(rng: np.random.Generator, digital: Column) -> dict[str, Column]:
    count = len(digital)
    is_online = rng.random(count) < 1.0 / (1.0 + np.exp(-1.6 - digital))
    uses_app = is_online & (rng.random(count) < 0.75)
    days = np.where(uses_app, rng.binomial(30, 1.0 / (1.0 + np.exp(0.5 - digital))), 0.0)
    is_member = rng.random(count) < 0.7
    points = np.where(is_member, np.floor(rng.gamma(1.3, 1900.0, count)), np.nan)
    tier = np.select([points > 6000.0, points > 2800.0, is_member], ["gold", "silver", "blue"], "")
    return {
        "app_active_days_30d": np.where(is_online, days, np.nan),
        "last_login_days_ago": np.where(is_online, np.round(rng.exponential(9.0, count), 4), np.nan),
        "last_product_viewed": _viewed(rng, is_online),
        "loyalty_points": points,
        "loyalty_tier": _known_where(tier != "", tier.astype(object)),
    }


def _viewed(rng: np.random.Generator, is_online: NDArray[np.bool_]) -> Column:
    viewed = _choose(rng, VIEWED_SHARES, len(is_online))
    return _known_where(is_online & (rng.random(len(is_online)) < 0.5), viewed)


def _known_where(is_known: NDArray[np.bool_], texts: Column) -> Column:
    column = np.full(len(texts), None, dtype=object)
    column[is_known] = texts[is_known]
    return column


def _leave_gaps(rng: np.random.Generator, columns: dict[str, Column]) -> None:
    """Takes away what a bank would not know."""
    income_known = np.where(columns["salary_account"] == 1.0, 0.97, 0.55)
    columns["income_monthly"][rng.random(len(income_known)) > income_known] = np.nan
    for name, share in {"children_count": 0.12, "home_owner": 0.08, "risk_score": 0.06}.items():
        columns[name][rng.random(len(income_known)) < share] = np.nan
    for name, share in {"first_name": 0.01, "city": 0.03, "language": 0.02}.items():
        columns[name][rng.random(len(income_known)) < share] = None


def _flag(rng: np.random.Generator, chance: Column) -> Column:
    """1.0 with the probability of this logit, else 0.0."""
    return (rng.random(len(chance)) < 1.0 / (1.0 + np.exp(-chance))).astype(float)


def _choose(rng: np.random.Generator, shares: Mapping[str, float], count: int) -> Column:
    return np.array(list(shares), dtype=object)[rng.choice(len(shares), count, p=list(shares.values()))]
