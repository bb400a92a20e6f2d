"""Keyspace: what each thing is called in Redis.

What belongs to a partition carries it as hash tag, `{p017}`, and so lies in one cluster slot; the rest is wherever its
name falls. docs/operations.md lists all keys with what they hold and for how long.
"""

from __future__ import annotations

from hashlib import blake2b

from decisioning.customer import PARTITION_COUNT, partition_of
from decisioning.store.protocol import Change

Keys = tuple[bytes, ...]

_STEMS = [b"nb:{p%03d}:" % partition for partition in range(PARTITION_COUNT)]  # how a partition's keys begin


def to_read(customer_key: str, *, quotas: bool) -> Keys:
    """The keys of READ: the customer, and what its partition has of budgets."""
    stem = _STEMS[partition_of(customer_key)]
    customer = stem + b"c:" + customer_key.encode()
    return (customer, stem + b"q") if quotas else (customer,)


def to_commit(change: Change) -> Keys:
    """The keys of COMMIT: the customer, what its partition shares, and the change's once-keys."""
    stem = _STEMS[partition_of(change.customer_key)]
    customer = stem + b"c:" + change.customer_key.encode()
    shared = stem + b"log", stem + b"people", stem + b"q", stem + b"ledger", stem + b"held"
    return (customer, *shared, *(once(change.customer_key, step.key) for step in change.once))


def customer(customer_key: str) -> bytes:
    """A customer's profile and state."""
    return _STEMS[partition_of(customer_key)] + b"c:" + customer_key.encode()


def once(customer_key: str, key: str) -> bytes:
    """A step of a customer that may happen only once."""
    # Hashed with the customer's key, because it outlives an erasure by its time to live and must not say whose it was.
    digest = blake2b(f"{customer_key}\0{key}".encode(), digest_size=16).hexdigest()
    return _STEMS[partition_of(customer_key)] + b"o:" + digest.encode()


def log(partition: int) -> bytes:
    """A partition's records."""
    return _STEMS[partition] + b"log"


def people(partition: int) -> bytes:
    """Whose customer key belongs to a person key."""
    return _STEMS[partition] + b"people"


def blocks(partition: int) -> bytes:
    """What a partition has at hand of each budget."""
    return _STEMS[partition] + b"q"


def ledger(partition: int) -> bytes:
    """What went in and out of those blocks."""
    return _STEMS[partition] + b"ledger"


def reservations(partition: int) -> bytes:
    """Units that leases hold, by the moment at which they are free again."""
    return _STEMS[partition] + b"held"


def note(partition: int, name: str) -> bytes:
    """A set of words, for a time."""
    return _STEMS[partition] + b"n:" + blake2b(name.encode(), digest_size=16).hexdigest().encode()


def counter(budget: str) -> bytes:
    """What all partitions took of a budget."""
    return f"nb:vol:{budget}".encode()


def series(name: str) -> bytes:
    """A numbered series, such as the states of a model."""
    return f"nb:series:{name}".encode()


def registry(kind: str) -> bytes:
    """Everything of one kind, by name."""
    return f"nb:reg:{kind}".encode()


def owner(resource: str) -> bytes:
    """Which process works on something that only one may work on."""
    return f"nb:own:{resource}".encode()
