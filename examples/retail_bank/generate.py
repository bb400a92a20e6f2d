"""Generate: simulated customers and a history of past contacts for the retail bank.

    python examples/retail_bank/generate.py --seed 7 --customers 20000 --out examples/retail_bank/generated

Writes customers.jsonl (for `nextbest load`) and history.parquet (for `nextbest train`, with mapping.yaml).
The same options give the same customers.jsonl, byte for byte. population.py says who the customers are, past.py what
happened, truth.py why.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from examples.retail_bank import past, population
from examples.retail_bank.population import OTHER_PRODUCTS, Column, Columns

HERE = Path(__file__).parent

TEXTS = ("first_name", "language", "city", "segment", "card_tier", "loyalty_tier", "last_product_viewed")
WHOLE = (
    "age",
    "tenure_days",
    "children_count",
    "complaints_open",
    "cash_withdrawals_3m",
    "loyalty_points",
    "app_active_days_30d",
)
FLAGS = (
    "home_owner",
    "salary_account",
    "has_credit_card",
    "has_mortgage",
    "has_personal_loan",
    "has_savings",
    "has_investments",
    "has_insurance_travel",
    "has_insurance_home",
    "in_arrears",
)
AMOUNTS = (
    "income_monthly",
    "balance_avg_3m",
    "credit_card_utilisation",
    "risk_score",
    "travel_spend_3m",
    "online_spend_3m",
)

# Share of customers who said yes and who said no to marketing, by channel; the others were never asked.
CONSENT_SHARES = {"web": (0.20, 0.06), "email": (0.55, 0.17), "call_center": (0.15, 0.08)}
GRANTED_WHEN_ABSENT = {"web": True, "email": False, "call_center": True}  # as consents.yaml says


def main() -> None:
    options = _options()
    end = datetime.fromisoformat(options.until).replace(tzinfo=UTC)
    customers, contacts = generate(seed=options.seed, count=options.customers, end=end)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "customers.jsonl").write_text("".join(lines_of(customers)), encoding="utf-8")
    write_history(contacts, options.out / "history.parquet")
    contact_count = len(contacts["at_ms"])
    print(f"{options.customers} customers and {contact_count} past contacts are in {options.out}", file=sys.stderr)


def generate(*, seed: int, count: int, end: datetime) -> tuple[list[dict[str, Any]], dict[str, Column]]:
    """Customers as records ready for JSON, and contacts as columns, both as of `end`."""
    rng = np.random.default_rng(seed)
    columns = population.draw(rng, count)
    answers = {
        channel: rng.choice(["yes", "no", "never asked"], count, p=_with_rest(shares))
        for channel, shares in CONSENT_SHARES.items()
    }
    permitted = {
        channel: (answer == "yes") | ((answer == "never asked") & GRANTED_WHEN_ABSENT[channel])
        for channel, answer in answers.items()
    }
    end_ms = int(end.timestamp()) * 1000
    contacts = past.simulate(rng, columns, permitted, end_ms=end_ms, advance=_Progress(past.CONTACTS_MAX).advance)
    return _records(columns, answers, end), _with_ids(contacts)


def lines_of(customers: list[dict[str, Any]]) -> Iterator[str]:
    """One JSON object a line."""
    for customer in customers:
        yield json.dumps(customer, ensure_ascii=False, separators=(",", ":")) + "\n"


def write_history(contacts: Columns, path: Path) -> None:
    """Contacts as Parquet; numbers that are missing become NULL."""
    columns = dict(contacts)  # DuckDB finds it by its name in the query
    selected = ", ".join(_selected(name) for name in columns)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute(f"COPY (SELECT {selected} FROM columns) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=HERE / "generated")
    parser.add_argument("--until", default="2026-11-01", help="last day of the history, YYYY-MM-DD")
    return parser.parse_args()


def _records(columns: Columns, answers: Columns, end: datetime) -> list[dict[str, Any]]:
    """Customers with what is known of each, in the order of their ids."""
    values: dict[str, list[Any]] = {name: columns[name].tolist() for name in TEXTS}
    values |= {name: _known(columns[name], int) for name in WHOLE}
    values |= {name: _known(columns[name], bool) for name in FLAGS}
    values |= {name: _known(np.round(columns[name], 3), float) for name in AMOUNTS}
    values["mortgage_fix_ends_at"] = _times(columns["mortgage_fix_in_days"], end)
    values["last_login_at"] = _times(-columns["last_login_days_ago"], end)
    values["other_products"] = _products(columns)
    for channel, answer in answers.items():
        values[f"consent.{channel}.marketing"] = [{"yes": True, "no": False}.get(each) for each in answer]
    names = sorted(values)
    rows = zip(*(values[name] for name in names), strict=True)
    return [
        {"customer_id": _customer_id(index)}
        | {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for index, row in enumerate(rows)
    ]


def _known(column: Column, kind: type) -> list[Any]:
    return [None if value != value else kind(value) for value in column.tolist()]


def _times(days: NDArray[np.float64], end: datetime) -> list[str | None]:
    """RFC 3339 times so many days after the end, to the second."""
    return [
        None if value != value else (end + timedelta(seconds=round(value * 86_400))).isoformat().replace("+00:00", "Z")
        for value in days.tolist()
    ]


def _products(columns: Columns) -> list[list[str]]:
    held = np.stack([columns[name] == 1.0 for name in OTHER_PRODUCTS], axis=1).tolist()
    return [[name for name, holds in zip(OTHER_PRODUCTS, row, strict=True) if holds] for row in held]


def _customer_id(index: int) -> str:
    return f"C-{index + 1:05d}"


def _with_ids(contacts: Columns) -> dict[str, Column]:
    ids = np.array([_customer_id(index) for index in contacts["customer_index"].tolist()], dtype=object)
    return {"customer_id": ids} | {name: column for name, column in contacts.items() if name != "customer_index"}


def _selected(name: str) -> str:
    """A column of the history in SQL, in the type that the schema gives the attribute."""
    kind = "BIGINT" if name in WHOLE else "BOOLEAN" if name in FLAGS else None
    return f"CAST({name} AS {kind}) AS {name}" if kind else name


def _with_rest(shares: tuple[float, float]) -> list[float]:
    return [*shares, 1.0 - sum(shares)]


class _Progress:
    """A bar on standard error, redrawn in place on a terminal and silent elsewhere."""

    def __init__(self, step_count: int) -> None:
        self._step_count = step_count
        self._done = 0

    def advance(self) -> None:
        self._done += 1
        if sys.stderr.isatty():
            bar = "█" * round(30 * self._done / self._step_count)
            end = "\n" if self._done == self._step_count else ""
            sys.stderr.write(f"\rsimulating contacts {bar:<30} {self._done}/{self._step_count}{end}")
            sys.stderr.flush()


if __name__ == "__main__":
    main()
