"""Feast's Python feature server with one worker: the customer's attributes from its online store in Redis, no more.

The server is Feast's own application; only the socket it listens on and the faster event loop are ours.
"""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.feature_server import get_app
from feast.types import Bool, Float64, String

from loadtest.peers.serving import customers, options, serve

BATCH = 1_000


def typed(value: Any) -> Any:
    """Values as Feast's types want them: numbers are floats, lists are text."""
    if isinstance(value, bool) or value is None:
        return value
    return float(value) if isinstance(value, int | float) else value if isinstance(value, str) else json.dumps(value)


def kinds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Feast type of each attribute, as its first value says."""
    found: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, Bool if isinstance(value, bool) else Float64 if isinstance(value, float) else String)
    del found["customer_id"]
    return found


def opened(folder: Path, rows: list[dict[str, Any]]) -> FeatureStore:
    """A feature store with one view of all attributes, filled."""
    store = FeatureStore(
        config=RepoConfig(
            project="bank",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "redis", "connection_string": connection_string()},
            offline_store={"type": "file"},
            entity_key_serialization_version=3,
        )
    )
    types = kinds(rows)
    frame = pd.DataFrame(
        [{"customer_id": row["customer_id"], **{name: row.get(name) for name in types}} for row in rows]
    )
    frame["event_timestamp"] = pd.Timestamp.now(tz="UTC")
    source = FileSource(path=str(folder / "customers.parquet"), timestamp_field="event_timestamp")
    frame.to_parquet(folder / "customers.parquet")
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="profile_view",
        entities=[customer],
        ttl=timedelta(days=365),
        schema=[Field(name=name, dtype=kind) for name, kind in types.items()],
        source=source,
    )
    store.apply([customer, view, FeatureService(name="profile", features=[view])])
    for start in range(0, len(frame), BATCH):
        store.write_to_online_store("profile_view", frame.iloc[start : start + BATCH])
    return store


def connection_string() -> str:
    """The peers' store as Feast writes it."""
    url = urlsplit(str(options().store))
    return f"localhost:0,unix_socket_path={url.path}"  # the path wins over the host


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="loadtest-feast-") as name:
        known = [{key: typed(value) for key, value in row.items()} for row in customers()]
        serve(get_app(opened(Path(name), known)))
