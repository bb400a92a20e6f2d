"""A customer's partition: the same for ever, and no reason to remember who it was asked for."""

from __future__ import annotations

import sys

from decisioning.customer import partition_of


def test_a_partition_is_the_same_for_ever():
    """Another one would orphan what is stored."""
    assert [partition_of(each) for each in ("C-1", "C-2", "Zoë", "")] == [187, 220, 17, 46]


def test_who_was_asked_for_is_not_kept():
    """An id is personal data, and outlives an erasure in whatever keeps it."""
    customer_key = "-".join(["C", "77"])
    before = sys.getrefcount(customer_key)

    partition_of(customer_key)

    assert sys.getrefcount(customer_key) == before
