"""A sealed text opens with its own key, whole and unaltered, or not at all."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisioning.errors import SealBroken
from decisioning.sealing import fingerprint, new_key, seal, unseal

KEY = new_key()


@given(st.binary(max_size=200))
def test_what_was_sealed_comes_back(plaintext: bytes) -> None:
    assert unseal(KEY, seal(KEY, plaintext)) == plaintext


def test_one_text_is_never_sealed_alike_twice() -> None:
    assert seal(KEY, b"age 44") != seal(KEY, b"age 44")


@given(st.integers(min_value=0, max_value=(12 + 6 + 16) * 8 - 1))
def test_a_single_changed_bit_breaks_the_seal(bit: int) -> None:
    raw = bytearray(b64decode(seal(KEY, b"age 44")))
    raw[bit // 8] ^= 1 << bit % 8

    with pytest.raises(SealBroken, match="altered"):
        unseal(KEY, b64encode(raw).decode())


@pytest.mark.parametrize(
    "sealed",
    ["", "AAAA", "not base64!", seal(KEY, b"x")[:-4], seal(new_key(), b"x")],
    ids=["empty", "short", "not base64", "cut off", "another key"],  # sealed texts differ on every run
)
def test_other_texts_do_not_open(sealed: str) -> None:
    with pytest.raises(SealBroken):
        unseal(KEY, sealed)


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(SealBroken, match="sealing key"):
        seal(key, b"x")


def test_a_fingerprint_is_the_same_for_the_same_texts_and_key_alone() -> None:
    key, other = new_key(), new_key()

    name = fingerprint(key, "decide", "web", "k-1")

    assert name == fingerprint(key, "decide", "web", "k-1")
    assert len({name, fingerprint(other, "decide", "web", "k-1"), fingerprint(key, "decide", "webk-1", "")}) == 3
