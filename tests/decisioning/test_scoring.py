"""A model paired with a strategy: what it is asked, what it may not use, what counts as new, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from decisioning.catalog.strategy import Strategy
from decisioning.customer import SourceFacts
from decisioning.decide import prepare
from decisioning.errors import ModelRefused
from decisioning.learning.model_state import ModelState
from decisioning.request import Request
from decisioning.scoring import ModelScorer
from models import Posterior, PropensityModel
from models.features import Coded, FeatureEncoder, Numeric
from models.hierarchy import row_keys_of
from models.incremental import IncrementalModel
from models.propensity import PriorVariances
from tests.decisioning.bank import ALERT, FILES, GOLD, LOAN, SILVER, TIPS, ask, customer, strategy

DERIVED = """
cards_accepted: {expression: 'history.count("accepted", "group:grow/cards", duration("720h"))'}
days_since_contact: {expression: 'history.days_since("selected", "customer")'}
twice_as_old: {expression: 'customer.age * 2'}
known_since: {expression: 'customer.since + duration("24h")'}
"""
SCHEMA = FILES["schema.yaml"].replace("context:\n", "  since: {type: timestamp, source: crm}\ncontext:\n")


def number(path: str) -> Numeric:
    return Numeric(path, logarithmic=False, median=0.0, mean=0.0, sd=1.0, knots=())


def model(*paths: str, adds: Mapping[str, float] | None = None, unit: str = "label") -> PropensityModel:
    """Trained on two cards. Every number adds half its value to the logit; acting `adds` so much to the chance."""
    numbers = [number(path) for path in paths]
    encoder = FeatureEncoder([*numbers, Coded("channel", "categorical", ("email", "web"))])
    nodes = row_keys_of([GOLD, SILVER])
    means = np.zeros((len(nodes), encoder.width))
    means[0, 1 : 1 + len(numbers)] = 0.5
    posterior = Posterior(nodes, means, np.zeros_like(means))
    prior = PriorVariances((1.0, 1.0, 1.0), (0.1, 0.1, 0.1))
    effects = np.array([(adds or {}).get(node, 0.0) for node in nodes])
    uplift = None if adds is None else IncrementalModel(unit, encoder.width, nodes, effects, nothing=0.01)
    evidence = {GOLD: 100, SILVER: 100}
    return PropensityModel(encoder, None, posterior, prior, [], evidence, incremental=uplift)


def asked(bank: Strategy, scorer: ModelScorer, snapshot: Any) -> dict[str, Any]:
    """The feature values that a decision hands to the model."""
    request = Request("C-1", "web", ("web.hero",), {"page": "loans"})
    return prepare(request, snapshot, bank, scorer, decision_id="d").moment.values(scorer.features)


def chance(bank: Strategy, scorer: ModelScorer, action: str, **values: Any) -> float:
    return float(scorer.scores(values).propensity[bank.action_index[action]])


def test_a_model_is_given_what_follows_from_the_past_and_times_as_days():
    bank = strategy({"schema.yaml": SCHEMA, "derived.yaml": DERIVED})
    paths = ("customer.since", *(f"derived.{name}" for name in ("cards_accepted", "days_since_contact", "known_since")))
    scorer = ModelScorer(bank, model(*paths))
    snapshot = customer(history=[(5, "selected", GOLD, "web"), (3, "accepted", SILVER, "email")])
    crm: SourceFacts = snapshot.profile.sources["crm"]
    crm.attributes["since"] = "2026-09-11T14:13:20Z"

    assert asked(bank, scorer, snapshot) == {
        "channel": "web",
        "customer.since": 10.0,
        "derived.cards_accepted": 1,
        "derived.days_since_contact": 5.0,
        "derived.known_since": 9.0,
    }
    assert "derived.days_since_contact" not in asked(bank, scorer, customer())


def test_an_attribute_that_only_a_feature_reads_is_decoded_for_it():
    bank = strategy({"derived.yaml": "tier_length: {expression: 'size(customer.tier)'}"})
    scorer = ModelScorer(bank, model("derived.tier_length"))

    assert "customer.tier" not in bank.reads and "customer.tier" in scorer.reads
    assert asked(bank, scorer, customer())["derived.tier_length"] == 7


def test_an_attribute_that_a_purpose_may_not_use_changes_none_of_its_actions():
    limited = SCHEMA.replace("source: crm, personal: true}\n  tier", "source: crm, allowed_for: [service]}\n  tier")
    cards = FILES["actions/cards.yaml"].replace('    eligibility: ["customer.age >= 18"]\n', "")
    service = FILES["actions/safety.yaml"].replace("kind: message\n    brand_value", "kind: offer\n    action_value")
    files = {"schema.yaml": limited, "derived.yaml": DERIVED, "actions/cards.yaml": cards}
    bank = strategy(files | {"actions/safety.yaml": service})
    scorer = ModelScorer(bank, model("customer.age", "customer.income", "derived.twice_as_old"))

    for action, moves in ((GOLD, False), (LOAN, False), (ALERT, True)):
        old, young = (
            chance(bank, scorer, action, **{"customer.age": age, "derived.twice_as_old": 2 * age}) for age in (3, 1)
        )
        assert (old > young) is moves
    assert chance(bank, scorer, GOLD, **{"customer.income": 2.0}) > chance(bank, scorer, GOLD)


def test_what_was_learnt_since_training_moves_the_scores():
    bank, batch = strategy(), model("customer.income")
    moved = Posterior(batch.posterior.nodes, batch.posterior.means + 0.3, batch.posterior.variances + 0.04)
    state = ModelState(7, batch.version, moved, {}, {}, 0)

    before, after = (ModelScorer(bank, batch, each).scores({}) for each in (None, state))

    gold = bank.action_index[GOLD]
    assert after.propensity[gold] > before.propensity[gold]
    assert after.optimistic[gold] - after.propensity[gold] > before.optimistic[gold] - before.propensity[gold]


def test_an_offer_the_model_does_not_know_is_new_until_enough_have_seen_it():
    bank = strategy({"strategy.yaml": FILES["strategy.yaml"] + "exploration: {launch_impressions: 50}\n"})
    batch = model("customer.income")

    def new(impressions: dict[str, int] | None) -> set[str]:
        state = impressions and ModelState(1, batch.version, batch.posterior, impressions, {}, 0)
        launches = ModelScorer(bank, batch, state or None).launches
        return {action.key for action in bank.actions if launches[action.index]}

    assert new(None) == {LOAN}  # messages are never new: no model learns about them
    assert new({LOAN: 49, TIPS: 3}) == {LOAN}
    assert new({LOAN: 50}) == set()


def test_a_model_that_cannot_rank_incrementally_is_refused_with_the_way_out():
    bank = strategy({"strategy.yaml": FILES["strategy.yaml"].replace("gross", "incremental")})

    with pytest.raises(ModelRefused, match=r"has not learnt that. Train with rows of nothing.*ranking: gross"):
        ModelScorer(bank, model("customer.income"))
    with pytest.raises(ModelRefused, match=r"has learnt it in money.* Train with the strategy"):
        ModelScorer(bank, model("customer.income", adds={GOLD: 20.0}, unit="value"))


def test_an_incremental_strategy_is_given_what_its_model_learnt_that_acting_adds():
    bank = strategy({"strategy.yaml": FILES["strategy.yaml"].replace("gross", "incremental")})
    scorer = ModelScorer(bank, model("customer.income", adds={GOLD: -0.02, SILVER: 0.05}))

    (placed,) = ask(bank, customer(), scorer=scorer).placements

    assert (placed.action, placed.uplift) == (SILVER, 0.05)
    assert placed.priority == pytest.approx(0.05 * 50.0) and placed.propensity is not None


def test_a_number_that_is_a_text_here_is_refused_and_what_models_may_not_see_is_missing():
    secret = SCHEMA.replace("income: {type: double,", "income: {type: double, feature: false,")

    with pytest.raises(ModelRefused, match=r"customer\.tier is a text in small"):
        ModelScorer(strategy(), model("customer.tier"))
    scorer = ModelScorer(bank := strategy({"schema.yaml": secret}), model("customer.income", "customer.unheard_of"))
    assert asked(bank, scorer, customer()) == {"channel": "web"}


def test_a_state_of_another_model_is_refused():
    narrow, wide = model("customer.income"), model("customer.income", "customer.age")

    with pytest.raises(ModelRefused, match="width"):
        ModelScorer(strategy(), wide, ModelState(1, narrow.version, narrow.posterior, {}, {}, 0))
