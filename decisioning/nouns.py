"""Nouns: a count and what was counted, as people write it."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 row`, `2,000 rows`; plural where it is another word than the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
