"""What models may learn from, what an action's purpose keeps from them, and where draws may explore."""

from __future__ import annotations

from decisioning.catalog.strategy import Strategy
from tests.decisioning.bank import ALERT, FILES, GOLD, LOAN, SILVER, TIPS, strategy

SCHEMA = """
purposes: [marketing, service]
customer:
  age: {type: int, min: 16, max: 120, source: crm}
  tier: {type: string, enum: [classic, gold], source: crm}
  income: {type: double, source: core, allowed_for: [service]}
  language: {type: string, source: crm}
  first_name: {type: string, source: crm, feature: false}
  suspicious: {type: bool, source: core}
  since: {type: timestamp, source: core}
  owns: {type: list<string>, source: core}
context:
  page: {type: string, allowed_for: [marketing]}
"""
DERIVED = """
monthly_income: {expression: "customer.income / 12.0"}
name_length: {expression: "size(customer.first_name)"}
settled_at: {expression: 'customer.since + duration("720h")'}
is_loans_page: {expression: 'context.page == "loans"'}
"""


def featured() -> Strategy:
    """The bank with attributes of every type and derived ones; no rule reads the income, which only service may."""
    cards = FILES["actions/cards.yaml"].replace('    suitability: ["customer.income > 1000.0"]\n', "")
    return strategy({"schema.yaml": SCHEMA, "derived.yaml": DERIVED, "actions/cards.yaml": cards})


def exploring(settings: str) -> Strategy:
    return strategy({"strategy.yaml": FILES["strategy.yaml"] + f"exploration: {settings}\n"})


def actions_in(bank: Strategy, mask: int) -> set[str]:
    return {action.key for action in bank.actions if mask >> action.index & 1}


def test_a_features_kind_follows_from_its_type_and_what_is_kept_from_models_stays_so_when_derived():
    assert featured().features == {
        "context.page": "categorical",
        "customer.age": "numeric",
        "customer.income": "numeric",
        "customer.language": "categorical",
        "customer.since": "numeric",
        "customer.suspicious": "flag",
        "customer.tier": "categorical",
        "derived.is_loans_page": "flag",
        "derived.monthly_income": "numeric",
        "derived.settled_at": "numeric",
    }


def test_what_a_purpose_may_not_use_is_barred_from_its_actions_under_every_name():
    barred = featured().barred

    for action in (GOLD, SILVER, LOAN, TIPS):
        assert barred[action] == {"customer.income", "derived.monthly_income"}
    assert barred[ALERT] == {"context.page", "derived.is_loans_page"}


def test_without_limits_nothing_is_barred():
    assert strategy().barred == {}


def test_exploration_is_off_unless_stated_and_may_be_as_short_as_its_name():
    assert strategy().exploration is None
    everything = exploring("{}").exploration

    assert everything is not None
    assert (everything.sacrifice, everything.scale_min) == (0.05, 1.0)
    assert (everything.launch_share, everything.launch_impressions) == (0.01, 200)
    assert everything.covers("web.hero") and everything.covers("email.hero")


def test_exploration_covers_the_placements_and_issues_it_names():
    bank = exploring("{sacrifice: 0.1, placements: [web.hero], issues: [grow]}")

    assert bank.exploration is not None and bank.exploration.sacrifice == 0.1
    assert bank.exploration.covers("web.hero") and not bank.exploration.covers("web.tile")
    assert actions_in(bank, bank.exploration.mask) == {GOLD, SILVER, LOAN}


def test_service_and_mandatory_actions_are_no_experiment():
    mandatory = FILES["actions/loans.yaml"].replace("    purpose:", "    mandatory: true\n    purpose:")
    text = FILES["strategy.yaml"] + "exploration: {}\n"
    bank = strategy({"strategy.yaml": text, "actions/loans.yaml": mandatory})

    assert bank.exploration is not None
    assert actions_in(bank, bank.exploration.mask) == {GOLD, SILVER, TIPS}
