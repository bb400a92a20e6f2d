"""Training: learns what is there, admits what is not, refuses what would mislead."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from models import Feature, InvalidTable, LeakSuspected, evaluate
from models.golden import UNSEEN
from models.train import TrainedModel
from tests.models.tables import ACTIONS, FEATURES, Table, table


def test_propensities_come_near_the_truth(trained: TrainedModel) -> None:
    fresh = table(3_000, seed=1)

    chances = trained.model.propensities_of_table(fresh.columns, fresh.actions)

    assert evaluate.auc(fresh.labels, chances) > evaluate.auc(fresh.labels, fresh.chances) - 0.02
    assert np.abs(chances - fresh.chances).mean() < 0.05
    assert evaluate.calibration_slope(fresh.labels, chances) == pytest.approx(1.0, abs=0.15)


def test_serving_repeats_scikit_learn_on_missing_unseen_and_untrained(trained: TrainedModel) -> None:
    golden = trained.model.golden

    assert trained.model.parity_gap() <= 1e-9
    assert any(len(row.values) < len(FEATURES) for row in golden)
    assert any(row.values.get("customer.tier") == UNSEEN for row in golden)
    assert {row.action for row in golden} >= {*ACTIONS, f"grow/cards/{UNSEEN}", f"{UNSEEN}/{UNSEEN}/{UNSEEN}"}


def test_no_customer_of_the_table_is_among_the_golden_rows(trained: TrainedModel, contacts: Table) -> None:
    incomes = set(contacts.columns["customer.income"])

    assert incomes.isdisjoint(row.values.get("customer.income") for row in trained.model.golden)


def test_the_same_table_gives_the_same_version(contacts: Table, trained: TrainedModel) -> None:
    assert contacts.trained(features=FEATURES[::-1]).model.version == trained.model.version


def test_an_action_with_few_rows_leans_on_its_group() -> None:
    contacts = table(3_000, actions=["grow/cards/gold", "grow/cards/platinum", "grow/loans/car"])
    for index in range(12):  # nobody of twelve accepted: far from proof that nobody ever will
        contacts.actions[index], contacts.labels[index] = "grow/cards/new", 0.0
    model = contacts.trained().model

    new, group = model.paired(["grow/cards/new", "grow/cards/untrained"]).scores(contacts.row(100)).propensity

    assert 0.3 * group < new < group


def test_one_action_alone_trains() -> None:
    model = table(2_000, actions=["grow/cards/gold"]).trained().model

    assert model.posterior.nodes == ("", "grow", "grow/cards", "grow/cards/gold")
    assert model.parity_gap() <= 1e-9


@pytest.mark.parametrize("common", [0.0, 1.0])
def test_a_rare_label_in_a_large_table_is_enough_to_train(common: float) -> None:
    contacts = table(24_000, actions=["grow/cards/gold"])
    contacts.labels[:] = common
    contacts.labels[::1_200] = 1.0 - common  # twenty rows

    trained = contacts.trained()

    rate = trained.model.propensities_of_table(contacts.columns, contacts.actions).mean()
    assert rate == pytest.approx(contacts.labels.mean(), abs=0.001)


def test_the_report_is_plain_data_about_rows_no_fit_has_seen(trained: TrainedModel, contacts: Table) -> None:
    report = json.loads(json.dumps(asdict(trained.report)))

    assert [action["action"] for action in report["actions"]] == sorted(ACTIONS)
    assert sum(action["figures"]["rows"] for action in report["actions"]) == len(contacts.labels)
    assert report["choices"]["converged"] == "yes"
    best = evaluate.auc_within(contacts.labels, contacts.chances, contacts.actions)
    assert 0.5 < report["overall"]["auc"] < best + 0.02
    assert report["overall"]["log_loss"] < report["base_rates"]["log_loss"]
    assert report["in_time"]["rows"] == len(contacts.labels) / 10


def test_without_an_order_nothing_is_said_about_time() -> None:
    assert table(1_000).trained().report.in_time is None


def test_trees_that_only_tell_the_times_apart_are_not_taken_for_the_times_to_come() -> None:
    # Good and bad times take turns, and an attribute tells which time it is: of no use for a time that is yet to come.
    random, day = np.random.default_rng(0), np.arange(2_000)
    chances = np.where(day // 200 % 2, 0.5, 0.1)
    contacts = Table(
        columns={"context.day": (day + 0.0).tolist(), "customer.age": random.normal(45, 15, 2_000).tolist()},
        actions=["grow/cards/gold"] * 2_000,
        labels=(random.random(2_000) < chances).astype(float),
        chances=chances,
    )
    features = [Feature("context.day", "numeric"), Feature("customer.age", "numeric")]

    for_now = contacts.trained(features=features).report.choices
    for_later = contacts.trained(features=features, order=day, validation="time").report.choices

    assert (for_now["chosen by validation"], for_now["form"]) == ("random", "linear with trees")
    assert (for_later["chosen by validation"], for_later["form"]) == ("time", "linear")


def test_rows_of_one_customer_do_not_vouch_for_each_other() -> None:
    # The label belongs to the customer, the attribute is only a name for the customer: nothing can be foreseen.
    random = np.random.default_rng(0)
    customers = np.repeat(np.arange(60), 50)
    accepts = (random.random(60) < 0.4).astype(float)
    contacts = Table(
        columns={"customer.name": [f"name {customer}" for customer in customers]},
        actions=["grow/cards/gold"] * len(customers),
        labels=accepts[customers],
        chances=np.full(len(customers), 0.4),
    )

    report = contacts.trained(features=[Feature("customer.name", "categorical")], clusters=customers).report

    assert report.overall.auc is not None
    assert report.overall.auc < 0.6


def test_a_feature_that_nearly_decides_the_label_is_refused_by_name() -> None:
    contacts = table(1_000)
    noise = np.random.default_rng(0).normal(0, 0.5, len(contacts.labels))
    columns = contacts.columns | {"customer.call_seconds": (contacts.labels + noise).tolist()}
    leaky = Table(columns, contacts.actions, contacts.labels, contacts.chances)
    features = [*FEATURES, Feature("customer.call_seconds", "numeric")]

    with pytest.raises(LeakSuspected, match=r"customer\.call_seconds \(AUC alone 0\.9") as refused:
        leaky.trained(features=features)

    assert list(refused.value.auc) == ["customer.call_seconds"]
    vouched = leaky.trained(features=features, known_before=["customer.call_seconds"])
    assert vouched.report.auc_alone["customer.call_seconds"] > 0.9


@pytest.mark.parametrize("column", ["categorical", "flag"])
def test_a_leak_is_found_in_every_kind_of_feature(contacts: Table, column: str) -> None:
    values = [("sold" if label else "open") if column == "categorical" else bool(label) for label in contacts.labels]
    leaky = Table(contacts.columns | {"customer.status": values}, contacts.actions, contacts.labels, contacts.chances)

    with pytest.raises(LeakSuspected, match=r"customer\.status"):
        leaky.trained(features=[*FEATURES, Feature("customer.status", column)])


def test_progress_is_told_from_encoding_to_describing() -> None:
    told: list[tuple[str, int, int]] = []

    table(1_000).trained(progress=lambda *step: told.append(step))

    whats = list(dict.fromkeys(what for what, _, _ in told))
    assert whats == [
        "encoding",
        "choosing priors",
        "choosing trees and priors",
        "calibrating",
        "fitting",
        "checking in time",
        "describing",
    ]
    assert all(0 <= done < total for _, done, total in told)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": [0.0, 1.0]}, "other lengths elsewhere"),
        ({"order": [1, 2, 3]}, "'order': 3"),
        ({"labels": np.full(4_000, 0.5)}, "labels must be 0 or 1"),
        ({"labels": np.zeros(4_000)}, "too few customers have a positive label: 0,"),
        ({"labels": np.ones(4_000)}, "too few customers have a negative label: 0,"),
        ({"clusters": np.zeros(4_000)}, "too few customers have a positive label: 1,"),
        ({"validation": "today"}, "validation 'today' is unknown. Known: random, time."),
        ({"validation": "time"}, "validation in time needs the time of each row"),
        ({"actions": ["gold"] * 4_000}, "'gold' is not of the form issue/group/action"),
    ],
)
def test_a_table_that_cannot_be_learnt_from_is_refused(contacts: Table, change: dict[str, Any], said: str) -> None:
    changed = Table(contacts.columns, contacts.actions, contacts.labels, contacts.chances)
    options = {name: change[name] for name in ("order", "clusters", "validation") if name in change}
    changed.labels = change.get("labels", changed.labels)
    changed.actions = change.get("actions", changed.actions)

    with pytest.raises(InvalidTable) as refused:
        changed.trained(**options)

    assert said in str(refused.value)


def test_the_report_prints_a_line_for_each_action_and_for_the_last_tenth_of_time(trained: TrainedModel) -> None:
    heading, *lines = str(trained.report).splitlines()

    assert "AUC" in heading
    assert [line.split("  ")[0] for line in lines] == [
        *sorted(ACTIONS),
        "all actions",
        "base rates only",
        "last tenth of time",
    ]
