"""A moment's text, beside the slow way to write it and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from rules import Timestamp

FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"


@given(st.integers(Timestamp.parse(FIRST).nanos, Timestamp.parse(LAST).nanos))
@example(Timestamp.parse(FIRST).nanos)
@example(Timestamp.parse(LAST).nanos)
@example(-1)
def test_a_moment_is_written_in_full_and_read_back(nanos: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=nanos // 10**9)
    day = f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}"
    time = f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}.{nanos % 10**9:09d}".rstrip("0").rstrip(".")

    text = str(Timestamp(nanos))

    assert text == f"{day}T{time}Z"
    assert Timestamp.parse(text) == Timestamp(nanos)
