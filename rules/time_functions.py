"""Parts of timestamps and durations.

As CEL has it, months, days of the month and days of the year count from 0, and the week starts on Sunday, which is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from rules.overloads import Overload
from rules.timestamps import NANOS, Duration, Timestamp
from rules.types import DURATION, INT, STRING, TIMESTAMP


def _calendar(part: Callable[[datetime], int]) -> tuple[Overload, ...]:
    """A part of the calendar, in UTC or in a named time zone."""

    def of(moment: Timestamp, zone: str = "") -> int:
        return part(moment.in_zone(zone))

    return (Overload((TIMESTAMP,), INT, of), Overload((TIMESTAMP, STRING), INT, of))


def _total(unit_nanos: int) -> Overload:
    return Overload((DURATION,), INT, lambda span: span.whole(unit_nanos))


def _milliseconds(moment: Timestamp, zone: str = "") -> int:
    moment.in_zone(zone)  # no zone shifts a part of a second, but an unknown one is still an error
    return moment.nanos % NANOS // 10**6


def _milliseconds_of_span(span: Duration) -> int:
    """The milliseconds beside whole seconds, not the span in milliseconds; so CEL has it."""
    part = span.whole(10**6)
    return part % 1000 if part >= 0 else -(-part % 1000)


TIME_METHODS: Mapping[str, tuple[Overload, ...]] = {
    "getFullYear": _calendar(lambda moment: moment.year),
    "getMonth": _calendar(lambda moment: moment.month - 1),
    "getDate": _calendar(lambda moment: moment.day),
    "getDayOfMonth": _calendar(lambda moment: moment.day - 1),
    "getDayOfWeek": _calendar(lambda moment: moment.isoweekday() % 7),
    "getDayOfYear": _calendar(lambda moment: moment.timetuple().tm_yday - 1),
    "getHours": (*_calendar(lambda moment: moment.hour), _total(3600 * NANOS)),
    "getMinutes": (*_calendar(lambda moment: moment.minute), _total(60 * NANOS)),
    "getSeconds": (*_calendar(lambda moment: moment.second), _total(NANOS)),
    "getMilliseconds": (
        Overload((TIMESTAMP,), INT, _milliseconds),
        Overload((TIMESTAMP, STRING), INT, _milliseconds),
        Overload((DURATION,), INT, _milliseconds_of_span),
    ),
}
