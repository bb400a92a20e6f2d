"""Quiet hours: when nothing may be sent, by the clock on the customer's wall.

Pure. Asked only for what is being sent: a mail that is opened or a page that is read shows what it would at noon.
Clocks that are put forward or back within a quiet time move its end, never the hours that an author wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from decisioning.catalog.strategy import Quiet, Strategy

SECOND_MS = 1_000
MIDNIGHT = time(0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def quiet_until(quiet: Quiet, zone: tzinfo, *, now_ms: int) -> int | None:
    """When the quiet time that now belongs to is over, or None when now is no quiet time.

    Each step goes as far as the clock alone would say, or to where the clock itself changes, and looks again.
    """
    at_ms = now_ms
    while (wall := _wall(at_ms, zone)) and is_quiet(quiet, wall):
        at_ms = _change_of_clock(zone, at_ms, at_ms + _rest_of(quiet, wall))
    return at_ms if at_ms > now_ms else None


def is_quiet(quiet: Quiet, wall: datetime) -> bool:
    """True at this time of a wall clock: on a quiet day from midnight to midnight, else within the quiet hours."""
    if wall.weekday() in quiet.weekdays or wall.date() in quiet.dates:
        return True
    if quiet.hours is None:
        return False
    start, end = quiet.hours
    if start < end:
        return start <= wall.time() < end
    return wall.time() >= start or wall.time() < end


def zone_of(strategy: Strategy, attributes: Mapping[str, Any]) -> tzinfo:
    """The customer's time zone, as stated; the strategy's where none is stated, or one that nobody knows."""
    stated = attributes.get(strategy.timezone_attribute) if strategy.timezone_attribute else None
    known = zone_named(stated) if isinstance(stated, str) else None
    return known or zone_named(strategy.timezone) or UTC


@lru_cache(maxsize=1024)  # names come from profiles, and looking for one that does not exist searches the disk
def zone_named(name: str) -> ZoneInfo | None:
    """The time zone of this IANA name, None when there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # besides unknown: no name of a file, or one of a folder
        return None


def _wall(at_ms: int, zone: tzinfo) -> datetime:
    """What a clock in the zone shows then, without the zone: two times an hour in the night clocks are put back."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).replace(tzinfo=None)


def _rest_of(quiet: Quiet, wall: datetime) -> int:
    """Milliseconds from a quiet time on the clock to the next time that may be none: the end of the hours, midnight."""
    ends = [datetime.combine(wall.date() + timedelta(days=1), MIDNIGHT)]
    if quiet.hours is not None:
        ends.append(datetime.combine(wall.date(), quiet.hours[1]))
    return min((end - wall) // timedelta(milliseconds=1) for end in ends if end > wall)


def _change_of_clock(zone: tzinfo, from_ms: int, until_ms: int) -> int:
    """The moment within at most a day in which the zone's offset changes, to the second; the end where it does not."""
    before = _offset(zone, from_ms)
    if _offset(zone, until_ms) == before:
        return until_ms
    while until_ms - from_ms > SECOND_MS:
        middle_ms = (from_ms + until_ms) // 2
        if _offset(zone, middle_ms) == before:
            from_ms = middle_ms
        else:
            until_ms = middle_ms
    return until_ms // SECOND_MS * SECOND_MS


def _offset(zone: tzinfo, at_ms: int) -> timedelta | None:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).utcoffset()
