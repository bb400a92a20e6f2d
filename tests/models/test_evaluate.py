"""Figures: closed forms, scikit-learn as a twin, and laws over random rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from models import MetricUndefined, evaluate

# Few distinct chances, so that ties are common.
ROWS = st.lists(st.tuples(st.booleans(), st.integers(1, 19)), min_size=2, max_size=60)
LAW = settings(max_examples=150, deadline=None)


def columns(rows: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([float(label) for label, _ in rows])
    assume(0 < labels.sum() < len(labels))
    return labels, np.array([chance / 20 for _, chance in rows])


@given(ROWS)
@LAW
def test_figures_agree_with_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    labels, chances = columns(rows)

    assert evaluate.auc(labels, chances) == pytest.approx(metrics.roc_auc_score(labels, chances))
    precision = metrics.average_precision_score(labels, chances)
    assert evaluate.average_precision(labels, chances) == pytest.approx(precision)
    assert evaluate.brier(labels, chances) == pytest.approx(metrics.brier_score_loss(labels, chances))
    assert evaluate.log_loss(labels, chances) == pytest.approx(metrics.log_loss(labels, chances))


@given(ROWS, st.randoms())
@LAW
def test_the_order_of_rows_changes_no_figure(rows: list[tuple[bool, int]], random: object) -> None:
    labels, chances = columns(rows)
    order = np.random.default_rng(random.randint(0, 9)).permutation(len(rows))  # type: ignore[attr-defined]

    for figure in (evaluate.auc, evaluate.average_precision, evaluate.calibration_error):
        assert figure(labels[order], chances[order]) == pytest.approx(figure(labels, chances), abs=1e-6)
    assert evaluate.gains(labels[order], chances[order]) == pytest.approx(evaluate.gains(labels, chances))


@given(ROWS, st.randoms())
@LAW
def test_the_order_of_rows_changes_no_slope(rows: list[tuple[bool, int]], random: object) -> None:
    labels, chances = columns(rows)
    order = np.random.default_rng(random.randint(0, 9)).permutation(len(rows))  # type: ignore[attr-defined]
    positives, negatives = chances[labels == 1], chances[labels == 0]

    if positives.min() >= negatives.max() or positives.max() <= negatives.min():
        with pytest.raises(MetricUndefined, match=r"differ|without exception"):
            evaluate.calibration_slope(labels, chances)
    else:
        slope = evaluate.calibration_slope(labels, chances)
        assert evaluate.calibration_slope(labels[order], chances[order]) == pytest.approx(slope, abs=1e-6)


@given(ROWS)
@LAW
def test_auc_reads_only_the_order_of_scores(rows: list[tuple[bool, int]]) -> None:
    labels, chances = columns(rows)

    assert evaluate.auc(labels, chances**3) == pytest.approx(evaluate.auc(labels, chances))
    assert evaluate.auc(labels, -chances) == pytest.approx(1 - evaluate.auc(labels, chances))
    assert evaluate.auc(1 - labels, chances) == pytest.approx(1 - evaluate.auc(labels, chances))


@given(ROWS, st.floats(0.01, 1.0))
@LAW
def test_gains_of_the_whole_list_are_its_average_and_no_share_captures_more_than_all(
    rows: list[tuple[bool, int]], share: float
) -> None:
    labels, chances = columns(rows)

    everyone, some = evaluate.gains(labels, chances, share=1.0), evaluate.gains(labels, chances, share=share)

    assert everyone.top == pytest.approx(everyone.average) == pytest.approx(labels.mean())
    assert everyone.lift == pytest.approx(1.0)
    assert 0.0 <= some.captured <= 1.0


def test_equal_scores_at_the_edge_of_the_top_tenth_count_in_proportion() -> None:
    labels = [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]

    gains = evaluate.gains(labels, [0.5] * 10)

    assert gains.top == pytest.approx(0.2)
    assert gains.lift == pytest.approx(1.0)


def test_pooled_auc_flatters_what_auc_within_actions_does_not() -> None:
    actions = ["a"] * 50 + ["b"] * 50
    labels = [1] * 40 + [0] * 10 + [1] * 10 + [0] * 40
    base_rates = [0.8] * 50 + [0.2] * 50

    assert evaluate.auc(labels, base_rates) == pytest.approx(0.8)
    assert evaluate.auc_within(labels, base_rates, actions) == 0.5


def test_auc_within_leaves_out_actions_that_compare_nothing() -> None:
    assert evaluate.auc_within([1, 0, 1, 1], [0.9, 0.1, 0.3, 0.2], ["a", "a", "b", "b"]) == 1.0


def test_chances_that_are_right_on_average_have_no_calibration_error() -> None:
    chances = np.repeat([0.1, 0.5, 0.9], 10)
    labels = np.concatenate([[1] + [0] * 9, [1] * 5 + [0] * 5, [1] * 9 + [0]])

    assert evaluate.calibration_error(labels, chances) == pytest.approx(0.0)
    assert evaluate.calibration_error(labels, np.full(30, 0.7)) == pytest.approx(0.2)


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_the_calibration_slope_undoes_a_spread(spread: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(-1, 1, 40_000)
    labels = (random.random(40_000) < 1 / (1 + np.exp(-logits))).astype(float)
    too_sure = 1 / (1 + np.exp(-logits * spread))

    assert evaluate.calibration_slope(labels, too_sure) == pytest.approx(1 / spread, rel=0.05)


@pytest.mark.parametrize("chances", [[0.5] * 4, [0.1, 0.1 + 1e-12, 0.1, 0.1]])
def test_one_chance_for_everybody_has_no_calibration_slope(chances: list[float]) -> None:
    with pytest.raises(MetricUndefined, match="chances that differ"):
        evaluate.calibration_slope([0, 1, 0, 1], chances)


def test_the_interval_of_a_mean_is_the_one_of_the_textbook() -> None:
    chances = np.random.default_rng(1).normal(0.5, 0.1, 2_000)

    interval = evaluate.interval(lambda values: float(values.mean()), chances, draws=2_000)

    half = 1.96 * chances.std() / np.sqrt(2_000)
    assert interval.low == pytest.approx(chances.mean() - half, abs=half / 8)
    assert interval.high == pytest.approx(chances.mean() + half, abs=half / 8)


def test_repeated_rows_of_one_customer_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(2).normal(0.5, 0.1, 200)
    customers = np.arange(200)

    def mean(values: np.ndarray) -> float:
        return float(values.mean())

    once = evaluate.interval(mean, values, clusters=customers)
    nine_times = evaluate.interval(mean, np.tile(values, 9), clusters=np.tile(customers, 9))

    assert nine_times == pytest.approx(once)


@pytest.mark.parametrize(
    "figure", [evaluate.auc, evaluate.average_precision, evaluate.calibration_slope, evaluate.gains, evaluate.brier]
)
def test_a_figure_without_a_value_says_so(figure: object) -> None:
    empty = figure is evaluate.brier

    with pytest.raises(MetricUndefined):
        figure([] if empty else [0, 0, 0], [] if empty else [0.1, 0.2, 0.3])  # type: ignore[operator]


@pytest.mark.parametrize(("labels", "chances"), [([1, 0], [0.5]), ([1, 2], [0.5, 0.5]), ([1, 0], [0.5, float("nan")])])
def test_rows_that_cannot_be_scored_are_refused(labels: list[int], chances: list[float]) -> None:
    with pytest.raises(ValueError, match="labels"):
        evaluate.auc(labels, chances)


def test_an_interval_over_too_few_positives_is_refused() -> None:
    with pytest.raises(MetricUndefined, match="too few"):
        evaluate.interval(evaluate.auc, [1.0] + [0.0] * 3, [0.9, 0.1, 0.2, 0.3], clusters=[0, 1, 1, 1])


@pytest.mark.parametrize(("row_count", "rate"), [(500, 0.3), (8_000, 0.1)])
def test_the_floor_is_the_calibration_error_of_true_chances(row_count: int, rate: float) -> None:
    random = np.random.default_rng(3)
    chances = random.beta(2, 2 / rate - 2, row_count)

    errors = [evaluate.calibration_error(random.random(row_count) < chances, chances) for _ in range(200)]

    assert evaluate.calibration_floor(chances) == pytest.approx(np.mean(errors), rel=0.06)


def test_the_floor_of_certain_chances_is_zero() -> None:
    assert evaluate.calibration_floor([0.0, 1.0, 1.0, 0.0]) == 0.0


def test_the_floor_repeats_itself() -> None:
    chances = np.random.default_rng(4).random(300)

    assert evaluate.calibration_floor(chances) == evaluate.calibration_floor(chances)
