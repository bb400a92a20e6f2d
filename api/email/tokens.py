"""Render tokens: what the picture and the link of one mail share. Sealed, so nobody reads or makes one.

The picture's address is /e/TOKEN.png, the link's /c/TOKEN. A token names the customer, the placement and the message
it was made for, and says nothing of what will be shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from api.errors import Problem
from api.tokens import DAY_MS, LIFE_DAYS_MAX, Sealer
from decisioning.catalog.strategy import Strategy
from decisioning.errors import UnknownPlacement
from decisioning.identifiers import checked_customer_id

VALID_DAYS_DEFAULT = 90
VALID_DAYS_MAX = LIFE_DAYS_MAX
ID_BYTES = 8
MESSAGE_MAX = 100  # characters of a message's name


@dataclass(frozen=True, slots=True)
class RenderToken:
    """What a token says."""

    token_id: str  # 16 hexadecimal digits: names it in the customer's state
    customer_key: str
    placement: str
    message: str  # the sender's own name of the mail; may be empty
    expires_ms: int
    made_ms: int


def sealed(sealer: Sealer, customer_key: str, placement: str, *, message: str, expires_ms: int, made_ms: int) -> str:
    """A new token, which reads differently each time. Raises InvalidIdentifier for a customer id that cannot be one.

    Those of one message to one recipient in one placement are one token to the customer's state: a platform that
    orders it for each part of a mail, and once more to see whether it works, gets one choice and not four.
    """
    named = checked_customer_id(customer_key), placement, message
    name = blake2b("\x1f".join(named).encode(), digest_size=ID_BYTES).hexdigest()
    token_id = name if message else secrets.token_hex(ID_BYTES)
    return sealer.seal("render", [token_id, *named, expires_ms, made_ms])


def opened(sealer: Sealer, token: str) -> RenderToken:
    """What a token says, expired or not. Raises Problem for one that was forged, cut, or sealed for something else."""
    parts = sealer.open("render", token, "token")
    if not _is_render(parts):
        raise Problem("invalid_token", "This is no token of a mail.", "token")
    return RenderToken(*parts)  # type: ignore[arg-type]  # _is_render has looked


def _is_render(parts: Sequence[str | int | None]) -> bool:
    texts, times = parts[:4], parts[4:]
    return len(parts) == 6 and all(isinstance(each, str) for each in texts) and all(type(each) is int for each in times)


def addresses(base: str, token: str) -> dict[str, str]:
    """Every address of a token by what it gives: picture, its double size, link, and content for who renders it."""
    return {
        "image": f"{base}/e/{token}.png",
        "image_2x": f"{base}/e/{token}.2x.png",
        "link": f"{base}/c/{token}",
        "html": f"{base}/e/{token}.html",
        "json": f"{base}/e/{token}.json",
        "amp": f"{base}/e/{token}.amp",
    }


def check_placement(strategy: Strategy, placement: str) -> None:
    """Raises UnknownPlacement for what no mail can show: an unknown one, or one of a channel that nobody sends in."""
    known = sorted(
        each.name for each in strategy.placements.values() if strategy.channels[each.channel].direction == "outbound"
    )
    if placement not in known:
        raise UnknownPlacement(f"no mail has a placement {placement!r}. Known: {', '.join(known) or 'none'}.")


def expiry_of(valid_days: int, *, now_ms: int) -> int:
    """When a token made now expires."""
    return now_ms + valid_days * DAY_MS
