"""Moments and spans of time, exact to the nanosecond, over the years 1 to 9999.

Both hold one Python int of nanoseconds: a float loses nanoseconds after 104 days and `datetime` stops at microseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

from rules.errors import EvaluationError
from rules.limits import MAX_NUMBER_LENGTH

NANOS = 10**9  # in a second
_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BARE_EPOCH = datetime(1970, 1, 1)  # as text it names no zone, and takes half as long to write
_TIMESTAMP_MIN = (1 - _EPOCH_DAY) * _DAY_S * NANOS  # 0001-01-01T00:00:00Z
_TIMESTAMP_MAX = 253_402_300_800 * NANOS - 1  # 9999-12-31T23:59:59.999999999Z
_DURATION_MAX = 315_576_000_000 * NANOS  # 10,000 years of 365.25 days, as protobuf bounds it
_UNITS = {"h": 3600 * NANOS, "m": 60 * NANOS, "s": NANOS, "ms": 10**6, "us": 10**3, "µs": 10**3, "μs": 10**3, "ns": 1}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|μs|ns)")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_OFFSET = re.compile(r"([+-]?)([0-9]{1,2}):([0-9]{2})")
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}")


class _Nanos:
    """A number of nanoseconds that compares only with its own class."""

    __slots__ = ("nanos",)

    def __init__(self, nanos: int) -> None:
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.nanos == other.nanos

    def __lt__(self, other: Self) -> bool:
        return self.nanos < other.nanos if type(other) is type(self) else NotImplemented

    def __le__(self, other: Self) -> bool:
        return self.nanos <= other.nanos if type(other) is type(self) else NotImplemented

    def __gt__(self, other: Self) -> bool:
        return self.nanos > other.nanos if type(other) is type(self) else NotImplemented

    def __ge__(self, other: Self) -> bool:
        return self.nanos >= other.nanos if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self.nanos))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def to_ms(self) -> int:
        """Whole milliseconds, rounded down."""
        milliseconds: int = self.nanos // 10**6
        return milliseconds


class Timestamp(_Nanos):
    """A moment: nanoseconds since 1970-01-01T00:00:00Z."""

    __slots__ = ()

    def __init__(self, nanos: int) -> None:
        if not _TIMESTAMP_MIN <= nanos <= _TIMESTAMP_MAX:
            raise EvaluationError("timestamp outside the years 1 to 9999")
        self.nanos = nanos

    @classmethod
    def from_ms(cls, milliseconds: int) -> Timestamp:
        """The moment so many milliseconds after the epoch."""
        return cls(milliseconds * 10**6)

    @classmethod
    def parse(cls, text: str) -> Timestamp:
        """Read RFC 3339 text such as `2025-11-24T08:00:00Z` or `...T09:00:00.5+01:00`. Raises EvaluationError."""
        found = _TIMESTAMP.fullmatch(text)
        if found is None:
            raise EvaluationError(f"{text[:40]!r} is not a timestamp such as 2025-11-24T08:00:00Z")
        fraction, sign, offset_h, offset_m = found.groups("")
        # All of them are two digits, which stand in the order of their numbers.
        if text[11:13] > "23" or text[14:16] > "59" or text[17:19] > "59" or offset_h > "23" or offset_m > "59":
            raise EvaluationError(f"{text[:40]!r} has no such time of day")
        try:
            since = datetime.fromisoformat(text[:19]) - _BARE_EPOCH
        except ValueError:
            raise EvaluationError(f"{text[:40]!r} has no such date") from None
        seconds = since.days * _DAY_S + since.seconds
        if sign:
            seconds += (int(offset_h) * 3600 + int(offset_m) * 60) * (1 if sign == "-" else -1)
        return cls(seconds * NANOS + (int(fraction.ljust(9, "0")) if fraction else 0))

    def __str__(self) -> str:
        seconds, nanos = divmod(self.nanos, NANOS)
        return f"{(_BARE_EPOCH + timedelta(0, seconds)).isoformat()}{_fraction(nanos)}Z"

    def in_zone(self, zone: str = "") -> datetime:
        """The calendar there, to the second: `zone` is an IANA name or an offset such as `+02:00`; empty means UTC."""
        moment = _EPOCH + timedelta(seconds=self.nanos // NANOS)
        try:
            return moment.astimezone(_zone(zone))
        except OverflowError:
            raise EvaluationError("timestamp outside the years 1 to 9999 in that time zone") from None


class Duration(_Nanos):
    """A span of time, possibly negative."""

    __slots__ = ()

    def __init__(self, nanos: int) -> None:
        if not -_DURATION_MAX <= nanos <= _DURATION_MAX:
            raise EvaluationError("duration beyond 10,000 years")
        self.nanos = nanos

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read text such as `2160h`, `1h30m` or `-1.5s`; units are h, m, s, ms, us and ns. Raises EvaluationError."""
        unsigned = text[1:] if text[:1] in ("+", "-") else text
        if unsigned == "0":
            return cls(0)
        if not unsigned or len(unsigned) > MAX_NUMBER_LENGTH or _PART.sub("", unsigned):
            raise EvaluationError(f"{text[:40]!r} is not a duration such as 2160h or 1h30m")
        nanos = sum(_part_nanos(number, unit) for number, unit in _PART.findall(unsigned))
        return cls(-nanos if text[0] == "-" else nanos)

    def __str__(self) -> str:
        seconds, nanos = divmod(abs(self.nanos), NANOS)
        return f"{'-' if self.nanos < 0 else ''}{seconds}{_fraction(nanos)}s"

    def whole(self, unit_nanos: int) -> int:
        """How often a unit fits, cut towards zero."""
        count = abs(self.nanos) // unit_nanos
        return -count if self.nanos < 0 else count


def _fraction(nanos: int) -> str:
    return f".{nanos:09d}".rstrip("0") if nanos else ""


def _part_nanos(number: str, unit: str) -> int:
    whole, _, fraction = number.partition(".")
    scale: int = 10 ** len(fraction)
    return int(whole + fraction) * _UNITS[unit] // scale


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        if int(offset[2]) > 23 or int(offset[3]) > 59:
            raise EvaluationError(f"unknown time zone {name!r}")
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    if name in ("", "UTC", "Z"):
        return UTC
    if not _ZONE_NAME.fullmatch(name):
        raise EvaluationError(f"unknown time zone {name[:64]!r}")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a directory of zones, such as Europe
        raise EvaluationError(f"unknown time zone {name!r}") from None
