"""Past: eighteen months of contacts under a near-random policy, and what came of them.

Contacts run in rounds, the k-th contact of every customer at once, because what a customer accepts changes what the
next contact can be about. Attributes are logged as they were at the time. The policy is a softmax over what is
plausible for the customer, with small pushes that campaigns gave; its exact probability is logged with each contact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.retail_bank import population
from examples.retail_bank.population import DAYS_PER_YEAR, Column, Columns
from examples.retail_bank.truth import OFFERS, PAGE_GROUPS, true_propensity

DAY_MS = 86_400_000
WINDOW_DAYS = 548  # eighteen months
CONTACTS_MEAN = 14.0  # per customer, before those are taken off that fall before the customer joined
CONTACTS_MAX = 36

CHANNEL_SHARES = {"web": 0.56, "email": 0.30, "call_center": 0.14}
HOME_SHARE = 0.55  # of web contacts; the others are on a product's page
# Of those who do not accept: only in conversation people say no.
REJECTED_SHARES = {"web": 0.03, "email": 0.02, "call_center": 0.40}
CAMPAIGN_PUSH = 0.35  # standard deviation of the policy's log-odds for one action in one channel

# Attributes that a contact logs; personal names, times and lists are no features.
LOGGED = (
    "language", "age", "city", "segment", "tenure_days", "children_count", "home_owner", "complaints_open",
    "salary_account", "income_monthly", "balance_avg_3m", "card_tier", "has_credit_card", "credit_card_utilisation",
    "has_mortgage", "has_personal_loan", "has_savings", "has_investments", "has_insurance_travel", "has_insurance_home",
    "in_arrears", "travel_spend_3m", "online_spend_3m", "cash_withdrawals_3m",
    "loyalty_tier", "loyalty_points", "app_active_days_30d", "last_product_viewed",
)  # fmt: skip

Plausible = Callable[[Columns], NDArray[np.bool_]]

# Whom the past policy would have asked, if they do not have it already. Coarser than the strategy's rules on purpose:
# models should also see what happens a little outside of them.
PLAUSIBLE: Mapping[str, Plausible] = {
    "grow/cards/gold_upgrade": lambda customers: customers["card_tier"] == "classic",
    "grow/cards/platinum_upgrade": lambda customers: customers["card_tier"] == "gold",
    "grow/cards/credit_limit_increase": lambda customers: customers["has_credit_card"] == 1.0,
    "grow/cards/family_card": lambda customers: customers["children_count"] >= 1.0,
    "grow/loans/home_improvement_loan": lambda customers: customers["home_owner"] == 1.0,
    "grow/loans/debt_consolidation": lambda customers: (
        (customers["has_personal_loan"] == 1.0) | (customers["has_credit_card"] == 1.0)
    ),
    "grow/mortgages/first_home": lambda customers: (customers["home_owner"] != 1.0) & (customers["age"] < 56.0),
    "grow/mortgages/refinance": lambda customers: customers["mortgage_fix_in_days"] < 730.0,
    "grow/mortgages/green_renovation": lambda customers: customers["home_owner"] == 1.0,
    "grow/savings/term_deposit": lambda customers: customers["balance_avg_3m"] > 3000.0,
    "grow/savings/child_savings": lambda customers: customers["children_count"] >= 1.0,
    "grow/investments/managed_portfolio": lambda customers: customers["balance_avg_3m"] > 10_000.0,
    "grow/investments/pension_plan": lambda customers: customers["age"] < 62.0,
    "grow/investments/government_bonds": lambda customers: customers["balance_avg_3m"] > 1500.0,
    "grow/insurance/travel_insurance": lambda customers: customers["card_tier"] == "classic",
    "grow/insurance/payment_protection": lambda customers: (
        (customers["has_mortgage"] == 1.0) | (customers["has_personal_loan"] == 1.0)
    ),
    "retain/relationship/bonus_rate": lambda customers: customers["has_savings"] == 1.0,
    "retain/relationship/adviser_review": lambda customers: customers["segment"] != "student",
    "retain/loyalty/join": lambda customers: np.array([tier is None for tier in customers["loyalty_tier"]]),
    "retain/loyalty/points_for_fee": lambda customers: customers["loyalty_points"] >= 1000.0,
    "retain/loyalty/silver_fast_track": lambda customers: customers["loyalty_tier"] == "blue",
    "nurture/digital/mobile_app": lambda customers: ~(customers["app_active_days_30d"] > 0.0),
    "nurture/digital/mobile_wallet": lambda customers: customers["app_active_days_30d"] >= 1.0,
}
ACTIONS = tuple(key for key in OFFERS if not key.startswith("acquire/"))  # visitors have no history
VALUES = np.array([OFFERS[key].value for key in ACTIONS])


def simulate(
    rng: np.random.Generator,
    columns: dict[str, Column],
    consents: Mapping[str, Column],
    *,
    end_ms: int,
    advance: Callable[[], Any],
) -> dict[str, Column]:
    """Contacts up to end_ms; `columns` end as the customers are then.

    consents  channel -> bool[customers], whether marketing may use it
    advance   called after each of CONTACTS_MAX rounds
    """
    count = len(columns["age"])
    contact_count = np.minimum(rng.poisson(CONTACTS_MEAN, count), CONTACTS_MAX)
    days_ago = _days_ago(rng, contact_count)
    pushes = {channel: rng.normal(0.0, CAMPAIGN_PUSH, len(ACTIONS)) for channel in CHANNEL_SHARES}
    blocks: list[dict[str, Column]] = []
    for each in range(CONTACTS_MAX):
        rows = np.flatnonzero((contact_count > each) & (columns["tenure_days"] > np.nan_to_num(days_ago[:, each])))
        channel = rng.choice(list(CHANNEL_SHARES), len(rows), p=list(CHANNEL_SHARES.values()))
        for name, push in pushes.items():
            reached = rows[(channel == name) & consents[name][rows]]
            if len(reached):
                at_ms = end_ms - (days_ago[reached, each] * DAY_MS).astype(np.int64)
                blocks.append(_contact(rng, columns, reached, name, push, at_ms=at_ms, end_ms=end_ms))
        population.live_on(rng, columns, rows)
        advance()
    return _in_order_of_time(blocks)


def _days_ago(rng: np.random.Generator, contact_count: NDArray[np.int64]) -> NDArray[np.float64]:
    """When contacts happen, float64[customers, CONTACTS_MAX], earliest first, NaN behind the last one."""
    days_ago = rng.uniform(0.0, WINDOW_DAYS, (len(contact_count), CONTACTS_MAX))
    days_ago[np.arange(CONTACTS_MAX) >= contact_count[:, None]] = np.nan
    return -np.sort(-days_ago, axis=1)  # NaN sort last


def _in_order_of_time(blocks: Sequence[Columns]) -> dict[str, Column]:
    """All contacts as columns, oldest first, ties by customer."""
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    order = np.lexsort((columns["customer_index"], columns["at_ms"]))
    return {name: column[order] for name, column in columns.items()}


def _contact(
    rng: np.random.Generator,
    columns: dict[str, Column],
    rows: NDArray[np.int64],
    channel: str,
    push: NDArray[np.float64],
    *,
    at_ms: NDArray[np.int64],
    end_ms: int,
) -> dict[str, Column]:
    """One contact of each of these customers in one channel: chosen, drawn, logged; what was accepted is theirs."""
    customers = _as_of(columns, rows, (end_ms - at_ms) / DAY_MS)
    page = _pages(rng, len(rows)) if channel == "web" else np.full(len(rows), None, dtype=object)
    action, probability = _choose(rng, customers, push)
    chance = true_propensity(customers, ACTIONS, channel, page)[np.arange(len(rows)), action]
    accepted = rng.random(len(rows)) < chance
    rejected = ~accepted & (rng.random(len(rows)) < REJECTED_SHARES[channel])
    value = VALUES[action] * rng.lognormal(-0.02, 0.2, len(rows))  # the mean of the factor is 1
    for index, key in enumerate(ACTIONS):
        population.accept(columns, key, rows[accepted & (action == index)])
    return {
        "customer_index": rows,
        "at_ms": at_ms,
        "action": np.array(ACTIONS, dtype=object)[action],
        "channel": np.full(len(rows), channel, dtype=object),
        "page": page,
        **{name: customers[name] for name in LOGGED},
        "outcome": np.select([accepted, rejected], ["accepted", "rejected"], "no_response").astype(object),
        "value": np.where(accepted, np.round(value, 2), np.nan),
        "logging_probability": np.round(probability, 9),
    }


def _as_of(columns: Columns, rows: NDArray[np.int64], days_ago: NDArray[np.float64]) -> dict[str, Column]:
    """These customers as they were then: younger, newer to the bank, further from the end of a fixed rate."""
    customers = {name: column[rows] for name, column in columns.items()}
    customers["age"] = np.floor(customers["age"] - days_ago / DAYS_PER_YEAR)
    customers["tenure_days"] = np.floor(customers["tenure_days"] - days_ago)
    customers["mortgage_fix_in_days"] = customers["mortgage_fix_in_days"] + days_ago
    return customers


def _choose(
    rng: np.random.Generator, customers: Columns, push: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The past policy: an action's position for each customer, and the probability with which it was chosen."""
    weights = np.exp(push) * _plausible(customers)
    shares = weights / weights.sum(axis=1, keepdims=True)
    drawn = np.argmax(np.cumsum(shares, axis=1) > rng.random((len(shares), 1)), axis=1)
    return drawn, shares[np.arange(len(shares)), drawn]


def _plausible(customers: Columns) -> NDArray[np.bool_]:
    """bool[customers, actions]: the actions that would not be nonsense, at least one for everybody."""
    plausible = np.empty((len(customers["age"]), len(ACTIONS)), dtype=bool)
    is_credit_worthy = (customers["in_arrears"] == 0.0) & (customers["age"] >= 18.0)
    for position, key in enumerate(ACTIONS):
        asked = PLAUSIBLE[key](customers) if key in PLAUSIBLE else True
        plausible[:, position] = ~population.has_already(customers, key) & asked
        if not key.startswith("nurture/"):
            plausible[:, position] &= is_credit_worthy
    plausible[:, ACTIONS.index("nurture/digital/e_statements")] |= ~plausible.any(axis=1)
    return plausible


def _pages(rng: np.random.Generator, count: int) -> Column:
    product_pages = rng.choice(list(PAGE_GROUPS), count).astype(object)
    return np.where(rng.random(count) < HOME_SHARE, "home", product_pages)
