"""Consent: permission per channel and purpose, asked on every path at request time.

Pure. What the absence of a consent means is stated in `consents.yaml`; where that is silent too, absent means refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.customer import Consent


def is_granted(strategy: Strategy, consents: Iterable[Consent], *, channel: str, purpose: str) -> bool:
    """True when the customer may be addressed in this channel for this purpose."""
    for consent in consents:
        if consent.channel == channel and consent.purpose == purpose:
            return consent.granted
    default = strategy.consent_defaults.get((channel, purpose))
    return default is not None and default.granted


def permitted(strategy: Strategy, consents: Iterable[Consent], *, channel: str) -> Mask:
    """The actions whose purpose the customer permits in this channel."""
    mask = 0
    for purpose, actions in strategy.purpose_masks.items():
        if is_granted(strategy, consents, channel=channel, purpose=purpose):
            mask |= actions
    return mask


def change(
    consents: list[Consent], *, channel: str, purpose: str, granted: bool, at_ms: int, source: str
) -> list[Consent]:
    """The consents with one statement taken in: the newest wins, a withdrawal wins a tie, an older statement changes
    nothing.
    """
    previous = next((each for each in consents if each.channel == channel and each.purpose == purpose), None)
    if previous is not None and (at_ms < previous.at_ms or (at_ms == previous.at_ms and granted)):
        return consents
    version = 1 if previous is None else previous.version + 1
    kept = [each for each in consents if each is not previous]
    return [*kept, Consent(channel, purpose, granted, at_ms, version, source)]
