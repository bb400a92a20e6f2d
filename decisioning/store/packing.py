"""Packing: a customer's state and profile as JSON bytes, and the state of a customer nobody has written yet.

Both stores keep these bytes. Fields that are missing in them take their defaults and unknown ones are passed over, so
that two versions of the service can run beside each other during an upgrade.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from decisioning.customer import Profile, State

_encoder = msgspec.json.Encoder()
_canonical_encoder = msgspec.json.Encoder(order="deterministic")
_state_decoder = msgspec.json.Decoder(State)
_profile_decoder = msgspec.json.Decoder(Profile)


def pack(value: State | Profile) -> bytes:
    return _encoder.encode(value)


def unpack_state(packed: bytes) -> State:
    return _state_decoder.decode(packed)


def unpack_profile(packed: bytes) -> Profile:
    return _profile_decoder.decode(packed)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: equal values give equal bytes, so records can be compared."""
    return _canonical_encoder.encode(value)


def parsed(packed: bytes) -> Any:
    return msgspec.json.decode(packed)


def state_of(fields: Mapping[str, Any]) -> State:
    """A state from the JSON fields of a record."""
    return msgspec.convert(fields, State)


def fresh_state() -> State:
    """The state of an unknown customer. Its keys are random: once they are erased, nothing in history leads back."""
    return State(
        person_key=secrets.token_hex(8),
        assignment_key=secrets.token_hex(8),
        sealing_key=base64.b64encode(secrets.token_bytes(32)).decode(),
    )
