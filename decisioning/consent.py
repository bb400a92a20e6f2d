"""Consent: permission per channel and purpose, asked on every path at request time.

Pure. What the absence of a consent means is stated in `consents.yaml`; where that is silent too, absent means refused.
Of all that was ever stated the newest holds, in whatever order it arrives, and of two of one time the withdrawal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from decisioning.catalog.strategy import ConsentDefault, Mask, Strategy
from decisioning.customer import Consent, State
from decisioning.store.packing import canonical
from decisioning.store.protocol import Record

REFUSED = ConsentDefault(granted=False, basis="consent")  # where nobody said anything, the strategy included
BY_DEFAULT = "consents.yaml"  # the source of what nobody stated


@dataclass(frozen=True, slots=True)
class Statement:
    """What a source says about one permission."""

    channel: str
    purpose: str
    granted: bool
    source: str
    at_ms: int | None = None  # None: now
    basis: str = "consent"


def is_granted(strategy: Strategy, consents: Iterable[Consent], *, channel: str, purpose: str) -> bool:
    """True when the customer may be addressed in this channel for this purpose."""
    stated = stated_about(consents, channel, purpose)
    return (stated or _default(strategy, channel, purpose)).granted


def permitted(strategy: Strategy, consents: Iterable[Consent], *, channel: str) -> Mask:
    """The actions whose purpose the customer permits in this channel."""
    mask = 0
    for purpose, actions in strategy.purpose_masks.items():
        if is_granted(strategy, consents, channel=channel, purpose=purpose):
            mask |= actions
    return mask


def in_force(strategy: Strategy, consents: Iterable[Consent], *, channel: str) -> dict[str, dict[str, Any]]:
    """By purpose what holds in this channel, for the record: version 0 is the strategy's word where nobody said any."""
    found: dict[str, dict[str, Any]] = {}
    for purpose in strategy.purpose_masks:
        holds = stated_about(consents, channel, purpose)
        if holds is None:
            default = _default(strategy, channel, purpose)
            holds = Consent(channel, purpose, default.granted, 0, 0, BY_DEFAULT, default.basis)
        said = {"granted": holds.granted, "version": holds.version, "basis": holds.basis, "source": holds.source}
        found[purpose] = said
    return found


def stated_about(consents: Iterable[Consent], channel: str, purpose: str) -> Consent | None:
    """What the customer's state says of one permission."""
    for consent in consents:
        if consent.channel == channel and consent.purpose == purpose:
            return consent
    return None


def taken(consents: Sequence[Consent], statements: Iterable[Statement], *, now_ms: int) -> list[Consent]:
    """The consents with these statements taken in, one after the other.

    An older statement changes nothing, and neither does one that was taken before. One that says again what holds
    moves its time and is no new version. now_ms is the store's: a statement of later counts as one of now, or a fast
    clock would shadow what is said next.
    """
    kept = list(consents)
    for statement in statements:
        before = stated_about(kept, statement.channel, statement.purpose)
        after = _taken(before, statement, now_ms=now_ms)
        if before is None:
            kept.append(after)
        elif after is not before:
            kept[kept.index(before)] = after
    return kept


def _taken(before: Consent | None, statement: Statement, *, now_ms: int) -> Consent:
    at_ms = now_ms if statement.at_ms is None else min(statement.at_ms, now_ms)
    said = statement.channel, statement.purpose, statement.granted
    if before is None:
        return Consent(*said, at_ms, 1, statement.source, statement.basis)
    if statement.at_ms is None:
        at_ms = max(at_ms, before.at_ms)  # the store's clock goes back in a failover; what is said now is not older
    if at_ms < before.at_ms or (at_ms == before.at_ms and (statement.granted or not before.granted)):
        return before
    is_repeated = (before.granted, before.source, before.basis) == (said[2], statement.source, statement.basis)
    version = before.version if is_repeated else before.version + 1
    return Consent(*said, at_ms, version, statement.source, statement.basis)


def records_of(before: Iterable[Consent], after: Iterable[Consent], state: State, *, received_ms: int) -> list[Record]:
    """A log record for each version that `after` has and `before` has not; people appear by person_key alone."""
    known = {(each.channel, each.purpose): each.version for each in before}
    return [
        _record_of(each, state.person_key, received_ms=received_ms)
        for each in after
        if known.get((each.channel, each.purpose)) != each.version
    ]


def _record_of(consent: Consent, person_key: str, *, received_ms: int) -> Record:
    said: Mapping[str, Any] = {
        "kind": "consent",
        "person_key": person_key,
        "channel": consent.channel,
        "purpose": consent.purpose,
        "granted": consent.granted,
        "version": consent.version,
        "basis": consent.basis,
        "source": consent.source,
        "at_ms": consent.at_ms,
    }
    # The time it was received is no part of it: a commit whose reply was lost may be made again a moment later.
    consent_id = blake2b(canonical(said), digest_size=16).hexdigest()
    return Record(consent_id, canonical({**said, "consent_id": consent_id, "received_ms": received_ms}))


def _default(strategy: Strategy, channel: str, purpose: str) -> ConsentDefault:
    return strategy.consent_defaults.get((channel, purpose), REFUSED)
