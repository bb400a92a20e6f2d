"""Sealing: personal values in records, readable only with the customer's own key.

AES-256-GCM with a fresh nonce for every text. Erasing a customer deletes the key, after which no copy of a record,
wherever it was backed up, opens again; that is why the key lives in the customer's state and never in a record.
"""

from __future__ import annotations

import os
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from decisioning.errors import SealBroken

KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16


def new_key() -> str:
    """A fresh sealing key, as base64 text."""
    return b64encode(os.urandom(KEY_BYTES)).decode()


def seal(key_b64: str, plaintext: bytes) -> str:
    """Base64 of nonce, ciphertext and tag, different on every call. Raises SealBroken for a key that is no key."""
    nonce = os.urandom(_NONCE_BYTES)
    return b64encode(nonce + _cipher(key_b64).encrypt(nonce, plaintext, None)).decode()


def unseal(key_b64: str, sealed: str) -> bytes:
    """The plaintext; raises SealBroken when the key is another one or a single bit of the text has changed."""
    raw = _bytes(sealed, "sealed text")
    if len(raw) < _NONCE_BYTES + _TAG_BYTES:
        raise SealBroken("sealed text: too short to be one; it was cut off.")
    try:
        return _cipher(key_b64).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
    except InvalidTag as error:
        raise SealBroken("sealed text: does not open with this key, or was altered.") from error


def fingerprint(key_b64: str, *parts: str) -> str:
    """A name for these texts that nobody can make, or tell from another, without the key.

    What is named so says nothing once the key is gone; a plain hash of a customer's id can be found by trying all ids.
    """
    text = "\x1f".join(parts).encode()
    return blake2b(text, key=_bytes(key_b64, "sealing key"), digest_size=16).hexdigest()


def _cipher(key_b64: str) -> AESGCM:
    key = _bytes(key_b64, "sealing key")
    if len(key) != KEY_BYTES:
        raise SealBroken(f"sealing key: {len(key)} bytes instead of {KEY_BYTES}.")
    return AESGCM(key)


def _bytes(text: str, what: str) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError) as error:
        raise SealBroken(f"{what}: is not base64.") from error
