"""CPU time per request of the predicate index, beside asking one action at a time and beside the noop floor.

Everything is measured in one run, in rounds, so that a machine that slows down slows all of it. A figure is the lower
quartile of its rounds, for the floor as for the rest. Ends with 1 when the index costs more than its limit.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from statistics import quantiles
from typing import Any

from rules import EvaluationError, PredicateIndex, Program
from tests.bench.floor.load import Noop, noop_service
from tests.bench.workload.portfolio import RULES_PER_ACTION, customers, portfolio

SEED = 20261121
CUSTOMER_COUNT = 20
GAP_SHARE = 0.3  # of the attributes of a customer "with gaps", as with those who are seldom seen
ROUND_COUNT = 15
TRY_COUNT = 2  # in each round; the best one counts
TRY_SECONDS = 0.01  # the shortest try, so that a clock's tick or an interrupt weighs little
NOOP_REQUEST_COUNT = 1200
NOOP_WARM_UP_COUNT = 800

# (actions, distinct predicates): the most that an answer may cost, in multiples of the noop floor
LIMITS = {(200, 150): 0.33, (1000, 400): 0.8}
MORE_ACTIONS = [(action_count, 150) for action_count in (100, 200, 500, 1000, 2000)]
MORE_PREDICATES = [(1000, distinct_count) for distinct_count in (50, 100, 200, 400, 800)]
SIZES = list(dict.fromkeys([*LIMITS, *MORE_ACTIONS, *MORE_PREDICATES]))

LINE = (
    "{actions:7} {distinct:8} | {index_full_us:10} {index_gaps_us:6} | {naive_full_us:10} {naive_gaps_us:7} | "
    "{full_by_noop:15.2f} {gaps_by_noop:5.2f} | {limit}"
)

Size = tuple[int, int]
Activation = Mapping[str, Any]
Answer = Callable[[Activation], tuple[int, int]]


@dataclass(slots=True)
class Measurement:
    """One way to answer for one size of portfolio and one kind of customers."""

    size: Size
    way: str
    profile: str
    answer: Answer
    activations: Sequence[Activation]
    rounds_us: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One round: the CPU time of an answer, in the best of a few tries."""
        self.rounds_us.append(min(self._try_us() for _ in range(TRY_COUNT)))

    def _try_us(self) -> float:
        answered, began_s = 0, time.process_time()
        while (spent_s := time.process_time() - began_s) < TRY_SECONDS:
            for activation in self.activations:
                self.answer(activation)
            answered += len(self.activations)
        return spent_s / answered * 1e6

    @property
    def us(self) -> float:
        return steady(self.rounds_us)


def measurements_of(size: Size) -> list[Measurement]:
    """Index and naive twin, for full profiles and for such with gaps. Raises AssertionError where the two disagree."""
    action_count, distinct_count = size
    rows = portfolio(Random(SEED), action_count=action_count, distinct_count=distinct_count)
    index, twin = partial(PredicateIndex(rows).evaluate, among=(1 << len(rows)) - 1), naive(rows)
    found = []
    for profile, gap_share in (("full", 0.0), ("gaps", GAP_SHARE)):
        activations = customers(Random(SEED + 1), CUSTOMER_COUNT, gap_share=gap_share)
        assert list(map(index, activations)) == list(map(twin, activations)), f"index and twin disagree at {size}"
        found += [
            Measurement(size, "index", profile, index, activations),
            Measurement(size, "naive", profile, twin, activations),
        ]
    return found


def naive(rows: Sequence[Sequence[Program]]) -> Answer:
    """One action at a time, its rules in order until one says no: what the index must agree with, and beat."""

    def answer(activation: Activation) -> tuple[int, int]:
        no = unknown = 0
        for position, row in enumerate(rows):
            verdict = verdict_of(row, activation)
            if verdict is False:
                no |= 1 << position
            elif verdict is None:
                unknown |= 1 << position
        return no, unknown

    return answer


def verdict_of(row: Sequence[Program], activation: Activation) -> bool | None:
    verdict: bool | None = True
    for program in row:
        try:
            if not program.evaluate(activation):
                return False
        except EvaluationError:
            verdict = None
    return verdict


def run(noop: Noop, measurements: Sequence[Measurement]) -> float:
    """Measure everything in rounds. Returns the noop floor in CPU microseconds per request."""
    random = Random(SEED)
    noop.cpu_us(NOOP_WARM_UP_COUNT)
    floors_us = []
    for _ in range(ROUND_COUNT):
        floors_us.append(noop.cpu_us(NOOP_REQUEST_COUNT))
        # What follows directly on the load is slow for a tenth of a second; each round another size bears it.
        for measurement in random.sample(measurements, len(measurements)):
            measurement.measure()
    return round(steady(floors_us), 1)


def steady(rounds_us: Sequence[float]) -> float:
    """The lower quartile: other work on the machine makes rounds up to twice as slow, and none of them faster."""
    return quantiles(rounds_us, n=4)[0]


def report(noop_us: float, measurements: Sequence[Measurement]) -> bool:
    """Print the table and the same as JSON; whether the index keeps its limits."""
    found: dict[Size, dict[str, float]] = {size: {} for size in SIZES}
    for measurement in measurements:
        found[measurement.size][f"{measurement.way}_{measurement.profile}_us"] = round(measurement.us, 1)
    rows = [row_of(size, costs, noop_us) for size, costs in found.items()]
    print(f"CPU µs per request, noop floor {noop_us:.0f}; {RULES_PER_ACTION} rules an action, gaps {GAP_SHARE:.0%}")
    print("actions distinct | index full   gaps | naive full    gaps | index/noop full  gaps | limit")
    for row in rows:
        print(LINE.format(**{**row, "limit": row["limit"] or ""}).rstrip())
    keeps = all(row["keeps_limit"] for row in rows)
    print(json.dumps({"benchmark": "predicate_index", "noop_us": noop_us, "keeps_limits": keeps, "sizes": rows}))
    return keeps


def row_of(size: Size, costs: Mapping[str, float], noop_us: float) -> dict[str, Any]:
    shares = {f"{profile}_by_noop": round(costs[f"index_{profile}_us"] / noop_us, 3) for profile in ("full", "gaps")}
    limit = LIMITS.get(size)
    return {
        "actions": size[0],
        "distinct": size[1],
        **costs,
        **shares,
        "limit": limit,
        "keeps_limit": limit is None or max(shares.values()) <= limit,
    }


def main() -> int:
    with noop_service() as noop:
        measurements = [measurement for size in SIZES for measurement in measurements_of(size)]
        return 0 if report(run(noop, measurements), measurements) else 1


if __name__ == "__main__":
    sys.exit(main())
