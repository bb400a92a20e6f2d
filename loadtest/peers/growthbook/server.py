"""GrowthBook's Python SDK behind a small FastAPI: targeting rules and bucketing of every offer, and nothing else.

Customers lie in the process's memory, so no store is asked; there is no model, no value, no memory of contacts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from fastapi import FastAPI
from growthbook import GrowthBook

from loadtest.peers.request import Request
from loadtest.peers.serving import customers, options, serve

COMPARED = re.compile(r'customer\.(\w+) (<=|>=|!=) ("?)([^"|&]+)\3')
FLAG = re.compile(r"(!?)customer\.(\w+)")
OPERATORS = {"<=": "$lte", ">=": "$gte", "!=": "$ne"}
COVERAGE = 0.95  # of customers who take part: the rest are the holdout


def condition_of(text: str) -> dict[str, Any] | None:
    """A rule of the bank as a targeting condition; None for one that conditions cannot say."""
    if found := COMPARED.fullmatch(text):
        name, operator, quote, value = found.groups()
        return {name: {OPERATORS[operator]: value if quote else float(value)}}
    if found := FLAG.fullmatch(text):
        return {found[2]: not found[1]}
    return None


def features() -> dict[str, Any]:
    """A feature for every offer: forced on by a rule with its conditions, for the covered share of customers."""
    found = {}
    for path in sorted((options().bank / "actions").glob("*.yaml")):
        file = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        for name, body in file["actions"].items():
            texts = [*body.get("eligibility", []), *body.get("applicability", []), *body.get("suitability", [])]
            conditions = [each for text in texts if (each := condition_of(text))]
            rule = {"condition": {"$and": conditions}, "force": True, "coverage": COVERAGE, "hashAttribute": "id"}
            found[f"{file['issue']}/{file['group']}/{name}"] = {"defaultValue": False, "rules": [rule]}
    return found


app = FastAPI()
FEATURES = features()
KNOWN: Mapping[str, dict[str, Any]] = {each["customer_id"]: {"id": each["customer_id"], **each} for each in customers()}


@app.post("/ask")
async def ask(request: Request) -> dict[str, Any]:
    """Every offer that is on for the customer."""
    growthbook = GrowthBook(attributes=KNOWN[request.customer.id], features=FEATURES)
    return {"on": [key for key in FEATURES if growthbook.is_on(key)]}


if __name__ == "__main__":
    serve(app)
