"""Profiles: a value of every customer in the peers' store, for the floors that read one."""

from __future__ import annotations

import json

import redis

from loadtest.peers.serving import customers, store_url


def fill() -> None:
    """All attributes of a customer as one JSON value, about as large as a packed profile with its state."""
    with redis.Redis.from_url(store_url()) as client:
        pipeline = client.pipeline(transaction=False)
        for customer in customers():
            pipeline.set(f"customer:{customer['customer_id']}", json.dumps(customer))
        pipeline.execute()
