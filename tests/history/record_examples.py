"""Log records as a service writes them, for tests of the worker and the reader."""

from __future__ import annotations

import json
from typing import Any

from decisioning.customer import partition_of
from decisioning.store.protocol import Change, Committed, Record, Store

AT_MS = 1_793_000_000_000  # 2026-10-26


def customer_key(number: int) -> str:
    return f"C-{number}"


def decision(number: int, *, at_ms: int = AT_MS, **changes: Any) -> dict[str, Any]:
    """A decision record with every field of the log."""
    partition = partition_of(customer_key(number))
    record: dict[str, Any] = {
        "kind": "decision",
        "decision_id": f"{partition:03d}-{at_ms:x}-{number:016x}",
        "at_ms": at_ms,
        "person_key": f"p{number}",
        "channel": "web",
        "placement_names": ["web.home.hero"],
        "context": {"page": "otthon – főoldal"},
        "profile_found": True,
        "holdout": False,
        "arms": {"always_on": "full"},
        "arm_probability": 0.95,
        "degraded": False,
        "draw_index": number,
        "versions": {"strategy": "s" * 64, "model": "m" * 64, "model_state": None},
        "api_key": "k1",
        "sending": False,
        "offers_allowed": True,
        "client_class": "person",
        "consents": {"marketing": {"granted": True, "version": 2, "basis": "consent", "source": "app"}},
        "snapshot": {"attributes": {"balance": 0.1 + 0.2}, "state": {"consents": [], "lease": []}, "state_version": 4},
        "sealed": "c2VhbGVk",
        "placements": [
            {
                "placement": "web.home.hero",
                "outcome": "offer",
                "action": "grow/cards/gold_upgrade",
                "treatment": "web",
                "rank": 1,
                "reasons": ["won_arbitration"],
                "propensity": 0.137,
                "uplift": 0.1,
                "priority": 11.645,
                "expected_value": 11.645,
                "selection_probability": 0.94,
                "lease_of": None,
            }
        ],
    }
    return record | changes


def response(number: int, *, at_ms: int = AT_MS, **changes: Any) -> dict[str, Any]:
    """A response record with every field of the log."""
    record: dict[str, Any] = {
        "kind": "response",
        "response_id": f"r{number}",
        "decision_id": decision(number, at_ms=at_ms)["decision_id"],
        "placement": "web.home.hero",
        "at_ms": at_ms,
        "received_ms": at_ms + 5,
        "person_key": f"p{number}",
        "action": "grow/cards/gold_upgrade",
        "channel": "web",
        "outcome": "clicked",
        "value": 12.5,
    }
    return record | changes


def logged(record: dict[str, Any]) -> Record:
    """The record as the store keeps it."""
    return Record(record[f"{record['kind']}_id"], json.dumps(record, sort_keys=True).encode())


async def append(store: Store, number: int, *records: Record) -> None:
    """Log records with a customer's next state."""
    [snapshot] = await store.read([customer_key(number)])
    change = Change(customer_key(number), snapshot.state_version, snapshot.state, records=list(records))
    [outcome] = await store.commit([change])
    assert isinstance(outcome, Committed)
