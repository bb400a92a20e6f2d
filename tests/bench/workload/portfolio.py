"""A bank's rules and customers, drawn from a seed: as many actions and distinct predicates as a measurement asks for.

Rules say what rules of banks say: limits that most customers keep, flags, tiers out of a few, products held, dates, and
now and then a choice of two or a guard against missing data. About one action in three passes for a customer of whom
everything is known. What the host answers (`history.count(...)`) is not among them, because it is not the rules' cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from rules import (
    BOOL,
    DOUBLE,
    INT,
    STRING,
    TIMESTAMP,
    Environment,
    Program,
    Timestamp,
    check,
    compile,
    list_of,
    object_of,
    parse,
)

RULES_PER_ACTION = 5
NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000

COUNTS = {
    "age": (18, 90),
    "tenure_days": (0, 9000),
    "children_count": (0, 5),
    "complaints_open": (0, 4),
    "cash_withdrawals_3m": (0, 40),
    "loyalty_points": (0, 20_000),
    "app_active_days_30d": (0, 30),
    "products_count": (1, 12),
}
AMOUNTS = {
    "balance_avg_3m": 40_000.0,
    "income_monthly": 9_000.0,
    "credit_card_utilisation": 1.0,
    "risk_score": 1.0,
    "travel_spend_3m": 5_000.0,
    "online_spend_3m": 3_000.0,
}
FLAGS = {  # with the share of customers for whom it is true
    "salary_account": 0.8,
    "home_owner": 0.3,
    "in_arrears": 0.05,
    "has_mortgage": 0.15,
    "has_credit_card": 0.7,
    "has_savings": 0.75,
    "has_insurance_travel": 0.1,
}
CHOICES = {
    "segment": ("student", "mass", "affluent", "premium"),
    "language": ("en", "hu", "de"),
    "card_tier": ("classic", "gold", "platinum"),
    "city": ("Budapest", "Wien", "Berlin", "London", "Graz", "Linz"),
    "loyalty_tier": ("blue", "silver", "gold"),
    "last_product_viewed": ("cards", "loans", "mortgages", "savings", "investments", "insurance"),
}
MOMENTS = ("last_login_at", "mortgage_fix_ends_at", "last_contact_at")
PRODUCTS = ("brokerage", "pension", "safe", "leasing", "gold_account", "fx", "youth", "custody")
CONTEXT = {"page": ("home", "account", "cards", "loans", "travel"), "device": ("desktop", "mobile", "tablet")}

ENVIRONMENT = Environment(
    {
        "customer": object_of(
            {
                **dict.fromkeys(COUNTS, INT),
                **dict.fromkeys(AMOUNTS, DOUBLE),
                **dict.fromkeys(FLAGS, BOOL),
                **dict.fromkeys(CHOICES, STRING),
                **dict.fromkeys(MOMENTS, TIMESTAMP),
                "other_products": list_of(STRING),
            },
            name="customer",
        ),
        "context": object_of(dict.fromkeys(CONTEXT, STRING), name="context"),
        "now": TIMESTAMP,
    }
)


def portfolio(random: Random, *, action_count: int, distinct_count: int) -> list[list[Program]]:
    """The predicates of each action. Each is in at least one action, the first ones in many, as `age >= 18` is."""
    predicates = [compile(check(parse(text), ENVIRONMENT, BOOL)) for text in distinct_texts(random, distinct_count)]
    popularity = [1 / (rank + 1) for rank in range(distinct_count)]
    return [row(random, predicates[action::action_count], predicates, popularity) for action in range(action_count)]


def row(
    random: Random, own: Sequence[Program], predicates: Sequence[Program], popularity: Sequence[float]
) -> list[Program]:
    """An action's own predicates and popular ones, none twice."""
    chosen = {program.text: program for program in own}
    while len(chosen) < RULES_PER_ACTION:
        (program,) = random.choices(predicates, popularity)
        chosen[program.text] = program
    return list(chosen.values())


def distinct_texts(random: Random, count: int) -> list[str]:
    texts: dict[str, None] = {}
    while len(texts) < count:
        (clause,) = random.choices(list(CLAUSES), list(CLAUSES.values()))
        texts[clause(random)] = None
    return list(texts)


def number(random: Random) -> str:
    """A limit on the side that most customers are on."""
    name = random.choice([*COUNTS, *AMOUNTS])
    at_least = random.random() < 0.5
    share = random.randint(0, 30) / 100 if at_least else random.randint(70, 100) / 100
    if name in COUNTS:
        low, high = COUNTS[name]
        limit = str(low + round(share * (high - low)))
    else:
        limit = str(round(share * AMOUNTS[name], 2))
    return f"customer.{name} {'>=' if at_least else '<='} {limit}"


def flag(random: Random) -> str:
    name, share = random.choice(list(FLAGS.items()))
    return f"customer.{name}" if share > 0.5 else f"!customer.{name}"


def choice(random: Random) -> str:
    name, known = random.choice([(f"customer.{name}", known) for name, known in CHOICES.items()])
    return one_of(random, name, known)


def moment(random: Random) -> str:
    return f'now - customer.{random.choice(MOMENTS)} < duration("{24 * random.randint(200, 400)}h")'


def product(random: Random) -> str:
    return f'!("{random.choice(PRODUCTS)}" in customer.other_products)'


def context(random: Random) -> str:
    name, known = random.choice(list(CONTEXT.items()))
    return one_of(random, f"context.{name}", known)


def either(random: Random) -> str:
    return f"{number(random)} || {choice(random)}"


def guarded(random: Random) -> str:
    limit = number(random)
    return f"!has({limit.split()[0]}) || {limit}"


def one_of(random: Random, name: str, known: Sequence[str]) -> str:
    """All but one or two of the known texts, or not one of them."""
    if random.random() < 0.4:
        return f'{name} != "{random.choice(known)}"'
    kept = random.sample(known, len(known) - random.randint(1, 2))
    return f"{name} in [{', '.join(map(quoted, sorted(kept)))}]"


def quoted(text: str) -> str:
    return f'"{text}"'


CLAUSES = {number: 45, flag: 10, choice: 15, moment: 6, product: 4, context: 6, either: 9, guarded: 5}  # by weight


def customers(random: Random, count: int, *, gap_share: float) -> list[dict[str, Any]]:
    """Activations of customers of whom that share of attributes is unknown."""
    return [activation(random, gap_share) for _ in range(count)]


def activation(random: Random, gap_share: float) -> dict[str, Any]:
    known = {
        **{name: random.randint(*limits) for name, limits in COUNTS.items()},
        **{name: random.uniform(0, high) for name, high in AMOUNTS.items()},
        **{name: random.random() < share for name, share in FLAGS.items()},
        **{name: random.choice(known) for name, known in CHOICES.items()},
        **{name: Timestamp.from_ms(NOW_MS - random.randint(0, 400) * DAY_MS) for name in MOMENTS},
        "other_products": random.sample(PRODUCTS, random.randint(0, 3)),
    }
    return {
        "customer": {name: value for name, value in known.items() if random.random() >= gap_share},
        "context": {name: random.choice(known) for name, known in CONTEXT.items()},
        "now": Timestamp.from_ms(NOW_MS),
    }
