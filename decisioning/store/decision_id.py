"""Decision ids: the id alone says in which partition's log its record lies, and from which moment on."""

from __future__ import annotations

import re
from typing import NamedTuple

from decisioning.customer import PARTITION_COUNT

LOGGED_WITHIN_MS = 60_000  # commits come within a deadline of a second or so; clocks step, and processes freeze

_DECISION_ID = re.compile(r"([0-9]{3})-([0-9a-f]{1,11})-[0-9a-f]{16}")


class Whereabouts(NamedTuple):
    """Where the record of a decision is, if it is anywhere."""

    partition: int
    from_ms: int  # the store's clock at the decision's snapshot
    until_ms: int


def whereabouts_of(decision_id: str) -> Whereabouts | None:
    """None for a text that is no decision id: one from a token or a URL may be anything."""
    match = _DECISION_ID.fullmatch(decision_id)
    if match is None or int(match[1]) >= PARTITION_COUNT:
        return None
    from_ms = int(match[2], 16)
    return Whereabouts(int(match[1]), from_ms, from_ms + LOGGED_WITHIN_MS)
