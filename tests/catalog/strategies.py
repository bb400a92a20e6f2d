"""Strategies for these tests: the small one, with edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from decisioning.catalog.load import load_bundle, read_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.errors import StrategyFaulty

SMALL = Path(__file__).parents[1] / "strategies" / "small"

Edits = Mapping[str, Sequence[Sequence[str]]]  # path -> pairs of a text that stands there and its replacement


def small(edits: Edits | None = None) -> dict[str, bytes]:
    """The small strategy's files; every edit replaces the first place where its text stands."""
    files = read_bundle(SMALL)
    for path, replacements in (edits or {}).items():
        text = files[path].decode()
        for old, new in replacements:
            assert old in text, f"{path} has no {old!r}"
            text = text.replace(old, new, 1)
        files[path] = text.encode()
    return files


@cache
def loaded() -> Strategy:
    """The small strategy as it is."""
    return load_bundle(small())


def with_rule(rule: str) -> Strategy:
    """The small strategy with this text as its gold upgrade's suitability."""
    quoted = rule.replace("'", "''")
    return load_bundle(small({"actions/cards.yaml": [["'customer.balance_avg_3m > 1500.0'", f"'{quoted}'"]]}))


def faults_of(files: Mapping[str, bytes]) -> list[str]:
    """The faults as printed, none when the strategy loads."""
    try:
        load_bundle(files)
    except StrategyFaulty as error:
        return [str(fault) for fault in error.faults]
    return []
