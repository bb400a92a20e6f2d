"""Cards and reports: every figure in its place, every name harmless, the same content in both forms."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from models import Feature, Posterior, PropensityModel
from models.card import Card, as_markdown, sections_of
from models.card_page import as_html
from models.drift import Profile, drift_of, profile_from, stability_index
from models.forest import Forest, Node
from models.hierarchy import row_keys_of
from models.influence import influences_of
from models.report import TrainingReport, gains_of, reliability_of
from models.train import TrainedModel
from tests.models.forests import boosted
from tests.models.tables import ACTIONS, FEATURES, Table, table

HOSTILE = '<script>alert("x")</script>|*_[a](b)&'
VOID = ("meta", "circle", "line")


@pytest.fixture(scope="module")
def report(trained: TrainedModel, contacts: Table) -> TrainingReport:
    older = table(3_000, seed=9)
    older.columns["customer.age"] = [None if age is None else age + 20 for age in older.columns["customer.age"]]
    chances = trained.model.propensities_of_table(older.columns, older.actions)
    drift = drift_of(
        trained.model,
        trained.report.profile,
        older.columns,
        actions=older.actions,
        labels=older.labels,
        chances=chances,
    )
    return replace(trained.report, drift=drift)


def card(report: TrainingReport, **changes: Any) -> Card:
    parts = {"version": "0123456789abcdef" * 4, "made_on": "21 November 2026", "features": FEATURES, "told": ()}
    return Card(**{**parts, "report": report, **changes})


class Outline(HTMLParser):
    """Tags, texts and attributes of a page; fails where a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_card_holds_every_section_in_both_forms(report: TrainingReport) -> None:
    page, text = Outline(as_html(card(report))), as_markdown(card(report))

    titles = [section.title for section in sections_of(card(report))]
    assert len(titles) == 8
    for title in titles:
        assert f"## {title}" in text
        assert title in page.text
    for action in ACTIONS:
        assert action in page.text
        assert action.replace("_", r"\_") in text


def test_a_card_shows_the_figures_of_the_report(report: TrainingReport) -> None:
    text = as_markdown(card(report))

    overall = report.overall
    assert overall.auc is not None
    assert overall.auc_interval is not None
    assert f"{overall.auc:.3f} ({overall.auc_interval.low:.3f}–{overall.auc_interval.high:.3f})" in text
    assert f"| its floor | {overall.calibration_floor:.4f} |" in text
    assert f"{overall.calibration_slope:.2f}" in text


def test_a_page_runs_and_loads_nothing_and_follows_light_and_dark(report: TrainingReport) -> None:
    page = as_html(card(report))

    outline = Outline(page)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(outline.tags)
    assert not any(name.startswith("on") or name in ("src", "href") for name, _ in outline.attributes)
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page


def test_curves_are_described_and_their_numbers_can_be_read(report: TrainingReport) -> None:
    outline = Outline(as_html(card(report)))

    assert outline.tags.count("svg") == outline.tags.count("details") == 2
    assert outline.attributes.count(("role", "img")) == 2
    assert len([value for name, value in outline.attributes if name == "aria-label" and value]) == 2
    assert outline.tags.count("circle") == len(report.reliability) + len(report.gains) + 1


def test_names_are_written_and_never_run(report: TrainingReport) -> None:
    hostile = replace(
        report,
        actions=tuple(replace(one, action=HOSTILE) for one in report.actions),
        choices={HOSTILE: HOSTILE},
    )
    asked = card(hostile, features=[Feature(HOSTILE, HOSTILE)], told=[HOSTILE])

    page, text = as_html(asked), as_markdown(asked)

    assert "<script" not in page
    assert HOSTILE in Outline(page).text
    assert "<script" not in text.replace(r"\<", "")
    assert HOSTILE not in text
    rows = [line for line in text.splitlines() if "alert" in line and line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in rows} <= {3, 4, 8}  # of tables of two, three, seven columns


def test_a_model_without_positives_and_without_a_predecessor_has_a_card_all_the_same(report: TrainingReport) -> None:
    empty = replace(
        report.overall, auc=None, auc_interval=None, calibration_slope=None, calibration_slope_interval=None
    )
    bare = replace(report, overall=empty, drift=None, in_time=None, gains=(), auc_alone={})

    text = as_markdown(card(bare))

    assert "| AUC | - |" in text
    assert "previous" not in text
    assert "What is the top of the list worth?" not in text
    Outline(as_html(card(bare)))


def test_the_reliability_curve_holds_all_rows_and_its_intervals_their_rates() -> None:
    random = np.random.default_rng(0)
    chances = random.random(1_000)
    labels = (random.random(1_000) < chances).astype(float)

    bins = reliability_of(labels, chances)

    assert sum(one.rows for one in bins) == 1_000
    assert len(bins) == 15
    assert all(one.interval.low - 1e-9 <= one.rate <= one.interval.high + 1e-9 for one in bins)
    assert [one.chance for one in bins] == sorted(one.chance for one in bins)


def test_gains_climb_to_everything() -> None:
    labels = np.array([1.0, 0.0] * 50)

    gains = gains_of(labels, np.linspace(1, 0, 100))

    assert [gain.captured for gain in gains] == sorted(gain.captured for gain in gains)
    assert (gains[-1].share, gains[-1].captured) == (1.0, pytest.approx(1.0))
    assert gains_of(np.zeros(10), np.zeros(10)) == ()


def test_what_moved_a_score_is_what_moves_the_truth(trained: TrainedModel) -> None:
    moved = {one.action: {each.attribute: each for each in one.moved_by} for one in trained.report.actions}

    for action in ACTIONS:
        by = moved[action]
        assert by["customer.age"].says == by["customer.income"].says == "more raises"
        assert by["customer.tier"].says == "gold raises"
        assert by["customer.owner"].says == "true raises"
        assert by["customer.age"].effect > by["customer.owner"].effect
        assert by["customer.age"].effect == pytest.approx(0.04 * 15, rel=0.25)  # log odds per year times years


def test_what_trees_read_is_named_by_its_attribute(trained: TrainedModel, contacts: Table) -> None:
    encoder, actions = trained.model.encoder, trained.model.actions
    age = int(encoder.columns_of("customer.age")[0])
    older_scores_more = [Node(age, 0.0, 1, 2, 0.0), Node(-1, 0.0, -1, -1, -1.0), Node(-1, 0.0, -1, -1, 1.0)]
    nodes = row_keys_of(actions)
    means = np.zeros((len(nodes), encoder.width + 1))
    means[0, -1] = 2.0  # nothing but the score of the trees
    model = PropensityModel(
        encoder,
        Forest.of_trees([older_scores_more]),
        Posterior(nodes, means, np.zeros_like(means)),
        trained.model.prior_variances,
        [],
        dict.fromkeys(actions, 1),
    )

    strongest, *others = influences_of(model, contacts.columns)[actions[0]]

    assert (strongest.attribute, strongest.says) == ("customer.age", "more raises")
    assert strongest.effect == pytest.approx(2.0, rel=0.05)  # half of the customers score 2, half -2
    assert [one.effect for one in others] == [0.0] * len(others)


def test_what_is_barred_for_an_action_has_moved_nothing_there() -> None:
    gold, platinum = ACTIONS[:2]
    few = table(2_000, seed=4, actions=[gold, platinum])

    report = few.trained(barred={gold: frozenset({"customer.age"})}).report

    moved = {one.action: {each.attribute: each.effect for each in one.moved_by} for one in report.actions}
    assert moved[gold].keys() == {"customer.income", "customer.tier", "customer.owner"}
    assert moved[platinum]["customer.age"] > 0.3


def test_trees_that_read_what_is_barred_move_nothing(trained: TrainedModel, contacts: Table) -> None:
    model = boosted(trained.model)
    assert model.forest is not None
    assert "customer.age" in {model.encoder.column_paths[column] for column in model.forest.columns}
    everywhere = dict.fromkeys(model.actions, frozenset({"customer.age"}))

    found = influences_of(model, contacts.columns, everywhere)

    linear = influences_of(trained.model, contacts.columns, everywhere)
    for action in model.actions:
        assert {each.attribute: each.effect for each in found[action]} == pytest.approx(
            {each.attribute: each.effect for each in linear[action]}
        )


def test_customers_who_became_older_are_noticed_and_others_are_not(report: TrainingReport) -> None:
    drift = report.drift

    assert drift is not None
    assert (drift.features["customer.age"] or 0.0) > 0.25
    for path in ("customer.income", "customer.owner", "customer.tier"):
        assert (drift.features[path] or 0.0) < 0.02
    assert drift.scores is not None
    assert drift.scores > 0.1


def test_the_same_model_on_its_own_table_has_not_moved(trained: TrainedModel, contacts: Table) -> None:
    chances = trained.model.propensities_of_table(contacts.columns, contacts.actions)

    drift = drift_of(
        trained.model,
        profile_from(json.loads(json.dumps(asdict(trained.report)))),
        contacts.columns,
        actions=contacts.actions,
        labels=contacts.labels,
        chances=chances,
    )

    assert max(index for index in drift.features.values() if index is not None) < 1e-9
    assert drift.scores is not None
    assert drift.scores < 0.02
    assert drift.auc is not None
    assert drift.auc.now == drift.auc.before
    assert drift.auc.difference == (0.0, 0.0)


def test_a_previous_model_is_scored_without_what_is_barred_now(trained: TrainedModel, contacts: Table) -> None:
    barred = dict.fromkeys(ACTIONS, frozenset({"customer.age"}))
    without_age = contacts.columns | {"customer.age": [None] * len(contacts.labels)}

    def auc_before(columns: dict[str, list[Any]], **options: Any) -> float:
        drift = drift_of(
            trained.model,
            trained.report.profile,
            columns,
            actions=contacts.actions,
            labels=contacts.labels,
            chances=contacts.chances,
            **options,
        )
        assert drift.auc is not None
        return drift.auc.before

    assert auc_before(contacts.columns, barred=barred) == auc_before(without_age, barred=barred)
    assert auc_before(contacts.columns, barred=barred) < auc_before(contacts.columns) - 0.02


def test_attributes_that_only_one_of_two_models_reads_have_no_index(trained: TrainedModel, contacts: Table) -> None:
    columns = {path: column for path, column in contacts.columns.items() if path != "customer.tier"}
    columns["customer.new"] = [1] * len(contacts.labels)

    drift = drift_of(
        trained.model,
        trained.report.profile,
        columns,
        actions=contacts.actions,
        labels=contacts.labels,
        chances=contacts.chances,
    )

    assert drift.features["customer.tier"] is drift.features["customer.new"] is None
    assert drift.features["customer.age"] is not None


@pytest.mark.parametrize("report", [{}, {"profile": None}, {"profile": {"features": {"a": ["x"]}, "score_edges": []}}])
def test_a_previous_report_without_a_profile_is_no_fault(report: dict[str, Any]) -> None:
    assert profile_from(report) is None


def test_without_a_profile_the_previous_model_is_still_compared(trained: TrainedModel) -> None:
    fresh = table(3_000, seed=5)

    drift = drift_of(
        trained.model, None, fresh.columns, actions=fresh.actions, labels=fresh.labels, chances=fresh.chances
    )

    assert set(drift.features.values()) == {None}
    assert drift.scores is None
    assert drift.log_loss is not None
    assert drift.log_loss.now < drift.log_loss.before  # the truth beats any model


def test_the_stability_index_is_zero_for_equals_and_symmetric() -> None:
    assert stability_index([0.5, 0.5], [0.5, 0.5]) == 0.0
    assert stability_index([0.2, 0.8], [0.6, 0.4]) == pytest.approx(stability_index([0.6, 0.4], [0.2, 0.8]))
    assert np.isfinite(stability_index([0.0, 1.0], [1.0, 0.0]))


def test_a_profile_says_where_every_customer_is(trained: TrainedModel) -> None:
    profile: Profile = trained.report.profile

    assert set(profile.features) == {feature.path for feature in FEATURES}
    for shares in profile.features.values():
        assert sum(shares) == pytest.approx(1.0)
    assert profile.features["customer.age"][0] == pytest.approx(0.1, abs=0.02)  # missing
    assert len(profile.score_edges) == 9
