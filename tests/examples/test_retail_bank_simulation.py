"""The simulated customers and their past: repeatable, within the schema, and drawn from the documented truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from decisioning.catalog.faults import Faults
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.catalog.yaml_text import plain, read_yaml
from decisioning.customer import Consent, Profile, Snapshot, SourceFacts, State
from decisioning.decide import decide
from decisioning.request import Request
from decisioning.volume import unspent
from examples.retail_bank import past
from examples.retail_bank.generate import generate, lines_of, write_history
from examples.retail_bank.past import ACTIONS
from examples.retail_bank.truth import OFFERS, true_propensity
from models import Scores

BANK = Path(__file__).parents[2] / "examples" / "retail_bank"
END = datetime(2026, 11, 1, tzinfo=UTC)
END_MS = int(END.timestamp()) * 1000
CHANNELS = {"web": "web.home.hero", "email": "email.hero", "call_center": "call_center.next_action"}

Bank = tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]


@pytest.fixture(scope="module")
def bank() -> Bank:
    return generate(seed=7, count=6000, end=END)


@pytest.fixture(scope="module")
def strategy() -> Strategy:
    return load_directory(BANK)


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, again, other = (generate(seed=seed, count=200, end=END)[0] for seed in (3, 3, 4))

    assert list(lines_of(first)) == list(lines_of(again))
    assert list(lines_of(first)) != list(lines_of(other))


def test_every_attribute_of_a_customer_fits_the_schema(bank: Bank, strategy: Strategy) -> None:
    known = {name.removeprefix("customer.") for name in strategy.schema.attributes if name.startswith("customer.")}
    seen = set()

    for customer in bank[0]:
        for name, value in customer.items():
            if name != "customer_id" and not name.startswith("consent."):
                strategy.schema.typed(f"customer.{name}", value)
                seen.add(name)

    assert seen == known


def test_past_contacts_follow_consent(bank: Bank) -> None:
    customers, contacts = bank
    consents = {customer["customer_id"]: customer.get("consent.email.marketing") for customer in customers}

    mailed = contacts["customer_id"][contacts["channel"] == "email"]

    assert {consents[customer_id] for customer_id in mailed} == {True}


def test_every_offer_is_accepted_by_some_and_refused_by_most(bank: Bank) -> None:
    contacts = bank[1]

    for action in ACTIONS:
        outcomes = contacts["outcome"][contacts["action"] == action]
        rate = np.mean(outcomes == "accepted")
        margin = 3.0 * np.sqrt(0.15 * 0.85 / len(outcomes))
        assert 0.01 - margin < rate < 0.15 + margin, action


def test_acceptances_are_drawn_from_the_truth_given_what_was_logged(bank: Bank) -> None:
    contacts = bank[1]
    action_index = np.array([ACTIONS.index(key) for key in contacts["action"]])

    for channel in CHANNELS:
        rows = np.flatnonzero(contacts["channel"] == channel)
        logged = {name: contacts[name][rows] for name in past.LOGGED}
        chances = true_propensity(logged, ACTIONS, channel, contacts["page"][rows])[
            np.arange(len(rows)), action_index[rows]
        ]
        accepted = np.sum(contacts["outcome"][rows] == "accepted")
        assert abs(accepted - chances.sum()) < 4.0 * np.sqrt(np.sum(chances * (1.0 - chances)))


def test_logged_probabilities_are_those_of_the_past_policy(bank: Bank) -> None:
    """Weighted by 1 / probability, contacts with an action that suits everybody count everybody once."""
    contacts = bank[1]
    is_salary_asked = (contacts["salary_account"] == 0.0) & (contacts["in_arrears"] == 0.0) & (contacts["age"] >= 18.0)

    weights = (
        1.0
        / contacts["logging_probability"][is_salary_asked & (contacts["action"] == "retain/relationship/salary_switch")]
    )

    assert weights.sum() == pytest.approx(is_salary_asked.sum(), rel=0.15)


def test_knowing_the_truth_earns_more_than_twice_what_chance_earns(bank: Bank) -> None:
    customers = _columns(bank[0])
    worth = np.array([OFFERS[key].value for key in ACTIONS]) * true_propensity(customers, ACTIONS, "web")

    best_for_each, best_for_all, at_random = worth.max(axis=1).mean(), worth.mean(axis=0).max(), worth.mean()

    assert best_for_each > 1.5 * best_for_all
    assert best_for_each > 2.0 * at_random


def test_offer_message_and_nothing_all_occur_in_every_channel(bank: Bank, strategy: Strategy) -> None:
    neutral = replace(strategy, holdout=None, exploration=None, experiments=())
    customers = bank[0][:300]

    for channel, placement in CHANNELS.items():
        scorer = _TrueScorer(neutral, _columns(customers), channel)
        outcomes = Counter(
            _outcome(neutral, scorer.of(index), customer, channel, placement)
            for index, customer in enumerate(customers)
        )
        assert min(outcomes[name] for name in ("offer", "message", "nothing")) >= 0.05 * len(customers), (
            channel,
            outcomes,
        )


def test_the_mapping_names_what_the_history_and_the_schema_have(bank: Bank, strategy: Strategy, tmp_path: Path) -> None:
    write_history(bank[1], tmp_path / "history.parquet")
    described = duckdb.sql(f"DESCRIBE SELECT * FROM '{tmp_path}/history.parquet'").fetchall()
    types = {row[0]: row[1] for row in described}
    mapping = plain(read_yaml("mapping.yaml", (BANK / "mapping.yaml").read_bytes(), Faults()))

    for path, column in mapping["features"].items():
        attribute = strategy.schema.attributes[path]
        assert attribute.feature
        assert (
            types[column]
            == {"int": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}[attribute.type]
        )
    for name in ("customer", "action", "channel", "outcome", "time", "value", "logging_probability"):
        assert mapping[name]["column"] in types


class _TrueScorer:
    """The hidden truth in the place of a model."""

    features: frozenset[str] = frozenset()

    def __init__(self, strategy: Strategy, customers: dict[str, list[Any]], channel: str) -> None:
        self.reads = strategy.reads
        self.launches = np.zeros(len(strategy.actions), dtype=np.bool_)
        self._chances = np.ones((len(next(iter(customers.values()))), len(strategy.actions)))
        offers = [strategy.action_index[key] for key in OFFERS]
        self._chances[:, offers] = true_propensity(customers, list(OFFERS), channel)
        self._row = 0

    def of(self, row: int) -> _TrueScorer:
        self._row = row
        return self

    def scores(self, values: object) -> Scores:
        return Scores(self._chances[[self._row, self._row]], None)


def _outcome(strategy: Strategy, scorer: _TrueScorer, customer: dict[str, Any], channel: str, placement: str) -> str:
    profile, consents = Profile(), []
    for name, value in customer.items():
        if name.startswith("consent."):
            _, consent_channel, purpose = name.split(".")
            consents.append(Consent(consent_channel, purpose, value, END_MS, 1))
        elif name != "customer_id":
            source = strategy.schema.attributes[f"customer.{name}"].source
            profile.sources.setdefault(source, SourceFacts(END_MS, {})).attributes[name] = value
    state = State(person_key="p", assignment_key="p", sealing_key="", consents=consents)
    snapshot = Snapshot(customer["customer_id"], END_MS, 1, profile, state, unspent(strategy, now_ms=END_MS))
    request = Request(customer["customer_id"], channel, (placement,))
    return decide(request, snapshot, strategy, scorer, decision_id="simulated").placements[0].outcome


def _columns(customers: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = sorted(set().union(*customers))
    return {name: [customer.get(name) for customer in customers] for name in names}
