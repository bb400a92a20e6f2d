"""Origins: which sites' pages may speak to the service from a browser.

Listed per channel in channels.yaml, compared as they stand. A browser states the origin itself and no page can change
what it states. In demo mode pages from this machine may speak to whatever channel lists any origin at all.
"""

from __future__ import annotations

from api.errors import Problem
from api.loopback import NAMES, host_name
from api.service import Service
from decisioning.catalog.strategy import Channel


def is_allowed(origin: str, channel: Channel, *, demo: bool) -> bool:
    """True when pages of this origin may ask in this channel."""
    return origin in channel.origins or (demo and bool(channel.origins) and _is_local_page(origin))


def is_known(origin: str, service: Service) -> bool:
    """True when pages of this origin may ask in some channel."""
    channels = service.deployed().strategy.channels.values()
    return any(is_allowed(origin, channel, demo=service.settings.demo) for channel in channels)


def check_origin(origin: str, service: Service, where: str) -> None:
    """Raise Problem for an origin whose pages may ask in no channel."""
    if not is_known(origin, service):
        stated = f"The origin {origin[:200]!r} is not allowed." if origin else "A browser states its Origin."
        raise Problem("forbidden", f"{stated} `origins` in channels.yaml lists those that are.", where)


def _is_local_page(origin: str) -> bool:
    return origin.startswith("http://") and host_name(origin) in NAMES
