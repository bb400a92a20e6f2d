"""Loading: order never matters, versions name contents, and the arrays say what the text says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.load import load_bundle, load_directory, read_bundle
from decisioning.catalog.strategy import Strategy
from tests.catalog.strategies import SMALL, faults_of, loaded, small

ACTION_START = re.compile(r"^  (?=\w+:$)", re.MULTILINE)


def shuffled(files: Mapping[str, bytes], draw: st.DrawFn) -> dict[str, bytes]:
    """The same files in another order, their actions in another order, and under other names."""
    names = draw(st.permutations([path for path in files if path.startswith("actions/")]))
    renamed = {f"actions/{position}.yaml": files[path] for position, path in enumerate(names)}
    others = {path: content for path, content in files.items() if not path.startswith("actions/")}
    paths = draw(st.permutations([*renamed, *others]))
    return {path: reordered(renamed[path], draw) if path in renamed else others[path] for path in paths}


def reordered(content: bytes, draw: st.DrawFn) -> bytes:
    head, *actions = ACTION_START.split(content.decode())
    return "".join([head, *(f"  {action.rstrip()}\n" for action in draw(st.permutations(actions)))]).encode()


@st.composite
def shuffled_small(draw: st.DrawFn) -> dict[str, bytes]:
    return shuffled(small(), draw)


def meaning(strategy: Strategy) -> dict[str, Any]:
    """Everything decide reads, as comparable values; places and versions are what may differ."""
    return {
        "actions": [
            (
                each.key,
                each.kind,
                each.purpose,
                each.worth,
                each.lever,
                each.bypasses,
                each.start_ms,
                each.end_ms,
                each.policies,
            )
            for each in strategy.actions
        ],
        "hashes": strategy.action_hash.tolist(),
        "rules": [
            [[(rule.text, [clause.text for clause in rule.clauses]) for rule in rules] for rules in gate.rules]
            for gate in strategy.gates
        ],
        "contextual": strategy.gates[0].contextual,
        "placements": {
            name: (
                placement.candidates.mask,
                placement.candidates.action_index.tolist(),
            )
            for name, placement in strategy.placements.items()
        },
        "masks": (
            strategy.purpose_masks,
            strategy.masks_under,
            strategy.bypass_mask,
            strategy.offer_mask,
            strategy.calendar,
        ),
        "policies": [(each.name, each.mask) for each in strategy.contact_policies],
        "weights": [(each.when.text, each.weight, each.mask) for each in strategy.context_weights],
        "personas": [(each.name, each.body) for each in strategy.personas],
        "reads": strategy.reads,
    }


@settings(max_examples=15, deadline=None)
@given(shuffled_small())
def test_the_order_of_files_and_actions_changes_nothing(files: dict[str, bytes]) -> None:
    assert meaning(load_bundle(files)) == meaning(loaded())


def test_a_directory_and_its_bundle_are_the_same_strategy(tmp_path: Path) -> None:
    shutil.copytree(SMALL, tmp_path / "copy")
    (tmp_path / "copy" / ".git").mkdir()
    (tmp_path / "copy" / ".git" / "config").write_text("x")

    assert load_directory(tmp_path / "copy").version == load_bundle(read_bundle(SMALL)).version


def test_any_other_byte_is_another_version() -> None:
    files = small()
    version = load_bundle(files).version

    assert re.fullmatch("[0-9a-f]{64}", version)
    assert load_bundle(dict(reversed(files.items()))).version == version
    assert load_bundle(files | {"strategy.yaml": files["strategy.yaml"] + b"\n"}).version != version


@pytest.fixture(scope="module")
def strategy() -> Strategy:
    return loaded()


def test_actions_are_ordered_by_key(strategy: Strategy) -> None:
    keys = [action.key for action in strategy.actions]

    assert keys == sorted(keys)
    assert [action.index for action in strategy.actions] == list(range(len(keys)))
    assert all(strategy.action_index[key] == index for index, key in enumerate(keys))


def test_candidates_are_the_actions_with_a_treatment_there(strategy: Strategy) -> None:
    for name, placement in strategy.placements.items():
        expected = [
            action
            for action in strategy.actions
            if any(name in treatment.placements for treatment in action.treatments.values())
        ]
        candidates = placement.candidates
        assert candidates.action_index.tolist() == [action.index for action in expected]
        assert candidates.mask == sum(1 << action.index for action in expected)
        assert [each.action for each in candidates.treatments] == [action.key for action in expected]
    assert strategy.worth.dtype == strategy.lever.dtype == np.float64
    assert strategy.worth.tolist() == [action.worth for action in strategy.actions]
    assert strategy.lever.tolist() == [action.lever for action in strategy.actions]


def test_masks_say_what_the_actions_say(strategy: Strategy) -> None:
    def mask(*keys: str) -> int:
        return sum(1 << strategy.action_index[key] for key in keys)

    help_ = "service/account/arrears_help"
    assert strategy.purpose_masks["service"] == mask(help_)
    assert strategy.purpose_masks["risk"] == 0
    assert strategy.bypass_mask == strategy.mandatory_mask == mask(help_)
    assert strategy.offer_mask.bit_count() == 5
    assert strategy.masks_under["grow/loans"] == mask("grow/loans/personal_loan", "grow/loans/mortgage_talk")
    assert strategy.masks_under["grow"].bit_count() == 4
    assert strategy.masks_under[help_] == mask(help_)
    assert {each.name: each.mask for each in strategy.contact_policies} == {
        "cards_fatigue": mask("grow/cards/gold_upgrade", "grow/cards/cashback"),
        "email_frequency": mask("grow/cards/gold_upgrade"),
        "offer_rejected": mask("grow/cards/gold_upgrade"),
    }


def test_dates_are_the_strategys_midnights_and_ends_are_exclusive(strategy: Strategy) -> None:
    talk = strategy.actions[strategy.action_index["grow/loans/mortgage_talk"]]

    assert talk.start_ms == 1_767_222_000_000  # 2025-12-31T23:00:00Z, midnight in Budapest
    assert talk.end_ms == 1_798_758_000_000
    assert strategy.calendar.changes_ms == (talk.start_ms, talk.end_ms)


def test_everything_an_expression_asks_for_is_read(strategy: Strategy) -> None:
    assert {path for path in strategy.reads if "." in path} == {
        "customer.age", "customer.balance_avg_3m", "customer.card_tier", "customer.first_name", "customer.in_arrears",
        "customer.language", "customer.products", "customer.since", "context.page",
    }  # fmt: skip


def test_what_the_other_files_say(strategy: Strategy) -> None:
    assert (strategy.name, strategy.currency, strategy.ranking) == ("small-bank", "EUR", "gross")
    assert strategy.languages == ("en", "hu") and strategy.language_attribute == "language"
    assert strategy.channels["email"].lease_ms == 240 * 60_000
    assert strategy.consent_defaults["email", "marketing"].granted is False
    assert strategy.consent_defaults["web", "service"].basis == "contract"
    assert strategy.holdout is not None and strategy.holdout.share == 0.1
    assert [(each.name, each.arms) for each in strategy.experiments] == [("always_on", {"full": 0.95, "random": 0.05})]
    assert strategy.placements["web.home.hero"].fields["image"].size == (1200, 400)
    assert strategy.placements["call_center.next_action"].default_url == ""
    assert strategy.placements["web.home.tile"].one_per_group
    assert [strategy.placements[name].count for name in ("web.home.hero", "call_center.next_action")] == [1, 3]
    gold = strategy.actions[strategy.action_index["grow/cards/gold_upgrade"]]
    assert gold.behaviour["clicked"] == "positive" and gold.behaviour["rejected"] == "negative"
    assert gold.product == "gold_card" and gold.where == "actions/cards.yaml:4:3"
    assert strategy.personas[0].body["customer"]["age"] == 44


MUTANTS = [
    "null",
    "7",
    "-1",
    '"x"',
    "[]",
    "{}",
    "[1, a]",
    "{a: 1}",
    "true",
    ".nan",
    "[[a]]",
    '""',
    "{a: null}",
    "1e400",
    '"{{ 1 }}"',
]
VALUE = re.compile(r"(?<=: )(?:\[[^\[\]\n]*\]|\{[^{}\n]*\}|[^\n,{}\[\]]+)")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_strategy_with_any_other_values_loads_or_lists_its_faults(data: st.DataObject) -> None:
    files = small()
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from([path for path in files if path.endswith(".yaml")]))
        text = files[path].decode()
        value = data.draw(st.sampled_from(list(VALUE.finditer(text))))
        files[path] = (text[: value.start()] + data.draw(st.sampled_from(MUTANTS)) + text[value.end() :]).encode()

    for line in faults_of(files):
        assert re.match(r"[^:]+:\d+:\d+: .+", line)
