"""The retail bank as its authors see it: it loads, its personas pass, everybody is spoken to in their language."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decisioning.catalog.faults import Faults
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.catalog.yaml_text import plain, read_yaml
from decisioning.personas import failures
from examples.retail_bank.truth import OFFERS

BANK = Path(__file__).parents[2] / "examples" / "retail_bank"
LANGUAGES = {"en", "hu", "de"}


@pytest.fixture(scope="module")
def strategy() -> Strategy:
    return load_directory(BANK)


def test_the_bank_has_a_wide_choice_of_offers_and_messages(strategy: Strategy) -> None:
    kinds = Counter(action.kind for action in strategy.actions)
    groups = {(action.issue, action.group) for action in strategy.actions}
    service = [action for action in strategy.actions if action.kind == "message" and action.purpose == "service"]

    assert kinds["offer"] >= 30
    assert kinds["message"] >= 10
    assert len(groups) >= 7
    assert len(service) >= 2


def test_every_persona_gets_what_its_author_expects(strategy: Strategy) -> None:
    assert len(strategy.personas) >= 6
    assert failures(strategy, now_ms=time.time_ns() // 1_000_000) == []


@pytest.mark.parametrize(
    "path", sorted([*BANK.glob("actions/*.yaml"), *BANK.glob("content/*.yaml")]), ids=lambda path: path.stem
)
def test_every_text_speaks_every_language(path: Path) -> None:
    tree = plain(read_yaml(path.name, path.read_bytes(), Faults()))

    texts = list(_texts(tree))

    assert texts
    assert [text for text in texts if set(text) != LANGUAGES] == []


def test_every_action_can_be_reached_by_a_placement_of_each_of_its_channels(strategy: Strategy) -> None:
    for action in strategy.actions:
        for channel, treatment in action.treatments.items():
            assert {strategy.placements[name].channel for name in treatment.placements} == {channel}


def test_the_simulation_knows_the_offers_of_the_strategy_and_their_worth(strategy: Strategy) -> None:
    offers = {action.key: action.worth for action in strategy.actions if action.kind == "offer"}

    assert offers == {key: offer.value for key, offer in OFFERS.items()}


def test_marketing_never_reads_the_risk_score(strategy: Strategy) -> None:
    risk_score = strategy.schema.attributes["customer.risk_score"]

    assert risk_score.allowed_for == {"risk", "service"}
    assert not risk_score.feature


def _texts(node: Any) -> Iterator[dict[str, str]]:
    """The mappings of languages to texts."""
    if isinstance(node, dict):
        if "en" in node:
            yield node
        for value in node.values():
            yield from _texts(value)
    if isinstance(node, list):
        for value in node:
            yield from _texts(value)
