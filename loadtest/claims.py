"""Claims: what was aimed at beside what was found, in so many words. Nothing here fails anything.

`python -m loadtest claims` tells those of all reports that lie there, as they were measured last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
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
        aim = f"{'≥' if self.is_least else '≤'} {self.limit:g}"
        return {"claim": self.text, "aim": aim, "found": self.found.as_json(), "holds": self.holds}


def told(options: argparse.Namespace) -> None:
    """Print the claims of all reports."""
    for path in sorted(options.out.glob("*.json")):
        report = json.loads(path.read_text())
        if made := report.get("claims"):
            print(f"{report['what']}, measured {report['at']} at a load of {report['machine']['load_before']}")
            print(f"{lines_of(made)}\n")


def table_of(claims: Sequence[Claim]) -> str:
    """For people."""
    return lines_of([claim.as_json() for claim in claims]) if claims else "Nothing is claimed of this alone."


def lines_of(claims: Sequence[Mapping[str, Any]]) -> str:
    """The same of claims as a report keeps them."""
    rows: list[Sequence[str]] = [["claim", "aim", "found (range)", "verdict"]]
    for claim in claims:
        verdict = "holds" if claim["holds"] else "NOT REACHED"
        rows.append([claim["claim"], claim["aim"], str(Ratio(**claim["found"])), verdict])
    return in_columns(rows)
