"""Launch: how soon an action introduced midway gets the place that it deserves.

    OMP_NUM_THREADS=1 python -m examples.learning.launch --seeds 50 --processes 2

The bank of world.py, truth `form`. A model that never met one of the truly best actions decides for QUIET_DAYS without
it and learns; then the action goes live. Every BLOCK decisions its expected share of selections is taken over the same
contacts, and compared with its due: what the same exploration gives it when every propensity is the true one.

- placed     the impressions it had had when, over a day's blocks, its share first reached PLACED_SHARE of its due;
             looked for only after OUTSTANDING_DAYS, so that the optimism of the first hours does not count as knowledge
- overshoot  its share of all decisions in those first days, when most positives are still under way, as a multiple of
             its eventual share, which it has when it has been seen EVENTUAL_IMPRESSIONS times

Prints JSON; exits with 1 when the median seed is not placed in time or overshoots.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from decisioning.exploration import selection_probabilities
from examples.learning.policies import SACRIFICE, SCALE_MIN, Floats, Ints, Nextbest, Start, start_of, with_nothing
from examples.learning.simulate import DELAY_DAYS_MEAN, FIRST_SEED, Life, lived
from examples.learning.world import World, world_of

START_ROWS = 20_000
DECISIONS_A_DAY = 1_000
BLOCK = 100
BLOCKS_A_DAY = DECISIONS_A_DAY // BLOCK
QUIET_DAYS, LIVE_DAYS = 10, 60
OUTSTANDING_DAYS = int(DELAY_DAYS_MEAN)
SAMPLE = 1_000  # contacts on which shares are taken
RANK = 1  # of the new action by its due, 0 for the best
PLACED_SHARE = 0.9
EVENTUAL_IMPRESSIONS = 2_000  # also the most it may need to be placed
AFTERWARDS_DAYS = 5  # over which the eventual share is taken
OVERSHOOT_MAX = 1.1


def main() -> None:
    """Run all seeds, print, judge."""
    parser = argparse.ArgumentParser(description="How soon a new action is placed, on a simulated bank.")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    runs = []
    with ProcessPoolExecutor(options.processes) as pool:
        for run in pool.map(launched, range(options.first_seed, options.first_seed + options.seeds)):
            runs.append(run)
            print(json.dumps(run), file=sys.stderr, flush=True)
    report = summary(runs)
    print(json.dumps(report, indent=1))
    if report["placed"]["median"] > EVENTUAL_IMPRESSIONS or report["overshoot"]["median"] > OVERSHOOT_MAX:
        sys.exit(f"placed after more than {EVENTUAL_IMPRESSIONS} impressions, or overshoot above {OVERSHOOT_MAX}")


@dataclass(slots=True)
class Launching(Nextbest):
    """Decides without one action until it is live."""

    new: int = 0
    is_live: bool = False

    def values(self, contacts: Ints, day: float, *, deviations: float) -> Floats:
        values = Nextbest.values(self, contacts, day, deviations=deviations)
        if not self.is_live:
            values[:, self.new] = -np.inf  # never chosen
        return values

    @property
    def impressions(self) -> int:
        """Of the new action."""
        return self.learner.impressions.get(self.start.world.actions[self.new], 0)


def launched(seed: int) -> dict[str, Any]:
    """One launch, followed until the eventual share is known; a function of the seed."""
    world = world_of("form", seed)
    due = dues(world)
    new = int(np.argsort(-due)[RANK])
    start = start_of(world, np.delete(np.arange(len(world.actions)), new), seed, START_ROWS)
    impressions, shares = followed(start, new, seed)
    daily = np.convolve(shares, np.full(BLOCKS_A_DAY, 1.0 / BLOCKS_A_DAY), mode="valid")
    seen = impressions[BLOCKS_A_DAY - 1 :]  # by the end of each of these days
    outstanding = OUTSTANDING_DAYS * BLOCKS_A_DAY
    in_place = np.flatnonzero(daily[outstanding:] >= PLACED_SHARE * due[new])
    settled = impressions >= min(EVENTUAL_IMPRESSIONS, impressions[-1])  # or what it came to in all the time there was
    eventual = shares[settled]
    return {
        "seed": seed,
        "action": world.actions[new],
        "due": round(float(due[new]), 4),
        "placed": int(seen[outstanding:][in_place[0]]) if len(in_place) else None,
        "overshoot": round(float(impressions[outstanding] / (outstanding * BLOCK) / eventual.mean()), 3),
        "eventual_of_due": round(float(eventual.mean() / due[new]), 3),
        "peak_of_due": round(float(shares.max() / due[new]), 3),
        "impressions": int(impressions[-1]),
    }


def followed(start: Start, new: int, seed: int) -> tuple[Ints, Floats]:
    """Impressions and expected share of the new action at the beginning of each block since it is live."""
    rng = np.random.default_rng([seed, 5])
    decisions = (QUIET_DAYS + LIVE_DAYS) * DECISIONS_A_DAY
    contacts = rng.integers(0, len(start.world.log_odds), decisions)
    luck, delay = rng.random(decisions), rng.exponential(DELAY_DAYS_MEAN, decisions)
    days = np.arange(decisions) / DECISIONS_A_DAY
    policy = Launching(start, new=new)
    life = Life(policy)
    found: list[tuple[int, float]] = []
    enough = 0
    for first in range(0, decisions, BLOCK):
        policy.is_live = first >= QUIET_DAYS * DECISIONS_A_DAY
        if policy.is_live:
            share = policy.probabilities(np.arange(SAMPLE), float(days[first]))[:, new].mean()
            found.append((policy.impressions, float(share)))
            enough += policy.impressions >= EVENTUAL_IMPRESSIONS
            if enough > AFTERWARDS_DAYS * BLOCKS_A_DAY:
                break
        block = slice(first, first + BLOCK)
        chances = start.world.chances(contacts[block], days[block])
        lived(life, contacts[block], days[block], first, chances, luck=luck[block], delay=delay[block])
    impressions, shares = zip(*found, strict=True)
    return np.array(impressions), np.array(shares)


def dues(world: World) -> Floats:
    """float64[actions]: the share of each in the selections of one who knows the truth."""
    sample = np.arange(SAMPLE)
    worth = with_nothing(world.chances(sample, np.zeros(SAMPLE)) * world.value)
    shares = [
        selection_probabilities(
            row,
            explores=np.ones(row.size, dtype=np.bool_),
            launches=np.zeros(row.size, dtype=np.bool_),
            sacrifice=SACRIFICE,
            scale_min=SCALE_MIN,
            launch_share=0.0,
        )
        for row in worth
    ]
    return np.array(shares).mean(axis=0)[:-1]


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and quartiles over seeds; a launch that was never placed counts as infinitely late."""
    report: dict[str, Any] = {"simulated": True, "seeds": len(runs)}
    for name in ("placed", "overshoot", "eventual_of_due", "peak_of_due"):
        values = [np.inf if run[name] is None else run[name] for run in runs]
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf").tolist()
        report[name] = {"median": median, "quartiles": [low, high]}
    report["placed_in_time"] = sum(run["placed"] is not None and run["placed"] <= EVENTUAL_IMPRESSIONS for run in runs)
    return report


if __name__ == "__main__":
    main()
