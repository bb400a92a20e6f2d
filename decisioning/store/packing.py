"""Packing: a customer's state and profile as JSON bytes, and the state of a customer nobody has written yet.

Both stores keep these bytes. Fields that are missing in them take their defaults and unknown ones are passed over, so
that two versions of the service can run beside each other during an upgrade.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from decisioning.customer import Profile, State
from decisioning.errors import StoreDamaged
from decisioning.sealing import new_key

_encoder = msgspec.json.Encoder()
_canonical_encoder = msgspec.json.Encoder(order="deterministic")
_state_decoder = msgspec.json.Decoder(State)
_profile_decoder = msgspec.json.Decoder(Profile)


def pack(value: State | Profile) -> bytes:
    return _encoder.encode(value)


def unpack_state(packed: bytes) -> State:
    """Raises StoreDamaged for bytes that are no state."""
    try:
        return _state_decoder.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreDamaged(f"a customer's state cannot be read: {error}") from error


def unpack_profile(packed: bytes) -> Profile:
    """Raises StoreDamaged for bytes that are no profile."""
    try:
        return _profile_decoder.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreDamaged(f"a customer's profile cannot be read: {error}") from error


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: equal values give equal bytes, so records can be compared."""
    return _canonical_encoder.encode(value)


def parsed(packed: bytes) -> Any:
    """Raises StoreDamaged for bytes that are no JSON."""
    try:
        return msgspec.json.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreDamaged(f"a record cannot be read: {error}") from error


def state_of(fields: Mapping[str, Any]) -> State:
    """A state from the JSON fields of a record."""
    return msgspec.convert(fields, State)


def fresh_state() -> State:
    """The state of an unknown customer. Its keys are random: once they are erased, nothing in history leads back."""
    return State(
        person_key=secrets.token_hex(8),
        assignment_key=secrets.token_hex(8),
        sealing_key=new_key(),
    )
