"""Identifiers that are personal data by their look are refused at every door."""

from __future__ import annotations

import pytest

from decisioning.errors import InvalidIdentifier
from decisioning.identifiers import checked_customer_id

REFUSED = {
    "": "empty",
    "eva@example.com": "e-mail",
    "tel:+36301234567": "telephone",
    "+1234567": "telephone",
    "C\n1": "control",
    "C 1": "space",
    "a/b": "slash",
    "..": "slash",
    "ügyfél": "outside ASCII",
    "C\x7f": "control",
    "\ud800": "outside ASCII",
    "C" * 201: "longer than 200 characters",
}


@pytest.mark.parametrize(("customer_id", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_a_refusal_says_why_and_does_not_repeat_the_id(customer_id: str, reason: str) -> None:
    with pytest.raises(InvalidIdentifier, match=reason) as refused:
        checked_customer_id(customer_id)

    assert not customer_id or customer_id not in str(refused.value)


@pytest.mark.parametrize("customer_id", ["C-1042", "a+b", "x+123456", "36301234567", "C" * 200, "~!?#"])
def test_other_texts_are_identifiers(customer_id: str) -> None:
    assert checked_customer_id(customer_id) == customer_id
