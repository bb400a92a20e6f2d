"""Instants: times on the wire are RFC 3339 in UTC, inside they are milliseconds."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

from api.errors import Problem

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
FUTURE_MS_MAX = 300_000  # clocks differ; five minutes is more than they should


def wall_ms() -> int:
    """This machine's time, for what the store's clock cannot decide."""
    return time.time_ns() // 1_000_000


def text_of(at_ms: int) -> str:
    """`2026-11-21T09:30:00.123Z`"""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=4096)  # what is answered within a second is good until the same second
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None).isoformat()


def ms_of(text: str, *, now_ms: int, where: str) -> int:
    """Milliseconds of a stated time, now_ms at most: a fast clock must not shadow what is said next. Raises Problem for
    one that is no RFC 3339, or lies ahead.
    """
    try:
        if not RFC_3339.fullmatch(text):
            raise ValueError(text)
        stated = datetime.fromisoformat(text.upper())
        at_ms = int(stated.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Problem("invalid_field", "This is no RFC 3339 time. Write it like 2026-11-21T09:30:00Z.", where) from None
    if not 0 <= at_ms <= now_ms + FUTURE_MS_MAX:
        raise Problem("invalid_field", "This time lies in the future, or before 1970. Leave it out to mean now.", where)
    return min(at_ms, now_ms)
