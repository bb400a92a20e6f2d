"""A small bank for tests: a strategy as text, customers as keyword arguments, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Consent, Interaction, Profile, Snapshot, SourceFacts, State
from decisioning.decide import decide
from decisioning.interactions import DAY_MS
from decisioning.request import Decision, Request
from decisioning.scoring import Scorer, StatedScorer
from models import Scores

NOW_MS = 1_790_000_000_000
GOLD, SILVER, LOAN = "grow/cards/gold", "grow/cards/silver", "grow/loans/loan"
TIPS, ALERT = "nurture/brand/tips", "service/safety/alert"

FILES = {
    "strategy.yaml": """
name: small
currency: EUR
timezone: Europe/Budapest
languages: [en, hu]
language_attribute: customer.language
ranking: gross
""",
    "channels.yaml": """
web: {direction: inbound, lease_minutes: 60, contact_cost: 0.0}
email: {direction: outbound, lease_minutes: 240, contact_cost: 0.0}
""",
    "schema.yaml": """
purposes: [marketing, service]
customer:
  age: {type: int, min: 16, max: 120, source: crm, personal: true}
  tier: {type: string, enum: [classic, gold], source: crm}
  income: {type: double, min: 0, source: core}
  language: {type: string, source: crm}
  first_name: {type: string, source: crm, personal: true}
  suspicious: {type: bool, source: core}
context:
  page: {type: string}
""",
    "placements.yaml": """
web.hero: {channel: web, nothing_value: 0.5, fields: {headline: {type: text, required: true}}, fallback: brand}
web.tile: {channel: web, nothing_value: 0.5, fields: {headline: {type: text, required: true}}, fallback: brand}
email.hero: {channel: email, nothing_value: 0.5, fields: {headline: {type: text, required: true}}, fallback: brand}
""",
    "consents.yaml": """
web: {marketing: {absent: granted, basis: legitimate_interest}, service: {absent: granted, basis: contract}}
email: {marketing: {absent: granted, basis: legitimate_interest}, service: {absent: granted, basis: contract}}
""",
    "contact_policies.yaml": """
fatigue: {scope: group, outcomes: [selected], limit: 2, window_days: 7, hold_days: 7}
""",
    "content/blocks.yaml": """
brand: {headline: {en: "We are here for you", hu: "Itt vagyunk"}}
""",
    "actions/cards.yaml": """
issue: grow
group: cards
actions:
  gold:
    kind: offer
    action_value: 100.0
    purpose: marketing
    product: P-GOLD
    eligibility: ["customer.age >= 18"]
    applicability: ['history.count("accepted", "action", duration("8760h")) == 0']
    suitability: ["customer.income > 1000.0"]
    contact_policies: [fatigue]
    treatments:
      web:
        placements: [web.hero, web.tile]
        content: {headline: {en: "Gold, {{ customer.first_name | 'friend' }}", hu: "Arany"}}
      email: {placements: [email.hero], content: {headline: "Gold"}}
  silver:
    kind: offer
    action_value: 50.0
    purpose: marketing
    eligibility: ["customer.age >= 18"]
    treatments:
      web: {placements: [web.hero, web.tile], content: {headline: "Silver"}}
      email: {placements: [email.hero], content: {headline: "Silver"}}
""",
    "actions/loans.yaml": """
issue: grow
group: loans
actions:
  loan:
    kind: offer
    action_value: 80.0
    purpose: marketing
    eligibility: ['context.page == "loans"']
    treatments:
      web: {placements: [web.hero, web.tile], content: {headline: "Loan"}}
""",
    "actions/brand.yaml": """
issue: nurture
group: brand
actions:
  tips:
    kind: message
    brand_value: 0.8
    purpose: marketing
    treatments:
      web: {placements: [web.hero, web.tile], content: {headline: "Tips"}}
      email: {placements: [email.hero], content: {headline: "Tips"}}
""",
    "actions/safety.yaml": """
issue: service
group: safety
actions:
  alert:
    kind: message
    brand_value: 30.0
    purpose: service
    eligibility: ["customer.suspicious"]
    treatments:
      web: {placements: [web.hero, web.tile], content: {headline: "Please check your card"}}
""",
}

PROPENSITIES = {"default": 0.1, GOLD: 0.2}


def strategy(changes: Mapping[str, str] | None = None) -> Strategy:
    """The bank's strategy with some files replaced or added."""
    return load_bundle({path: text.encode() for path, text in {**FILES, **(changes or {})}.items()})


def customer(
    *,
    person: str = "p1",
    consents: Sequence[tuple[str, str, bool]] = (),
    history: Sequence[tuple[float, str, str, str]] = (),
    state: State | None = None,
    now_ms: int = NOW_MS,
    **attributes: Any,
) -> Snapshot:
    """A customer; history rows are (days ago, outcome, action, channel)."""
    known = {"age": 40, "tier": "classic", "income": 3000.0, "language": "en", "suspicious": False, **attributes}
    sources: dict[str, SourceFacts] = {}
    for name, value in known.items():
        if value is not None:
            source = "core" if name in ("income", "suspicious") else "crm"
            sources.setdefault(source, SourceFacts(now_ms, {})).attributes[name] = value
    if state is None:
        state = State(person_key=person, assignment_key=person, sealing_key="A" * 43 + "=")
        state.consents = [Consent(channel, purpose, granted, 0, 1) for channel, purpose, granted in consents]
        state.interactions = [Interaction(now_ms - int(ago * DAY_MS), *rest) for ago, *rest in history]
    return Snapshot("C-1", now_ms, 1, Profile(sources), state)


def ask(
    bank: Strategy,
    snapshot: Snapshot,
    *placements: str,
    propensities: Mapping[str, float] = PROPENSITIES,
    context: Mapping[str, Any] | None = None,
    decision_id: str = "d1",
    scorer: Scorer | None = None,
) -> Decision:
    """Decide; the channel is the placements' own. A scorer stands in for the stated propensities."""
    names = placements or ("web.hero",)
    request = Request(snapshot.customer_key, names[0].split(".")[0], names, context or {})
    return decide(request, snapshot, bank, scorer or StatedScorer(bank, propensities), decision_id=decision_id)


class GivenScorer(StatedScorer):
    """Propensities that are not sure, uplifts, and offers new to the model, as a test gives them."""

    def __init__(
        self,
        bank: Strategy,
        propensities: Mapping[str, float],
        *,
        optimism: float = 0.0,
        optimistic: Mapping[str, float] | None = None,
        uplifts: Mapping[str, float] | None = None,
        launches: Sequence[str] = (),
    ) -> None:
        super().__init__(bank, propensities)
        self.launches = np.array([action.key in launches for action in bank.actions])
        chance = self.scores({}).propensity
        bound = np.minimum(chance + optimism, 1.0)
        for key, each in (optimistic or {}).items():
            bound[bank.action_index[key]] = each
        none = {action.key: 0.0 if action.kind == "offer" else 1.0 for action in bank.actions}
        uplift = None if uplifts is None else np.array(list((none | dict(uplifts)).values()))
        self._scores = Scores(np.stack((chance, bound)), uplift)


def later(snapshot: Snapshot, decision: Decision, *, minutes: float = 1.0) -> Snapshot:
    """The customer after the decision was committed, some minutes on."""
    now_ms = snapshot.now_ms + int(minutes * 60_000)
    return replace(snapshot, state=decision.state, now_ms=now_ms, state_version=snapshot.state_version + 1)


def shown(decision: Decision) -> list[tuple[str, str | None]]:
    """Outcome and action of each placement."""
    return [(placed.outcome, placed.action) for placed in decision.placements]
