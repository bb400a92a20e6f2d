"""Views: who saw whom. A look at a customer's personal data leaves a record before the page leaves the house.

It names the user and the person key, so that it says nothing about the customer once they are erased. Within an hour a
user's further looks at the same customer are the same look.
"""

from __future__ import annotations

import secrets

from api.changes import changed
from api.console.users import User
from api.errors import Problem
from api.service import Service
from decisioning.customer import Snapshot
from decisioning.sealing import fingerprint
from decisioning.store.packing import canonical
from decisioning.store.protocol import Change, Once, Record

HOUR_S = 3600


async def record_view(service: Service, user: User, customer_key: str) -> None:
    """Note that the user sees this customer. Raises StoreUnavailable, Problem for nobody; then nothing may be shown."""

    def change_of(snapshot: Snapshot) -> Change:
        if not snapshot.state_version:
            raise Problem("not_found", "Nobody is stored under this id.", "customer")
        view_id = secrets.token_hex(16)
        state = snapshot.state
        hour = str(snapshot.now_ms // (HOUR_S * 1000))
        record = {
            "kind": "view",
            "view_id": view_id,
            "at_ms": snapshot.now_ms,
            "person_key": state.person_key,
            "user": user.user_id,
            "role": user.role,
        }
        once = Once(fingerprint(state.sealing_key, "view", user.user_id, hour), "", HOUR_S)
        records = [Record(view_id, canonical(record))]
        return Change(customer_key, snapshot.state_version, None, records=records, once=[once])

    await changed(service.store, customer_key, change_of)
