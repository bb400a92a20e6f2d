"""CPU time of drawing the example bank's mail pictures: with no letter drawn before, with letters at hand, and again.

Cold means: fonts are open and the fixed part of the picture is drawn, as at the start of a process; no letter is. The
figure is the median over all treatments, languages and names. Ends with 1 when one is above its limit.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from api.email.inspection import NAMES
from api.email.pictures import SCALES, Pictures
from api.email.typeface import typeface
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Placement

BANK = Path(__file__).parents[2] / "examples" / "retail_bank"
LIMITS_MS = {"cold": 10.0, "letters_at_hand": 10.0, "again": 0.5}


def contents(placement: Placement) -> Iterator[dict[str, Any]]:
    """What the placement shows: each treatment in each language, the names taking turns."""
    number = 0
    for treatment in placement.candidates.treatments:
        for language in treatment.content.languages:
            customer = {"first_name": NAMES[number % len(NAMES)], "loyalty_points": 12_345}
            yield treatment.content.render(language, {"customer": customer})
            number += 1


def measured(placement: Placement, scale: int) -> dict[str, list[float]]:
    """Milliseconds of each drawing, by how much of it was at hand."""
    assert placement.picture is not None
    pictures, kept = Pictures(kept_bytes_max=0), Pictures()
    for each in (pictures, kept):
        each.canvas(placement.picture, scale)
    spent: dict[str, list[float]] = {name: [] for name in LIMITS_MS}

    def take(name: str, by: Pictures, content: dict[str, Any]) -> None:
        start = time.process_time_ns()
        by.draw(placement.picture, content, scale=scale)
        spent[name].append((time.process_time_ns() - start) / 1e6)

    for content in contents(placement):
        for weight in ("regular", "bold"):
            typeface(weight).forget()
        take("cold", pictures, content)
        take("letters_at_hand", pictures, content)
        kept.draw(placement.picture, content, scale=scale)
        take("again", kept, content)
    return spent


def main() -> int:
    """Print one JSON object a scale; 1 when a limit is missed."""
    placement = load_directory(BANK).placements["email.hero"]
    measured(placement, 1)  # opens the fonts at every size
    missed = False
    for scale in SCALES:
        spent = measured(placement, scale)
        figures = {
            name: {"median_ms": round(median(each), 3), "p95_ms": round(quantiles(each, n=20)[-1], 3)}
            for name, each in spent.items()
        }
        missed |= any(figures[name]["median_ms"] > limit for name, limit in LIMITS_MS.items())
        print(json.dumps({"picture": placement.name, "scale": scale, "limits_ms": LIMITS_MS, **figures}))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
