"""Channels, and what the absence of a consent means in each of them."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as Names

from decisioning.catalog.faults import Faults, known
from decisioning.catalog.strategy import Channel, ConsentDefault
from decisioning.catalog.yaml_text import Mapping, Scalar

MINUTE_MS = 60_000


def channels_of(tree: Mapping, faults: Faults) -> dict[str, Channel]:
    """All channels by name."""
    return {name: _channel(name, node, faults) for name, node in tree.named()}


def _channel(name: str, node: Mapping, faults: Faults) -> Channel:
    hours = node.scalars("quiet_hours")
    if len(hours) > 2:
        faults.add(hours[2], "quiet hours are one pair of times", 'Write ["22:00", "07:00"]: from, until')
    return Channel(
        name=name,
        direction=node.value("direction", "inbound"),
        lease_ms=node.value("lease_minutes", 1) * MINUTE_MS,
        contact_cost=float(node.value("contact_cost", 0.0)),
    )


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
