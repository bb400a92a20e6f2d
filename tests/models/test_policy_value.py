"""Estimators against the suite's numbers and against what must hold for any log."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import MetricUndefined, policy_value
from models.policy_value import Draws, Estimate, difference, draws_of, estimate, mean_by_person, ratio_by_person
from tests.skips import SHARED

SUITE = SHARED / "suites" / "ope"
ESTIMATORS = ("ips", "snips", "dr", "sndr")

needs_suite = pytest.mark.skipif(not SUITE.is_dir(), reason="the suite ope is not beside the project, in ../shared")


def cases(file: str, key: str | None = None) -> list[Any]:
    if not SUITE.is_dir():
        return []
    content = json.loads((SUITE / file).read_text())
    return content[key] if key else content


def agrees(found: float | None, expected: float | None) -> bool:
    return found is None if expected is None else found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def value_or_none(name: str, draws: Draws) -> Estimate | None:
    try:
        return estimate(name, draws)
    except MetricUndefined:
        return None


def mismatches(draws: Draws, expected: dict[str, Any]) -> list[str]:
    """The names of the expected figures that the draws do not show."""
    weights = policy_value.weights_of(draws)
    found: dict[str, float | None] = {
        "rounds": len(draws.rewards),
        "reward_count": float((draws.rewards > 0).sum()),
        "log_mean_reward": float(draws.rewards.mean()),
        "weight_mean": weights.mean,
        "weight_max": weights.max,
        "weight_zero_count": weights.zero_count,
        "effective_sample_size": weights.effective_sample_size,
        "dm": float(draws.modelled.mean()),
    }
    for name in ESTIMATORS:
        estimated = value_or_none(name, draws)
        found[name] = estimated and estimated.value
        found[f"{name}_standard_error"] = estimated and estimated.standard_error
    found["ips_relative_to_log"] = estimate("ips", draws).value / float(draws.rewards.mean() or np.nan)
    figures = {name: value for name, value in expected.items() if name not in ("weights", "models")}
    return [name for name, value in figures.items() if not agrees(found[name], value)]


@needs_suite
@pytest.mark.parametrize("case", cases("toy.json"), ids=lambda case: case["note"][:40])
def test_small_tables_come_out_as_computed_by_hand(case: dict[str, Any]) -> None:
    def column(name: str) -> list[Any]:
        return [row[name] for row in case["rounds"]]

    draws = draws_of(
        column("reward"),
        column("action"),
        column("logging_probability"),
        column("target_probabilities"),
        predicted=column("predicted_rewards"),
    )

    assert draws.weights == pytest.approx(case["expect"]["weights"])
    assert mismatches(draws, case["expect"]) == []


@needs_suite
@pytest.mark.parametrize("case", cases("golden.json", "cases"), ids=lambda case: case["name"])
def test_the_open_bandit_logs_give_the_golden_numbers(case: dict[str, Any]) -> None:
    log = read_log(SHARED / "data" / "open_bandit" / case["log"])
    target = target_of(case, log)
    expected_models = case["expect"]["models"]

    plain = draws_of(log.clicks, log.items, log.probabilities, target)
    assert mismatches(plain, case["expect"]) == []
    for name, predicted in reward_models(log, target.shape[1]).items():
        modelled = draws_of(log.clicks, log.items, log.probabilities, target, predicted=predicted)
        assert (name, mismatches(modelled, expected_models.pop(name))) == (name, [])
    assert not expected_models


@needs_suite
def test_the_published_ratio_is_reproduced_to_its_last_digit() -> None:
    published = cases("golden.json", "published")
    case = next(case for case in cases("golden.json", "cases") if case["name"] == published["case"])
    log = read_log(SHARED / "data" / "open_bandit" / case["log"])

    value = estimate("ips", draws_of(log.clicks, log.items, log.probabilities, target_of(case, log))).value

    assert round(value / log.clicks.mean(), published["decimals"]) == published["value"]


@needs_suite
def test_an_estimate_that_rests_on_two_draws_is_refused() -> None:
    case = next(case for case in cases("golden.json", "cases") if case["name"] == "uniform from bts, women")
    log = read_log(SHARED / "data" / "open_bandit" / case["log"])

    found = policy_value.policy_value(draws_of(log.clicks, log.items, log.probabilities, target_of(case, log)))

    assert found.refused is not None and "2.1 draws" in found.refused
    assert (found.ips, found.snips, found.dm, found.dr, found.sndr) == (None,) * 5
    assert any("carries" in warning for warning in found.warnings)


class Log:
    """One file of the open bandit samples."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self.items = np.array([int(row["item_id"]) for row in rows])
        self.positions = np.array([int(row["position"]) - 1 for row in rows])
        self.clicks = np.array([float(row["click"]) for row in rows])
        self.probabilities = np.array([float(row["propensity_score"]) for row in rows])


def read_log(path: Path) -> Log:
    with gzip.open(path, "rt") as file:
        return Log(list(csv.DictReader(file)))


def target_of(case: dict[str, Any], log: Log) -> np.ndarray:
    table = cases("item_position_counts.json")
    counts = np.array(table["counts"][case["campaign"]])
    if case["target"]["policy"] == "uniform":
        return np.full((len(log.items), len(counts)), 1 / len(counts))
    shares: np.ndarray = (counts / table["simulations"]).T[log.positions]
    return shares


def reward_models(log: Log, item_count: int) -> dict[str, np.ndarray]:
    """The reward models of the suite, as tables of rows x items."""
    shape = (len(log.items), item_count)
    every, even = np.ones(len(log.items), dtype=bool), np.arange(len(log.items)) % 2 == 0
    smoothed_by_half = np.where(
        even[:, None],
        rates(log, ~even, item_count, 20.0)[log.positions],
        rates(log, even, item_count, 20.0)[log.positions],
    )
    impressions = np.bincount(log.items, minlength=item_count)
    clicks = np.bincount(log.items, weights=log.clicks, minlength=item_count)
    by_item = np.where(impressions > 0, clicks / np.maximum(impressions, 1), log.clicks.mean())
    return {
        "zero": np.zeros(shape),
        "overall_mean": np.full(shape, log.clicks.mean()),
        "item_mean": np.broadcast_to(by_item, shape),
        "item_position_mean": rates(log, every, item_count, 0.0)[log.positions],
        "item_position_smoothed": rates(log, every, item_count, 20.0)[log.positions],
        "item_position_smoothed_cross_fitted": smoothed_by_half,
    }


def rates(log: Log, rows: np.ndarray, item_count: int, prior_rows: float) -> np.ndarray:
    """float64[3, items]: click rates of the rows, drawn to their overall mean."""
    mean = log.clicks[rows].mean()
    cells = log.positions[rows] * item_count + log.items[rows]
    impressions = np.bincount(cells, minlength=3 * item_count).reshape(3, -1)
    clicks = np.bincount(cells, weights=log.clicks[rows], minlength=3 * item_count).reshape(3, -1)
    weight = impressions + prior_rows
    rates: np.ndarray = np.where(weight > 0, (clicks + prior_rows * mean) / np.where(weight > 0, weight, 1), mean)
    return rates


@pytest.fixture(scope="module")
def draws() -> Draws:
    return made_up(np.random.default_rng(0), 3_000)


def made_up(random: np.random.Generator, count: int, *, model: float | None = None, sharp: float = 1.0) -> Draws:
    """Draws of three actions under a soft policy; the target prefers the first one the more, the sharper it is."""
    logged = random.dirichlet([4.0, 3.0, 2.0], size=count)
    actions = (logged.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    rewards = (random.random(count) < np.array([0.3, 0.2, 0.1])[actions]) * 10.0
    target = np.full((count, 3), (1 - sharp * 0.4) / 3) + np.array([sharp * 0.4, 0.0, 0.0])
    predicted = random.random((count, 3)) if model is None else np.full((count, 3), model)
    persons = random.integers(count // 3, size=count)
    return draws_of(rewards, actions, logged[np.arange(count), actions], target, predicted=predicted, persons=persons)


def test_without_a_reward_model_dr_is_ips_and_sndr_is_snips() -> None:
    draws = made_up(np.random.default_rng(1), 2_000, model=0.0)

    assert estimate("dr", draws) == pytest.approx(estimate("ips", draws))
    assert estimate("sndr", draws) == pytest.approx(estimate("snips", draws))


def test_a_constant_reward_model_leaves_snips_as_it_is() -> None:
    draws = made_up(np.random.default_rng(2), 2_000, model=7.0)

    assert estimate("sndr", draws) == pytest.approx(estimate("snips", draws))


def test_the_order_of_rows_and_the_names_of_persons_change_nothing() -> None:
    random = np.random.default_rng(3)
    count = 500
    actions, rewards = random.integers(2, size=count), random.random(count)
    target, persons = np.full((count, 2), 0.5), random.integers(100, size=count)
    order = random.permutation(count)

    straight = draws_of(rewards, actions, np.full(count, 0.3), target, persons=persons)
    shuffled = draws_of(
        rewards[order], actions[order], np.full(count, 0.3), target, persons=[f"P{persons[row]}" for row in order]
    )

    for name in ESTIMATORS:
        assert estimate(name, shuffled) == pytest.approx(estimate(name, straight), rel=1e-12)


def test_repeating_every_row_of_a_person_does_not_narrow_the_interval() -> None:
    random = np.random.default_rng(4)
    amounts, persons = random.normal(size=400), np.arange(400)

    once = mean_by_person(amounts, persons)
    five_times = mean_by_person(np.tile(amounts, 5), np.tile(persons, 5))

    assert five_times == pytest.approx(once)
    assert mean_by_person(np.tile(amounts, 5), np.arange(2_000)).standard_error < once.standard_error / 2


def test_an_interval_carried_by_few_persons_is_wider_than_a_normal_one() -> None:
    even = mean_by_person(np.tile([1.0, -1.0], 500), np.arange(1_000))
    few = mean_by_person(np.r_[np.zeros(990), np.full(10, 100.0)], np.arange(1_000))

    assert (even.high - even.low) / even.standard_error == pytest.approx(2 * 1.96, rel=0.01)
    assert (few.high - few.low) / few.standard_error > 2 * 2.4


@pytest.mark.parametrize(("freedom", "expected"), [(3, 3.1824), (5, 2.5706), (10, 2.2281), (30, 2.0423), (1e9, 1.9600)])
def test_students_quantile_is_that_of_the_tables(freedom: float, expected: float) -> None:
    assert policy_value._student_quantile(freedom) == pytest.approx(expected, rel=0.025 if freedom < 5 else 0.005)


def test_a_policy_differs_from_itself_by_exactly_nothing(draws: Draws) -> None:
    assert difference(draws, draws) == Estimate(0.0, 0.0, 0.0, 0.0)


def test_a_paired_difference_is_surer_than_the_two_values() -> None:
    one = made_up(np.random.default_rng(5), 4_000, sharp=1.0)
    other = made_up(np.random.default_rng(5), 4_000, sharp=0.9)

    gap = difference(one, other)

    assert gap.value == pytest.approx(estimate("dr", one).value - estimate("dr", other).value)
    assert gap.standard_error < estimate("dr", one).standard_error / 5


def test_a_difference_over_two_logs_is_refused(draws: Draws) -> None:
    with pytest.raises(ValueError, match="one log"):
        difference(draws, made_up(np.random.default_rng(9), 3_000))


def test_a_thin_log_gives_no_value_but_its_diagnostics() -> None:
    found = policy_value.policy_value(made_up(np.random.default_rng(6), 90))

    assert found.refused is not None and "draws of this policy" in found.refused
    assert found.dr is None and found.weights.effective_sample_size is not None


def test_draws_of_one_person_give_no_value_however_many_they_are() -> None:
    actions = np.arange(1_000) % 2
    draws = draws_of(
        actions, actions, np.full(1_000, 0.5), np.eye(2)[np.ones(1_000, dtype=int)], persons=["ada"] * 1_000
    )

    found = policy_value.policy_value(draws)

    assert found.refused is not None and "one person" in found.refused
    assert found.dr is None and found.ips is None


def test_rare_rewards_refuse_a_value_that_many_draws_seem_to_carry() -> None:
    random = np.random.default_rng(7)
    rewards = np.zeros(5_000)
    rewards[:8] = 1.0
    target = np.full((5_000, 2), 0.5)

    found = policy_value.policy_value(draws_of(rewards, random.integers(2, size=5_000), np.full(5_000, 0.5), target))

    assert found.refused is not None and "8.0 rewarded draws" in found.refused


def test_a_few_huge_rewards_that_carry_the_interval_are_warned_of() -> None:
    random = np.random.default_rng(10)
    rewards = random.random(2_000)
    rewards[:3] = 1_000.0
    target = np.full((2_000, 2), 0.5)

    found = policy_value.policy_value(draws_of(rewards, random.integers(2, size=2_000), np.full(2_000, 0.5), target))

    assert found.refused is None
    assert any("3.0 persons carry the interval" in warning for warning in found.warnings)


def test_a_good_log_gives_all_values_and_no_warning(draws: Draws) -> None:
    found = policy_value.policy_value(draws)

    assert (found.refused, found.warnings, found.draws, found.persons) == (None, (), 3_000, len(set(draws.persons)))
    assert all(value is not None for value in (found.ips, found.snips, found.dm, found.dr, found.sndr))


def test_wrong_probabilities_and_missing_support_are_warned_of() -> None:
    random = np.random.default_rng(8)
    actions = random.integers(2, size=2_000)
    target = np.tile([0.4, 0.4, 0.2], (2_000, 1))

    warnings = policy_value.policy_value(draws_of(random.random(2_000), actions, np.full(2_000, 0.9), target)).warnings

    assert any("mean weight is 0.444" in warning for warning in warnings)
    assert any("20.0% of the policy's choices" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"probabilities": [0.5, 0.0]}, "above 0"),
        ({"probabilities": [0.5]}, "one entry for each"),
        ({"actions": [0, 2]}, "0..1"),
        ({"rewards": [1.0, float("nan")]}, "finite"),
        ({"target": [[0.5, 0.5], [0.9, 0.2]]}, "sum to 1"),
        ({"target": [0.5, 0.5]}, "one shape"),
    ],
)
def test_a_log_that_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    sound = {"rewards": [1.0, 0.0], "actions": [0, 1], "probabilities": [0.5, 0.5], "target": [[0.5, 0.5]] * 2}

    with pytest.raises(ValueError, match=message):
        draws_of(**(sound | changed))


def test_a_share_of_nothing_has_no_value() -> None:
    with pytest.raises(MetricUndefined):
        ratio_by_person(np.ones(3), np.array([1.0, -1.0, 0.0]), np.arange(3))
