"""Loopback: whether a program or a browser on this machine asks, and under a name of this machine.

What the demo opens without a password is open to those alone. The name counts because a page elsewhere can make its
own name lead to this machine, and would then read ours; a header that a proxy adds tells that somebody else asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

ADDRESSES = frozenset({"127.0.0.1", "::1"})
NAMES = frozenset({"localhost", *ADDRESSES})
PASSED_ON = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


def is_local(connection: Mapping[str, Any]) -> bool:
    """True when the ASGI connection comes from this machine, by one of its own names and through no proxy."""
    client, headers = connection.get("client"), connection["headers"]
    if client is None or client[0] not in ADDRESSES or any(name in PASSED_ON for name, _ in headers):
        return False
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    return len(hosts) == 1 and host_name(f"//{hosts[0]}") in NAMES


def host_name(address: str) -> str | None:
    """The host of an address, without port and brackets; None where there is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:  # a broken address in brackets
        return None
