"""Tables for these tests: columns with the cells they may have, and what each row says as a rule of its own."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from rules import BOOL, DOUBLE, INT, STRING, Environment, EvaluationError, check, compile, object_of, parse

SCHEMA = """
purposes: [marketing, service, risk]
customer:
  age: {type: int, min: 16, max: 24}
  tier: {type: string, enum: [classic, gold, platinum]}
  late: {type: bool}
  balance: {type: double, min: 0, max: 2}
"""
# column -> cells as an author writes them, in YAML, and what each means as a rule
CELLS: dict[str, dict[str, str]] = {
    "customer.age": {
        '"-"': "true", '">= 20"': "customer.age >= 20", '"< 18"': "customer.age < 18", "19": "customer.age == 19",
        '"> 17 && <= 21"': "customer.age > 17 && customer.age <= 21", "[16, 24]": "customer.age in [16, 24]",
    },
    "customer.tier": {
        '"-"': "true", "gold": 'customer.tier == "gold"', "'\"gold\"'": 'customer.tier == "gold"',
        "'!= \"gold\"'": 'customer.tier != "gold"', "[classic, gold]": 'customer.tier in ["classic", "gold"]',
        "'not in [\"classic\"]'": '!(customer.tier in ["classic"])',
    },
    "customer.late": {'"-"': "true", "true": "customer.late", "false": "!customer.late"},
    "has(customer.late)": {'"-"': "true", "true": "has(customer.late)", "false": "!has(customer.late)"},
    "customer.balance": {'"-"': "true", '"> 1"': "customer.balance > 1", '"<= 0.5"': "customer.balance <= 0.5"},
}  # fmt: skip
DOMAIN: dict[str, list[Any]] = {
    "age": [None, *range(16, 25)],
    "tier": [None, "classic", "gold", "platinum"],
    "late": [None, True, False],
    "balance": [None, 0.0, 0.5, 0.7, 1.0, 1.5, 2.0],
}
ENVIRONMENT = Environment(
    {"customer": object_of({"age": INT, "tier": STRING, "late": BOOL, "balance": DOUBLE}, name="customer")}, {}
)
Rows = list[tuple[list[str], int]]  # cells, result


def text_of(columns: list[str], rows: Rows, hits: str, gives: str = "{derived: points}") -> str:
    lines = [f"  - [{', '.join([*cells, str(result)])}]" for cells, result in rows]
    return "\n".join([f"gives: {gives}", f"hits: {hits}", f"columns: {json.dumps(columns)}", "rows:", *lines])


def loaded(text: str) -> Strategy:
    """A strategy whose only action reads derived.points, and that has this table."""
    action = (
        "issue: grow\ngroup: cards\nactions:\n  gold: {kind: offer, action_value: 1.0, purpose: marketing, "
        "treatments: {web: {placements: [web.tile], content: {headline: Gold}}}}"
    )
    files = {
        "strategy.yaml": "name: t\ncurrency: EUR\ntimezone: UTC\nlanguages: [en]\nranking: gross",
        "channels.yaml": "web: {direction: inbound, lease_minutes: 60, contact_cost: 0.0}",
        "placements.yaml": "web.tile: {channel: web, nothing_value: 0, fields: {headline: {type: text}}, fallback: b}",
        "consents.yaml": "web: {marketing: {absent: granted, basis: contract}}",
        "content/blocks.yaml": "b: {headline: Hi}",
        "schema.yaml": SCHEMA,
        "actions/cards.yaml": action,
        "tables/points.yaml": text,
    }
    return load_bundle({path: content.encode() for path, content in files.items()})


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], Rows]:
    columns = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=3, unique=True))
    row = st.tuples(
        st.tuples(*(st.sampled_from(list(CELLS[column])) for column in columns)).map(list), st.integers(1, 3)
    )
    return columns, draw(st.lists(row, min_size=1, max_size=5))


def verdict(columns: list[str], cells: list[str], customer: dict[str, Any]) -> bool | None:
    """A row as one rule, asked by itself."""
    rule = " && ".join(f"({CELLS[column][cell]})" for column, cell in zip(columns, cells, strict=True))
    try:
        return bool(compile(check(parse(rule), ENVIRONMENT, BOOL))({"customer": customer}))
    except EvaluationError:
        return None


customers = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in DOMAIN.items()}).map(
    lambda drawn: {name: value for name, value in drawn.items() if value is not None}
)
