"""Channels, and what the absence of a consent means in each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as Names
from datetime import date, time

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.strategy import Channel, ConsentDefault, Quiet
from decisioning.catalog.yaml_text import Mapping, Scalar

MINUTE_MS = 60_000
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def channels_of(tree: Mapping, faults: Faults) -> dict[str, Channel]:
    """All channels by name."""
    return {name: _channel(name, node, faults) for name, node in tree.named()}


def _channel(name: str, node: Mapping, faults: Faults) -> Channel:
    return Channel(
        name=name,
        direction=node.value("direction", "inbound"),
        lease_ms=node.value("lease_minutes", 1) * MINUTE_MS,
        contact_cost=float(node.value("contact_cost", 0.0)),
        quiet=_quiet(node, faults),
        origins=_origins(node, faults),
    )


def _origins(node: Mapping, faults: Faults) -> frozenset[str]:
    if "origins" in node.keys and node.value("direction") == "outbound":
        way_out = "Remove it, or write direction: inbound"
        faults.add(node.keys["origins"], "origins means nothing in an outbound channel, which no page asks", way_out)
    return frozenset(origin.value for origin in node.scalars("origins"))


def _quiet(node: Mapping, faults: Faults) -> Quiet | None:
    """When nothing is sent; None where neither hours nor days are stated."""
    stated = [name for name in ("quiet_hours", "quiet_days") if name in node.keys]
    if stated and node.value("direction") == "inbound":
        message = f"{stated[0]} means nothing in an inbound channel, where customers come by themselves"
        faults.add(node.keys[stated[0]], message, "Remove it, or write direction: outbound")
    hours, days = node.scalars("quiet_hours"), node.scalars("quiet_days")
    if len(hours) > 2:
        faults.add(hours[2], "quiet hours are one pair of times", 'Write ["22:00", "07:00"]: from, until')
    weekdays = frozenset(WEEKDAYS.index(day.value) for day in days if day.value in WEEKDAYS)
    if len(weekdays) == len(WEEKDAYS):
        faults.add(node.keys["quiet_days"], "no day is left to send on", "Leave one out, or remove the channel")
    dates = frozenset(_dates([day for day in days if day.value not in WEEKDAYS], faults))
    pair = (time.fromisoformat(hours[0].value), time.fromisoformat(hours[1].value)) if len(hours) == 2 else None
    return Quiet(pair, weekdays, dates) if pair or days else None


def _dates(days: Iterable[Scalar], faults: Faults) -> Iterator[date]:
    for day in days:
        try:
            yield date.fromisoformat(day.value)
        except ValueError:
            faults.add(day, f"there is no day {day.value}", "Write a day of the calendar, like 2026-12-25")


def check_channel(node: Scalar | None, channels: Collection[str], faults: Faults) -> bool:
    """True when the name is a channel's; notes the fault when it is not."""
    if node is None or node.value in channels:
        return node is not None
    faults.add(node, f"unknown channel {node.value!r}", known(node.value, channels))
    return False


def consents_of(
    tree: Mapping, channels: Collection[str], purposes: Collection[str], faults: Faults
) -> Names[tuple[str, str], ConsentDefault]:
    """By channel and purpose; where the file is silent, absence means refused."""
    defaults = {}
    for channel, by_purpose in tree.named():
        check_channel(tree.keys[channel], channels, faults)
        for purpose, node in by_purpose.named():
            if purpose not in purposes:
                faults.add(by_purpose.keys[purpose], f"unknown purpose {purpose!r}", known(purpose, purposes))
            granted, basis = node.value("absent") == "granted", node.scalar("basis")
            if granted and basis and basis.value == "consent":
                way_out = "Name another lawful basis, or write absent: refused"
                faults.add(basis, "without a consent, consent cannot be the basis", way_out)
            defaults[channel, purpose] = ConsentDefault(granted, basis.value if basis else "consent")
    return defaults
