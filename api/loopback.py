"""Loopback: whether a program or a browser on this machine asks, and under a name of this machine.

What the demo opens without a password is open to those alone. The name counts because a page elsewhere can make its
own name lead to this machine, and would then read ours; a header that a proxy adds tells that somebody else asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

ADDRESSES = frozenset({"127.0.0.1", "::1"})
NAMES = frozenset({"localhost", *ADDRESSES})
PASSED_ON = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


def is_local(connection: Mapping[str, Any]) -> bool:
    """True when the ASGI connection comes from this machine, by one of its own names and through no proxy."""
    client = connection.get("client")
    if client is None or client[0] not in ADDRESSES:
        return False
    hosts = []
    for name, value in connection["headers"]:
        if name == b"host":
            hosts.append(value)
        elif name in PASSED_ON:
            return False
    return len(hosts) == 1 and _is_own(hosts[0])


@lru_cache(maxsize=64)
def _is_own(host: bytes) -> bool:
    return host_name(f"//{host.decode('latin-1')}") in NAMES


def host_name(address: str) -> str | None:
    """The host of an address, without port and brackets; None where there is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:  # a broken address in brackets
        return None
