"""The benchmark on public tables: its mappings fit, its splits keep people apart, and a broken promise is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decisioning.history.mapping import read_mapping
from decisioning.history.training import read_training
from examples.benchmarks.measure import AUC_BEHIND_MAX, FOLD_COUNT, MAPPINGS, Case, Result, cases, row
from models.evaluate import Interval
from models.report import figures_of

DATA = Path(__file__).parents[2].parent / "shared/data"


def judged(case: Case, *, noise: float = 0.0) -> Result:
    """As if the truth had been foreseen, up to some noise, and a peer were exactly as good."""
    random = np.random.default_rng(0)
    logits = random.normal(size=4_000)
    labels = (random.random(4_000) < 1 / (1 + np.exp(-logits))).astype(float)
    chances = 1 / (1 + np.exp(-logits * (1 + noise)))
    figures = figures_of(labels, chances, np.full(4_000, "grow/cards/gold"))
    assert figures.auc is not None
    return Result(case, figures, "logistic", figures.auc, Interval(-0.01, 0.01), "linear")


@pytest.fixture(scope="module")
def coupon() -> Case:
    if not DATA.is_dir():
        pytest.skip(f"the shared data are not at {DATA}")
    (case,) = cases("invehicle_coupon", DATA)
    return case


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_mapping_reads_every_row_of_its_table(name: str) -> None:
    files = list((DATA / name).glob("*.csv.gz"))
    if not files:
        pytest.skip(f"the shared data of {name} are not at {DATA}")

    table = read_training(files, read_mapping(MAPPINGS[name]))

    assert (table.excluded, table.invalid) == ({}, {})
    assert 0.05 < table.labels.mean() < 0.6


def test_every_deal_scores_every_row_once_by_models_that_never_met_its_person(coupon: Case) -> None:
    people = np.asarray(coupon.table.persons)
    for deal in coupon.deals:
        assert len(deal) == FOLD_COUNT
        assert sorted(np.concatenate([held_out for _, held_out in deal])) == list(range(len(people)))
        assert all(not set(people[seen]) & set(people[held_out]) for seen, held_out in deal)


def test_in_time_nothing_that_is_scored_came_before_what_was_learnt() -> None:
    if not DATA.is_dir():
        pytest.skip(f"the shared data are not at {DATA}")
    for case in cases("bank_marketing", DATA):
        if case.validation == "time":
            order = case.table.order
            assert order is not None
            ((seen, held_out),) = case.deals[0]
            assert order[seen].max() < order[held_out].min()


def test_a_good_result_breaks_no_promise_and_a_bad_one_breaks_each(coupon: Case) -> None:
    good, shrill = judged(coupon), judged(coupon, noise=0.5)
    behind = replace(good, peer_auc=good.peer_auc + 2 * AUC_BEHIND_MAX)
    later = replace(shrill, case=replace(coupon, validation="time"))

    assert good.failures == []
    assert [failure.split()[0] for failure in behind.failures] == ["AUC"]
    assert [" ".join(failure.split()[:2]) for failure in shrill.failures] == ["calibration error", "calibration slope"]
    assert later.failures == []
    assert row(good).count("|") == 9
