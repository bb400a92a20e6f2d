"""Pace: how often a token or an address may ask, and how many links an address followed just now.

In memory, for one serving process. Whoever is too fast is shown prepared content, as in any trouble: a mail has no use
for a 429.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from api.throttle import Throttle, network_of

TOKEN_PER_SECOND = 5.0  # a mail is opened on a few devices, and its picture fetched twice by some of them
ADDRESS_PER_SECOND = 500.0  # mail services fetch for millions from few addresses
ADDRESSES_MAX = 20_000  # remembered, the last ones
FOLLOWED_MS = 5_000
FOLLOWED_MAX = 16  # links of one address remembered


@dataclass(slots=True)
class Followed:
    """The links each address followed within the last seconds."""

    by_address: OrderedDict[str, deque[tuple[int, str]]] = field(default_factory=OrderedDict)

    def note(self, address: str, token_id: str, *, now_ms: int) -> None:
        """An address follows a mail's link."""
        recent = self.by_address.setdefault(address, deque(maxlen=FOLLOWED_MAX))
        self.by_address.move_to_end(address)
        if len(self.by_address) > ADDRESSES_MAX:
            self.by_address.popitem(last=False)
        recent.append((now_ms, token_id))

    def count(self, address: str, *, now_ms: int) -> int:
        """Of how many different mails this address followed links just now."""
        recent = self.by_address.get(address, ())
        return len({token for at_ms, token in recent if at_ms > now_ms - FOLLOWED_MS})


class Pace:
    """How often mails may ask."""

    def __init__(self) -> None:
        self._of_token = Throttle(per_second=TOKEN_PER_SECOND, burst=4 * TOKEN_PER_SECOND)
        self._of_address = Throttle(per_second=ADDRESS_PER_SECOND, burst=4 * ADDRESS_PER_SECOND)

    def allows_address(self, address: str) -> bool:
        """Count one request; False for one too many."""
        return self._of_address.allows(network_of(address))

    def allows_token(self, token_id: str) -> bool:
        """Count one use; False for one too many."""
        return self._of_token.allows(token_id)
