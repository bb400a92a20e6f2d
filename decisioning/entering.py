"""Entering: what a leased offer's first render in a further channel is asked and charged.

Its draw has passed and paid all limits but those that count one channel by itself. They are asked here, silence this
render where they say no, and are charged in the commit that records it. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from decisioning.catalog.strategy import Mask
from decisioning.contact_policy import held_back, is_per_channel
from decisioning.customer import LeaseEntry, State
from decisioning.filling import Filling


def may_enter(filling: Filling, entry: LeaseEntry) -> bool:
    """True for an offer that stood in this channel before, or whose first render here every limit of it permits.

    What a budget withholds is noted as a drop: whoever fetches units learns of it there, also where nobody is drawn.
    """
    if filling.request.channel in entry.channels:
        return True
    action = 1 << filling.index_of(entry.action)
    if _is_limited(filling, action):
        return False
    withheld = filling.withheld(action, filling.occasion(is_join=True))
    for reason, mask in withheld.items():
        filling.gated.drop(reason, mask)
    return not withheld


def enter(state: State, action: str, channel: str) -> None:
    """Note in the lease that a channel shows an action from now on."""
    for position, entry in enumerate(state.lease):
        if entry.action == action:
            state.lease[position] = replace(entry, channels=[*entry.channels, channel])


def _is_limited(filling: Filling, action: Mask) -> bool:
    """True when a contact policy of this channel holds the action back; after two lost races, when one would count
    it.
    """
    request, state, now_ms = filling.request, filling.snapshot.state, filling.moment.now_ms
    held = held_back(action, filling.strategy, state, channel=request.channel, now_ms=now_ms, met=filling.met)
    for policy in filling.strategy.contact_policies:
        if is_per_channel(policy) and policy.channel in (None, request.channel):
            is_unpaid = "selected" in policy.outcomes and not request.offers_allowed
            if policy.mask & action if is_unpaid else policy.name in held:
                return True
    return False
