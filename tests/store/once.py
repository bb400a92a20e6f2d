"""What the first holder of a once-key left, seen as everybody sees it: by coming second."""

from __future__ import annotations

from decisioning.store.protocol import Change, Once, Repeated, Store

NEVER = -1  # no customer has this version: the change is lost when the key is free


async def left(store: Store, customer_key: str, key: str) -> str | None:
    """The value behind a once-key, or None while it is free; writes nothing."""
    [outcome] = await store.commit([Change(customer_key, NEVER, None, once=[Once(key, "", ttl_s=1)])])
    return outcome.values[0] if isinstance(outcome, Repeated) else None
