"""Packing: a customer's state and profile as few bytes, and the state of a customer nobody has written yet.

Both stores keep these bytes. A version comes first, then MessagePack in arrays: no field is named, a text that repeats
(action, channel, outcome) stands once in a table, a time is the step from the one before it, a random key is raw bytes.

    state    version, length of the person key, person key, MessagePack of _State
    profile  version, MessagePack of {source: _Facts}

The person key stands in the open because the script that erases a customer has to find it. Fields behind the known ones
are passed over, so that two versions of the service can run beside each other during an upgrade: a new field is added
at the end. Records stay JSON, which DuckDB reads and people too.
"""

from __future__ import annotations

import secrets
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, repeat
from operator import sub
from typing import Any

import msgspec

from decisioning.customer import (
    PARTITION_COUNT,
    Consent,
    DayCount,
    Hold,
    Interaction,
    LeaseEntry,
    Profile,
    Render,
    SourceFacts,
    State,
)
from decisioning.errors import StoreDamaged
from decisioning.sealing import new_key
from rules import Timestamp

VERSION = 1  # raised when readers of before could not read what is written

Column = bytes | Sequence[int]  # numbers or places in the table of texts; bytes while places are that small
Key = str | bytes  # raw bytes of a key in its usual form, any other text as it is

_PARTITIONS = {f"{number:03d}": bytes((number,)) for number in range(PARTITION_COUNT)}
_new = tuple.__new__  # a named tuple's own way in, `_make`, is Python and takes as long as all else about a row
_DAMAGE = (msgspec.DecodeError, ValueError, LookupError, TypeError)  # what reading other bytes leads to


class _Facts(msgspec.Struct, array_like=True):
    """SourceFacts, packed."""

    at_ms: int
    attributes: dict[str, Any]
    times_ms: dict[str, int]


class _State(msgspec.Struct, array_like=True):
    """State, packed. Lists that can be long are kept by column."""

    assignment_key: Any  # a Key; the decoder knows no such union
    sealing_key: Any
    draw_index: int
    consents: list[list[Any]]
    lease: list[list[Any]]
    holds: list[list[Any]]
    interactions: list[Column]
    day_counts: list[Column]
    complete_since_ms: int
    answers_since_ms: int
    texts: list[str]
    renders: list[list[Any]] = []  # behind the texts, because states of before end there


def _text_of(value: Any) -> str:
    if isinstance(value, Timestamp):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_encoder = msgspec.msgpack.Encoder()
_state_decoder = msgspec.msgpack.Decoder(_State)
_profile_decoder = msgspec.msgpack.Decoder(dict[str, _Facts])
_json_encoder = msgspec.json.Encoder(enc_hook=_text_of)
_canonical_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=_text_of)


def pack(value: State | Profile) -> bytes:
    return _pack_state(value) if isinstance(value, State) else _pack_profile(value)


def unpack_state(packed: bytes) -> State:
    """Raises StoreDamaged for bytes that are no state."""
    try:
        _check_version(packed)
        key_end = 2 + packed[1]
        return _state(packed[2:key_end].decode(), _state_decoder.decode(memoryview(packed)[key_end:]))
    except _DAMAGE as error:
        raise StoreDamaged(f"a customer's state cannot be read: {error}") from error


def unpack_profile(packed: bytes) -> Profile:
    """Raises StoreDamaged for bytes that are no profile."""
    try:
        _check_version(packed)
        sources = _profile_decoder.decode(memoryview(packed)[1:])
        return Profile({name: SourceFacts(one.at_ms, one.attributes, one.times_ms) for name, one in sources.items()})
    except _DAMAGE as error:
        raise StoreDamaged(f"a customer's profile cannot be read: {error}") from error


def json_of(value: Any) -> bytes:
    """JSON with keys as they come, for what nobody compares as bytes: sorting a record's takes as long as all else. A
    Timestamp is its text.
    """
    return _json_encoder.encode(value)


def canonical(value: Any) -> bytes:
    """The same with sorted keys: equal values give equal bytes, so they can be compared."""
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


def _check_version(packed: bytes) -> None:
    if packed[0] != VERSION:
        raise ValueError(f"it is packed in version {packed[0]}, this service reads version {VERSION}")


def _pack_profile(profile: Profile) -> bytes:
    sources = {name: _Facts(each.at_ms, each.attributes, each.times_ms) for name, each in profile.sources.items()}
    return bytes((VERSION,)) + _encoder.encode(sources)


class _Texts(dict[str, int]):
    """Text -> its place in the table; a new one takes the next."""

    def __missing__(self, text: str) -> int:
        place = self[text] = len(self)
        return place

    def column(self, texts: Iterable[str]) -> Column:
        places = list(map(self.__getitem__, texts))
        return bytes(places) if len(self) <= 256 else places


def _pack_state(state: State) -> bytes:
    texts = _Texts()
    packed = _State(
        assignment_key=_from_hex(state.assignment_key),
        sealing_key=_from_base64(state.sealing_key),
        draw_index=state.draw_index,
        consents=[_consent_row(each, texts) for each in state.consents],
        lease=[_lease_row(each, texts) for each in state.lease],
        holds=[_hold_row(name, each, texts) for name, each in state.holds.items()],
        interactions=_interaction_columns(state.interactions, texts),
        day_counts=_day_count_columns(state.day_counts, texts),
        complete_since_ms=state.complete_since_ms,
        answers_since_ms=state.answers_since_ms,
        texts=[],
        renders=[_render_row(each, texts) for each in state.renders],
    )
    packed.texts = list(texts)
    person_key = state.person_key.encode()
    return bytes((VERSION, len(person_key))) + person_key + _encoder.encode(packed)


def _state(person_key: str, packed: _State) -> State:
    return State(
        person_key=person_key,
        assignment_key=_hex(packed.assignment_key),
        sealing_key=_base64(packed.sealing_key),
        draw_index=packed.draw_index,
        consents=[_consent(row, packed.texts) for row in packed.consents],
        lease=[_lease_entry(row, packed.texts) for row in packed.lease],
        holds=dict(_hold(row, packed.texts) for row in packed.holds),
        interactions=_interactions(packed.interactions, packed.texts),
        day_counts=_day_counts(packed.day_counts, packed.texts),
        complete_since_ms=packed.complete_since_ms,
        answers_since_ms=packed.answers_since_ms,
        renders=[_render(row, packed.texts) for row in packed.renders],
    )


def _consent_row(consent: Consent, texts: _Texts) -> list[Any]:
    kind = texts[consent.channel], texts[consent.purpose], consent.granted
    return [*kind, consent.at_ms, consent.version, texts[consent.source], texts[consent.basis]]


def _consent(row: Sequence[Any], texts: Sequence[str]) -> Consent:
    channel, purpose, granted, at_ms, version, source, basis, *_ = row
    return Consent(texts[channel], texts[purpose], granted, at_ms, version, texts[source], texts[basis])


def _lease_row(entry: LeaseEntry, texts: _Texts) -> list[Any]:
    promised = texts[entry.action], _from_decision_id(entry.decision_id), entry.at_ms, entry.until_ms - entry.at_ms
    return [*promised, texts.column(entry.channels), entry.reserved]


def _lease_entry(row: Sequence[Any], texts: Sequence[str]) -> LeaseEntry:
    action, decision_id, at_ms, lasts_ms, channels, reserved, *_ = row
    shown_in = [texts[each] for each in channels]
    return LeaseEntry(texts[action], _decision_id(decision_id), at_ms, at_ms + lasts_ms, shown_in, reserved)


def _hold_row(placement: str, hold: Hold, texts: _Texts) -> list[Any]:
    action = None if hold.action is None else texts[hold.action]
    return [texts[placement], action, _from_decision_id(hold.decision_id), hold.until_ms]


def _hold(row: Sequence[Any], texts: Sequence[str]) -> tuple[str, Hold]:
    placement, action, decision_id, until_ms, *_ = row
    return texts[placement], Hold(None if action is None else texts[action], _decision_id(decision_id), until_ms)


def _render_row(render: Render, texts: _Texts) -> list[Any]:
    action = None if render.action is None else texts[render.action]
    where = _from_hex(render.token_id), texts[render.placement], _from_decision_id(render.decision_id), action
    return [*where, render.at_ms, render.until_ms - render.at_ms, render.held]


def _render(row: Sequence[Any], texts: Sequence[str]) -> Render:
    token_id, placement, decision_id, action, at_ms, lasts_ms, held, *_ = row
    shown = texts[placement], _decision_id(decision_id), None if action is None else texts[action]
    return Render(_hex(token_id), *shown, at_ms, at_ms + lasts_ms, held)


def _interaction_columns(interactions: Sequence[Interaction], texts: _Texts) -> list[Column]:
    if not interactions:
        return []
    times_ms, *kinds = zip(*interactions, strict=True)
    return [_steps(times_ms), *map(texts.column, kinds)]


def _interactions(columns: Sequence[Column], texts: Sequence[str]) -> list[Interaction]:
    if not columns:
        return []
    times_ms, outcomes, actions, channels, *_ = columns
    texts_of = (map(texts.__getitem__, each) for each in (outcomes, actions, channels))
    rows = zip(accumulate(times_ms), *texts_of, strict=True)
    return list(map(_new, repeat(Interaction), rows))


def _day_count_columns(day_counts: Sequence[DayCount], texts: _Texts) -> list[Column]:
    if not day_counts:
        return []
    days, *kinds, times, last_ms = zip(*day_counts, strict=True)
    return [_steps(days), *map(texts.column, kinds), times, _steps(last_ms)]


def _day_counts(columns: Sequence[Column], texts: Sequence[str]) -> list[DayCount]:
    if not columns:
        return []
    days, outcomes, actions, channels, times, last_ms, *_ = columns
    texts_of = (map(texts.__getitem__, each) for each in (outcomes, actions, channels))
    rows = zip(accumulate(days), *texts_of, times, accumulate(last_ms), strict=True)
    return list(map(_new, repeat(DayCount), rows))


def _steps(numbers: Sequence[int]) -> list[int]:
    return [*numbers[:1], *map(sub, numbers[1:], numbers)]


def _from_hex(text: str) -> Key:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return text
    return raw if raw.hex() == text else text


def _hex(key: Key) -> str:
    return key if isinstance(key, str) else key.hex()


def _from_base64(text: str) -> Key:
    try:
        raw = a2b_base64(text)
    except ValueError:
        return text
    return raw if b2a_base64(raw, newline=False).decode() == text else text


def _base64(key: Key) -> str:
    return key if isinstance(key, str) else b2a_base64(key, newline=False).decode()


def _from_decision_id(text: str) -> Key:
    """Partition in 1 byte, time in 6, the random part in 8: half of the text."""
    partition, _, rest = text.partition("-")
    number, raw = _PARTITIONS.get(partition), _from_hex("0" + rest.replace("-", "", 1))
    return number + raw if number and isinstance(raw, bytes) and rest[11:12] == "-" else text


def _decision_id(key: Key) -> str:
    if isinstance(key, str):
        return key
    digits = key[1:].hex()
    return f"{key[0]:03d}-{digits[1:12]}-{digits[12:]}"
