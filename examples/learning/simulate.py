"""Simulate: what learning online is worth, because in a simulated bank the truth is known.

    OMP_NUM_THREADS=1 python -m examples.learning.simulate --seeds 20 --processes 2

Policies decide for the same contacts and the same luck, from the same small batch model. An impression is a negative at
once; a yes becomes known days later and then corrects it; weights are published every BLOCK decisions. Regret is the
true expected worth of the best candidate minus that of the chosen one, summed. Prints a table and JSON, and says where
nextbest's regret is above SHARE_AIM of epsilon_greedy's; exits with 1 when on any truth a rival has less of it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from examples.learning.policies import (
    EpsilonGreedy,
    Floats,
    Ints,
    Nextbest,
    Policy,
    Retrained,
    Start,
    Thompson,
    Trial,
    start_of,
    with_nothing,
)
from examples.learning.world import DAYS, TRUTHS, World, world_of

POLICIES: Mapping[str, Callable[[Start], Policy]] = {
    "nextbest": Nextbest,
    "epsilon_greedy": EpsilonGreedy,
    "thompson": Thompson,
    "retrained": Retrained,
}
START_ROWS = 10_000  # random contacts before day 0, as many as in ten days: some 290 per action
DECISIONS = 200_000
BLOCK = 500  # decisions between two publications, half a day
DELAY_DAYS_MEAN = 3.0  # from an impression to the yes that follows it, exponential
SHARE_AIM = 0.75  # of epsilon-greedy's regret: what we want, and do not reach yet
FIRST_SEED = 1_000  # constants were chosen on seeds below it


def main() -> None:
    """Run all seeds, print, judge."""
    options = _options()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    jobs = [(truth, seed, options.decisions) for seed in seeds for truth in options.truths]
    with ProcessPoolExecutor(options.processes) as pool:
        runs = []
        for found in pool.map(regrets, jobs):
            runs.append(found)
            print(f"{len(runs)}/{len(jobs)} {json.dumps(found)}", file=sys.stderr, flush=True)
    report = {truth: summary([run for run in runs if run["truth"] == truth]) for truth in options.truths}
    print(table_of(report))
    print(json.dumps({"simulated": True, "decisions": options.decisions, "seeds": [*seeds], **report}))
    shares = {truth: found["share_of_epsilon_greedy"]["mean"] for truth, found in report.items()}
    if missed := [truth for truth, share in shares.items() if share > SHARE_AIM]:
        print(f"the aim of {SHARE_AIM:.0%} of epsilon-greedy's regret is missed on: {', '.join(missed)}")
    if beaten := [truth for truth, found in report.items() if is_beaten(found)]:
        sys.exit(f"a rival has less regret than nextbest on: {', '.join(beaten)}")


def is_beaten(found: Mapping[str, Any]) -> bool:
    """True when some rival's mean regret is below nextbest's."""
    return min(POLICIES, key=lambda name: float(found[name]["regret"]["mean"])) != "nextbest"


def regrets(job: tuple[str, int, int]) -> dict[str, Any]:
    """Total regret in euro of each policy, on one truth and seed; a function of its argument alone."""
    truth, seed, decisions = job
    world = world_of(truth, seed)
    start = start_of(world, np.arange(len(world.actions)), seed, START_ROWS)
    lives = {name: Life(policy(start)) for name, policy in POLICIES.items()}
    oracle = simulated(list(lives.values()), world, seed, decisions)
    late = slice(-(decisions // 4), None)  # the last quarter
    run: dict[str, Any] = {"truth": truth, "seed": seed, "oracle": round(float(oracle.sum()), 1)}
    for name, life in lives.items():
        regret = np.concatenate(life.regret)
        run[name] = round(float(regret.sum()), 1)
        run[f"{name}_late"] = round(1.0 - float(regret[late].sum() / oracle[late].sum()), 4)
    return run


@dataclass(slots=True)
class Life:
    """One policy's run: what it lost so far, and the answers that are still under way to it."""

    policy: Policy
    regret: list[Floats] = field(default_factory=list)
    waiting: list[tuple[float, int, Trial]] = field(default_factory=list)  # a heap by day of arrival


def simulated(lives: Sequence[Life], world: World, seed: int, decisions: int) -> Floats:
    """All policies, block by block; float64[decisions]: what the oracle expects. Contacts and luck are the seed's."""
    rng = np.random.default_rng([seed, 5])
    contacts = rng.integers(0, len(world.log_odds), decisions)
    luck = rng.random(decisions)
    delay = rng.exponential(DELAY_DAYS_MEAN, decisions)
    days = np.arange(decisions) * (DAYS / decisions)
    oracle = np.empty(decisions)
    for first in range(0, decisions, BLOCK):
        block = slice(first, first + BLOCK)
        chances = world.chances(contacts[block], days[block])
        worth = with_nothing(chances * world.value)
        oracle[block] = worth.max(axis=1)
        for life in lives:
            choice = lived(life, contacts[block], days[block], first, chances, luck=luck[block], delay=delay[block])
            life.regret.append(oracle[block] - worth[np.arange(len(choice)), choice])
    return oracle


def lived(
    life: Life, contacts: Ints, days: Floats, first: int, chances: Floats, *, luck: Floats, delay: Floats
) -> Ints:
    """What a policy chooses for one block, after hearing of what arrived before it."""
    while life.waiting and life.waiting[0][0] <= days[0]:
        arrived, _, trial = heapq.heappop(life.waiting)
        life.policy.accepted(trial, arrived)
    choice = life.policy.choose(contacts, first, float(days[0]))
    for index in np.flatnonzero(choice < chances.shape[1]).tolist():
        trial = Trial(int(contacts[index]), int(choice[index]), float(days[index]))
        life.policy.saw(trial)
        if luck[index] < chances[index, choice[index]]:
            heapq.heappush(life.waiting, (trial.day + float(delay[index]), first + index, trial))
    return choice


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over seeds with 95 % intervals; the share is that of the sums, its interval by resampling seeds."""
    found: dict[str, Any] = {}
    for name in POLICIES:
        totals = np.array([run[name] for run in runs])
        error = float(totals.std(ddof=1)) / len(totals) ** 0.5 if len(totals) > 1 else 0.0
        found[name] = {
            "regret": _rounded(
                float(totals.mean()), float(totals.mean()) - 1.96 * error, float(totals.mean()) + 1.96 * error, 0
            ),
            "of_oracle_last_quarter": round(float(np.mean([run[f"{name}_late"] for run in runs])), 3),
        }
    pairs = np.array([[run["nextbest"], run["epsilon_greedy"]] for run in runs])
    drawn = pairs[np.random.default_rng(0).integers(0, len(pairs), (10_000, len(pairs)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    found["share_of_epsilon_greedy"] = _rounded(
        float(pairs[:, 0].sum() / pairs[:, 1].sum()), float(low), float(high), 3
    )
    return found


def _rounded(mean: float, low: float, high: float, decimals: int) -> dict[str, float]:
    return {"mean": round(mean, decimals), "low": round(low, decimals), "high": round(high, decimals)}


def table_of(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = ["truth         policy          regret, euro (95 % interval)      of the oracle's worth, last quarter"]
    for truth, found in report.items():
        for name in POLICIES:
            regret, late = found[name]["regret"], found[name]["of_oracle_last_quarter"]
            interval = f"{regret['mean']:>9,.0f} ({regret['low']:,.0f} to {regret['high']:,.0f})"
            lines.append(f"{truth:<13} {name:<15} {interval:<33} {late:.3f}")
        share = found["share_of_epsilon_greedy"]
        lines.append(f"{truth:<13} nextbest / epsilon_greedy: {share['mean']} ({share['low']} to {share['high']})")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Regret of online policies on a simulated bank with a known truth.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--decisions", type=int, default=DECISIONS)
    parser.add_argument("--truths", nargs="+", choices=TRUTHS, default=TRUTHS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
