"""Claims: what was aimed at beside what was found, in so many words. Nothing here fails anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.contest import Ratio
from loadtest.report import in_columns


@dataclass(frozen=True, slots=True)
class Claim:
    """A ratio with the limit it is to keep."""

    text: str
    found: Ratio
    limit: float
    is_least: bool = False  # True: it is to be at least so large

    @property
    def holds(self) -> bool:
        """By the median; the range beside it says how sure that is."""
        return self.found.median >= self.limit if self.is_least else self.found.median <= self.limit

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        aim = "at least" if self.is_least else "at most"
        return {"claim": self.text, aim: self.limit, "found": self.found.as_json(), "holds": self.holds}


def table_of(claims: Sequence[Claim]) -> str:
    """For people."""
    rows: list[Sequence[str]] = [["claim", "aim", "found (range)", "verdict"]]
    for claim in claims:
        aim = f"{'≥' if claim.is_least else '≤'} {claim.limit:g}"
        rows.append([claim.text, aim, str(claim.found), "holds" if claim.holds else "NOT REACHED"])
    return in_columns(rows)
