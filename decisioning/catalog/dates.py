"""Dates between which an action is live."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from decisioning.catalog.faults import Faults
from decisioning.catalog.yaml_text import Mapping, Scalar

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
