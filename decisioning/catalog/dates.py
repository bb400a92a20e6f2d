"""Dates between which an action is live."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from decisioning.catalog.faults import Faults
from decisioning.catalog.yaml_text import Mapping, Scalar

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which actions are live when, so that a request takes one look, however many have dates."""

    changes_ms: tuple[int, ...]  # when an action starts or ends, ascending
    masks: tuple[int, ...]  # the actions that are live before the first change, and from each change on

    def live(self, now_ms: int) -> int:
        """The actions whose dates include now, as a bit mask."""
        return self.masks[bisect_right(self.changes_ms, now_ms)]


def calendar_of(windows: Iterable[tuple[int | None, int | None]]) -> Calendar:
    """The calendar of actions from their windows, in order of their indexes."""
    first, turns = 0, dict[int, int]()  # a moment -> the actions that start or end then
    for index, (start_ms, end_ms) in enumerate(windows):
        first |= (start_ms is None) << index
        for at_ms in (start_ms, end_ms):
            if at_ms is not None:
                turns[at_ms] = turns.get(at_ms, 0) ^ 1 << index
    masks = [first]
    for at_ms in sorted(turns):
        masks.append(masks[-1] ^ turns[at_ms])
    return Calendar(tuple(sorted(turns)), tuple(masks))


def window_of(node: Mapping, zone: tzinfo, faults: Faults) -> tuple[int | None, int | None]:
    """When an action starts (inclusive) and ends (exclusive), in ms; None is open.

    A bare date is its midnight in the strategy's zone.
    """
    start_ms = moment_ms(node.scalar("start"), zone, faults)
    end = node.scalar("end")
    end_ms = moment_ms(end, zone, faults)
    if end is not None and start_ms is not None and end_ms is not None and end_ms <= start_ms:
        start = node.value("start")
        faults.add(
            end,
            f"the end {end.value} is not after the start {start}",
            "Exchange them, or write the day after the last one",
        )
    return start_ms, end_ms


def moment_ms(node: Scalar | None, zone: tzinfo, faults: Faults) -> int | None:
    """A date or time in ms, None where there is none; a bare date is its midnight in this zone."""
    if node is None:
        return None
    text = node.value
    try:
        if _DATE.fullmatch(text):
            moment = datetime.fromisoformat(text).replace(tzinfo=zone)
        elif _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text)
        else:
            raise ValueError
    except ValueError:
        way_out = "Write 2026-03-01, or 2026-03-01T09:30:00Z with a zone"
        faults.add(node, f"{text!r} is not a date", way_out)
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)
