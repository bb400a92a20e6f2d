"""The afternoon service: what a team writes in an afternoon, from good libraries, without a thought of speed.

redis-py reads the customer's hash, a Python loop asks the rules of every offer, scikit-learn scores the eligible ones
in one call, the best by propensity times value is the answer. No contact policy, no consent, no lease, no record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import redis
import yaml
from fastapi import FastAPI
from redis.asyncio import Redis
from sklearn.ensemble import HistGradientBoostingClassifier

from loadtest.peers.request import Request
from loadtest.peers.serving import customers, options, serve, store_url

FEATURES = (
    "age", "income_monthly", "balance_avg_3m", "tenure_days", "app_active_days_30d", "in_arrears", "has_credit_card",
    "credit_card_utilisation", "salary_account", "home_owner", "has_mortgage", "has_savings", "has_investments",
    "travel_spend_3m", "online_spend_3m", "cash_withdrawals_3m", "children_count", "loyalty_points", "complaints_open",
    "has_insurance_travel", "has_insurance_home",
)  # fmt: skip
OF_HISTORY = re.compile(r"history\.|now - ")  # what only a service with a memory can ask

Rule = Callable[[Mapping[str, Any]], bool]


class Offer:
    """One offer with its rules as Python."""

    def __init__(self, key: str, number: int, body: Mapping[str, Any]) -> None:
        self.key, self.number, self.value = key, number, body["action_value"]
        self.content = {channel: each["content"] for channel, each in body["treatments"].items()}
        texts = [*body.get("eligibility", []), *body.get("applicability", []), *body.get("suitability", [])]
        self.rules = [python_of(text) for text in texts if not OF_HISTORY.search(text)]

    def is_for(self, customer: Mapping[str, Any]) -> bool:
        """Whether all rules hold; what is not known is no."""
        try:
            return all(rule(customer) for rule in self.rules)
        except KeyError:
            return False


def python_of(text: str) -> Rule:
    """A rule of the bank as a compiled lambda. The rules are our own, so that eval is harmless here."""
    text = re.sub(r"has\(customer\.(\w+)\)", r"('\1' in c)", text)
    text = re.sub(r"customer\.(\w+)", r"c['\1']", text)
    text = re.sub(r"!(?!=)", " not ", text).replace("&&", " and ").replace("||", " or ")
    rule: Rule = eval(f"lambda c: {text.strip()}")
    return rule


def offers_of(bank: Path) -> list[Offer]:
    """All offers of the strategy."""
    found: list[Offer] = []
    for path in sorted((bank / "actions").glob("*.yaml")):
        file = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        prefix = f"{file['issue']}/{file['group']}"
        for name, body in file["actions"].items():
            if body["kind"] == "offer":
                found.append(Offer(f"{prefix}/{name}", len(found), body))
    return found


def trained(bank: Path, numbers: Mapping[str, int]) -> HistGradientBoostingClassifier:
    """A model of the bank's past contacts."""
    rows = [json.loads(line) for line in (bank / "generated/history.jsonl").open()]
    table = np.array([[*known(row), numbers[row["action"]]] for row in rows], dtype=np.float64)
    labels = [row["outcome"] == "accepted" for row in rows]
    return HistGradientBoostingClassifier(max_iter=100, random_state=1).fit(table, labels)


def known(customer: Mapping[str, Any]) -> list[float]:
    """Features in order; missing is NaN."""
    return [customer.get(name, np.nan) for name in FEATURES]


def fill() -> None:
    """A hash for every customer, each attribute a field of JSON."""
    with redis.Redis.from_url(store_url()) as client:
        pipeline = client.pipeline(transaction=False)
        for customer in customers():
            fields = {name: json.dumps(value) for name, value in customer.items()}
            pipeline.hset(f"hash:{customer['customer_id']}", mapping=fields)
        pipeline.execute()


app = FastAPI()
store = Redis.from_url(store_url(), decode_responses=True)
offers = offers_of(options().bank)
model = trained(options().bank, {offer.key: offer.number for offer in offers})


@app.post("/ask")
async def ask(request: Request) -> dict[str, Any]:
    """The best offer for the customer in the channel."""
    stored = await store.hgetall(f"hash:{request.customer.id}")
    customer = {str(name): json.loads(value) for name, value in stored.items()}
    eligible = [offer for offer in offers if request.channel in offer.content and offer.is_for(customer)]
    if not eligible:
        return {"outcome": "nothing"}
    features = known(customer)
    chances = model.predict_proba(np.array([[*features, offer.number] for offer in eligible]))[:, 1]
    chance, best = max(zip(chances.tolist(), eligible, strict=True), key=lambda pair: pair[0] * pair[1].value)
    return {"outcome": "offer", "action": best.key, "propensity": chance, "content": best.content[request.channel]}


if __name__ == "__main__":
    fill()
    serve(app)
