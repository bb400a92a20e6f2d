"""A moment's text, beside the slow way to write it and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from rules import EvaluationError, Timestamp

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


PARTS = st.tuples(*(st.integers(0, bound) for bound in (9999, 13, 32, 25, 61, 61)))
FRACTIONS = st.none() | st.from_regex(r"[0-9]{1,9}", fullmatch=True).filter(str.isascii)
OFFSETS = st.none() | st.tuples(st.sampled_from("+-"), st.integers(0, 25), st.integers(0, 61))


def read_slowly(parts: tuple[int, ...], fraction: str | None, offset: tuple[str, int, int] | None) -> int | None:
    """Nanoseconds since the epoch, None when there is no such moment."""
    sign, hours, minutes = offset or ("+", 0, 0)
    if hours > 23 or minutes > 59:
        return None
    try:
        moment = datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # mypy cannot count parts
    except ValueError:
        return None
    away = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC) - away) // timedelta(seconds=1)
    nanos = seconds * 10**9 + int((fraction or "").ljust(9, "0"))
    return nanos if Timestamp.parse(FIRST).nanos <= nanos <= Timestamp.parse(LAST).nanos else None


@given(PARTS, FRACTIONS, OFFSETS)
@example((2026, 2, 29, 0, 0, 0), None, None)
@example((2026, 7, 14, 24, 0, 0), None, None)
@example((2026, 7, 14, 23, 59, 60), None, None)
@example((1, 1, 1, 0, 0, 0), None, ("+", 0, 1))
def test_a_text_is_read_as_the_calendar_says(
    parts: tuple[int, ...], fraction: str | None, offset: tuple[str, int, int] | None
) -> None:
    day, time = "{:04d}-{:02d}-{:02d}".format(*parts[:3]), "{:02d}:{:02d}:{:02d}".format(*parts[3:])
    zone = "{}{:02d}:{:02d}".format(*offset) if offset else "Z"
    text = f"{day}T{time}{'' if fraction is None else '.' + fraction}{zone}"

    try:
        read = Timestamp.parse(text).nanos
    except EvaluationError:
        read = None

    assert read == read_slowly(parts, fraction, offset)
