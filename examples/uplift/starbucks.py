"""From the event files of starbucks_offers (simulated data) to one row for each person and wave.

    python examples/uplift/starbucks.py ../shared/data/starbucks_offers waves.csv

In six waves each person got one of ten offers with probability 0.075 each, or nothing with 0.25, drawn anew. A row
holds what was known before the wave, what was drawn, and what followed: `value` is money spent less rewards paid out
in the 72 hours from the wave on. Offers still open from earlier waves are features; effects on later waves are not
counted. Reads plain or gzipped JSON lines, as long as the names begin with portfolio, profile and transcript.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

WAVE_HOURS = (0, 168, 336, 408, 504, 576)
WINDOW_HOURS = 72  # the shortest gap between two waves: nobody gets the next draw before this one is paid
PROBABILITY_OFFER = 0.075
PROBABILITY_NOTHING = 0.25
NOTHING = "nothing"
AGE_MISSING = 118
COUNTED_FROM = date(2018, 8, 1)  # membership is as old as on this day, the end of the simulation's calendar
Row = dict[str, Any]


@dataclass(slots=True)
class Person:
    """The dated facts of one person, each list in the order of time."""

    received: dict[int, str] = field(default_factory=dict)  # offer by hour
    viewed_hours: list[int] = field(default_factory=list)
    completed: list[tuple[int, float]] = field(default_factory=list)  # hour, reward
    spent: list[tuple[int, float]] = field(default_factory=list)  # hour, dollars


def main() -> None:
    parser = argparse.ArgumentParser(description="One row per person and wave of the simulated Starbucks offers.")
    parser.add_argument("directory", type=Path, help="with portfolio, profile and transcript")
    parser.add_argument("out", type=Path, help="CSV to write")
    arguments = parser.parse_args()
    with arguments.out.open("w", newline="") as file:
        rows = waves(arguments.directory)
        first = next(rows)
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


def waves(directory: Path) -> Iterator[Row]:
    """The rows, person by person in the order of the profile file."""
    offers = {offer["id"]: offer for offer in _lines(directory, "portfolio")}
    people = _people(directory)
    for profile in _lines(directory, "profile"):
        yield from _waves_of(profile, people[profile["id"]], offers)


def action_of(offer: Row) -> str:
    """issue/group/action: an offer's type is its group, its terms are its name."""
    group = {"bogo": "bogo", "discount": "discount", "informational": "message"}[offer["offer_type"]]
    terms = f"{offer['difficulty']}_for_{offer['reward']}_" if offer["reward"] else ""
    return f"grow/{group}/{group}_{terms}{offer['duration']:g}d"


def _people(directory: Path) -> defaultdict[str, Person]:
    """The facts of each person. A completion that stands twice is no error: the same offer was open twice and paid."""
    people: defaultdict[str, Person] = defaultdict(Person)
    for event in _lines(directory, "transcript"):
        person, hour, value = people[event["person"]], event["time"], event["value"]
        match event["event"]:
            case "offer received":
                person.received[hour] = value["offer id"]
            case "offer viewed":
                person.viewed_hours.append(hour)
            case "offer completed":
                person.completed.append((hour, float(value["reward"])))
            case "transaction":
                person.spent.append((hour, float(value["amount"])))
    return people


def _waves_of(profile: Row, person: Person, offers: dict[str, Row]) -> Iterator[Row]:
    known = {
        "customer": profile["id"],
        "age": None if profile["age"] == AGE_MISSING else profile["age"],
        "gender": profile["gender"],
        "income": profile["income"],
        "tenure_days": (COUNTED_FROM - datetime.strptime(str(profile["became_member_on"]), "%Y%m%d").date()).days,
    }
    spent, paid = _Ledger(person.spent), _Ledger(person.completed)
    for wave, hour in enumerate(WAVE_HOURS):
        offer = offers.get(person.received.get(hour, ""))
        spend = spent.amount(hour, hour + WINDOW_HOURS)
        yield known | {
            "hour": hour,
            "wave": wave,
            "spent_per_week": round(spent.amount(0, hour) * 168 / hour, 4) if hour else None,
            "purchases_per_week": round(spent.count(0, hour) * 168 / hour, 4) if hour else None,
            "hours_since_purchase": spent.hours_since(hour),
            "completed_count": paid.count(0, hour),
            "viewed_count": bisect_left(person.viewed_hours, hour),
            "open_offers": sum(hour < sent + 24 * offers[key]["duration"] for sent, key in _before(person, hour)),
            "action": action_of(offer) if offer else NOTHING,
            "probability": PROBABILITY_OFFER if offer else PROBABILITY_NOTHING,
            "bought": "yes" if spend else "no",
            "spend": round(spend, 2),
            "value": round(spend - paid.amount(hour, hour + WINDOW_HOURS), 2),
        }


def _before(person: Person, hour: int) -> Iterator[tuple[int, str]]:
    return ((sent, key) for sent, key in person.received.items() if sent < hour)


class _Ledger:
    """Dated amounts, summed between hours: from the first, up to but without the second."""

    def __init__(self, entries: list[tuple[int, float]]) -> None:
        self._hours = [hour for hour, _ in entries]
        self._sums = list(accumulate((amount for _, amount in entries), initial=0.0))

    def count(self, start: int, end: int) -> int:
        return bisect_left(self._hours, end) - bisect_left(self._hours, start)

    def amount(self, start: int, end: int) -> float:
        return self._sums[bisect_left(self._hours, end)] - self._sums[bisect_left(self._hours, start)]

    def hours_since(self, hour: int) -> int | None:
        index = bisect_left(self._hours, hour)
        return hour - self._hours[index - 1] if index else None


def _lines(directory: Path, name: str) -> Iterator[Row]:
    """Objects of a file of JSON lines, plain or gzipped."""
    path = next(iter(sorted(directory.glob(f"{name}.json*"))), None)
    if path is None:
        raise SystemExit(f"{directory} has no file {name}.json…")
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    main()
