"""Instants: milliseconds become RFC 3339 and are read back as the same."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from api.instants import ms_of, text_of

YEAR_9999_MS = 253_402_300_799_999


@given(st.integers(0, YEAR_9999_MS))
def test_an_instant_is_written_to_the_millisecond(at_ms: int) -> None:
    slow = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)

    assert text_of(at_ms) == slow.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert abs(ms_of(text_of(at_ms), now_ms=YEAR_9999_MS, where="at") - at_ms) <= 1  # floats of seconds round down
