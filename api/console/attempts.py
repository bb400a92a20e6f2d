"""Attempts: how often somebody may fail to sign in. Each serving process counts for itself.

An attempt counts until it has succeeded, so that many at once are not free. Whoever guesses a name from one address
waits soon; the wider bound on the name, from wherever, is so wide that nobody locks its owner out from a few addresses.
"""

from __future__ import annotations

from api.throttle import Throttle, network_of


class Attempts:
    """Of one process."""

    def __init__(self) -> None:
        self._of_name_here = Throttle(burst=5, per_second=1 / 60)
        self._of_name = Throttle(burst=100, per_second=1 / 6)
        self._of_address = Throttle(burst=30, per_second=1 / 2)  # an office may come from one

    def allows(self, user_id: str, address: str) -> bool:
        """Count one attempt; False for one too many."""
        return all(throttle.allows(caller) for throttle, caller in self._bounds(user_id, address))

    def forgive(self, user_id: str, address: str) -> None:
        """The attempt succeeded and counts for nothing."""
        for throttle, caller in self._bounds(user_id, address):
            throttle.give_back(caller)

    def _bounds(self, user_id: str, address: str) -> list[tuple[Throttle, str]]:
        network = network_of(address)
        here = f"{user_id} {network}"
        return [(self._of_address, network), (self._of_name_here, here), (self._of_name, user_id)]
