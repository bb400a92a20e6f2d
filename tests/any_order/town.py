"""Town: the strategies that random operations switch between, and what they say in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.decisioning.bank import ALERT, FILES, GOLD, LOAN, SILVER, TIPS, strategy

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
PROPENSITIES = {"default": 0.1, GOLD: 0.2, LOAN: 0.15}
PURPOSES = {GOLD: "marketing", SILVER: "marketing", LOAN: "marketing", TIPS: "marketing", ALERT: "service"}
PRODUCTS = {"P-GOLD": GOLD}
CHANNELS = ("web", "email")
LEASE_MS = {"web": HOUR_MS, "email": 4 * HOUR_MS}
HOME = "https://bank.example/"  # where a mail leads that shows nothing of its own
LINKS = {GOLD: f"{HOME}gold", SILVER: f"{HOME}silver"}
HEADLINES = {"Gold": GOLD, "Silver": SILVER, "Tips": TIPS}  # of mails

EXPLORING = (
    'exploration: {sacrifice: 0.3, issues: [grow, nurture]}\nholdout: {share: 0.05, salt: "any", gets: nothing}\n'
)
POLICIES = """
fatigue: {scope: group, outcomes: [selected], limit: 2, window_days: 7, hold_days: 7}
rest: {scope: action, outcomes: [rejected], limit: 1, window_days: 30, hold_days: 30}
seen: {scope: action, outcomes: [impression], limit: 3, window_days: 2, hold_days: 1}
post: {scope: channel, channel: email, outcomes: [selected], limit: 1, window_days: 1, hold_days: 1}
"""
GOLD_ACTION = """
  gold:
    kind: offer
    action_value: 100.0
    purpose: marketing
    product: P-GOLD
    eligibility: ["customer.age >= 18"]
    applicability: ['history.count("accepted", "action", duration("8760h")) == 0']
    suitability: ["customer.income > 1000.0"]
    contact_policies: [fatigue, rest, seen, post]
    volume_constraints: {gifts: 1, mails: 1}
    treatments:
      web:
        placements: [web.hero, web.tile, web.list]
        content: {headline: {en: "Gold, {{ customer.first_name | 'friend' }}", hu: "Arany"}}
      email:
        placements: [email.hero]
        content: {headline: "Gold", cta: {label: "See it", url: "https://bank.example/gold"}}
"""
SILVER_ACTION = """
  silver:
    kind: offer
    action_value: 90.0
    purpose: marketing
    eligibility: ["customer.age >= 18"]
    contact_policies: [fatigue, rest, seen, post]
    volume_constraints: {stock: 1, mails: 1}
    treatments:
      web: {placements: [web.hero, web.tile, web.list], content: {headline: "Silver"}}
      email:
        placements: [email.hero]
        content: {headline: "Silver", cta: {label: "See it", url: "https://bank.example/silver"}}
"""
VOLUME = """
stock: {limit: 5, unit: number, scope: action, period: total, spend_on: selected}
gifts: {limit: 2, unit: number, scope: action, period: total, spend_on: accepted}
mails: {limit: 3, unit: number, scope: channel, channel: email, period: day, spend_on: selected}
"""
CHANNELS_FILE = """
web: {direction: inbound, lease_minutes: 60, contact_cost: 0.0}
email: {direction: outbound, lease_minutes: 240, contact_cost: 0.0, quiet_hours: ["22:00", "07:00"]}
"""
LIST = """
web.list:
  {channel: web, nothing_value: 0.5, count: 3, fields: {headline: {type: text, required: true}}, fallback: brand}
"""


def without(text: str, name: str) -> str:
    """A file without one of its lines."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(name))


CARDS = "issue: grow\ngroup: cards\nactions:\n"
MAIL = """
email.hero:
  channel: email
  nothing_value: 0.5
  fields: {headline: {type: text, required: true}, cta: {type: link}}
  fallback: mail_brand
  default_url: https://bank.example/
"""
MAIL_BRAND = """
mail_brand: {headline: "We are here for you", cta: {label: "Visit us", url: "https://bank.example/"}}
"""
LISTED = {
    path: FILES[path].replace("[web.hero, web.tile]", "[web.hero, web.tile, web.list]")
    for path in ("actions/loans.yaml", "actions/brand.yaml", "actions/safety.yaml")
}
BASE = {
    **LISTED,
    "channels.yaml": CHANNELS_FILE,
    "placements.yaml": without(FILES["placements.yaml"], "email.hero") + LIST + MAIL,
    "content/blocks.yaml": FILES["content/blocks.yaml"] + MAIL_BRAND,
    "volume_constraints.yaml": VOLUME,
    "strategy.yaml": FILES["strategy.yaml"] + EXPLORING,
    "experiments.yaml": "always_on: {salt: a, arms: {full: 0.8, random: 0.2}}",
    "contact_policies.yaml": POLICIES,
    "actions/cards.yaml": CARDS + GOLD_ACTION + SILVER_ACTION,
}
UNLIMITED = {
    "actions/cards.yaml": CARDS + without(GOLD_ACTION + SILVER_ACTION, "    volume_constraints"),
    "volume_constraints.yaml": "",
}
CHANGES: dict[str, dict[str, str]] = {
    "base": {},
    "without_gold": {"actions/cards.yaml": CARDS + SILVER_ACTION, "volume_constraints.yaml": without(VOLUME, "gifts")},
    "unlimited": UNLIMITED,
    "tight": {**UNLIMITED, "contact_policies.yaml": POLICIES.replace("limit: 2", "limit: 1")},
    "mail_refused": {
        "consents.yaml": FILES["consents.yaml"].replace(
            "email: {marketing: {absent: granted, basis: legitimate_interest}",
            "email: {marketing: {absent: refused, basis: consent}",
        )
    },
}
VARIANTS = {name: strategy({**BASE, **changes}) for name, changes in CHANGES.items()}
KINDS = {action.key: action.kind for action in VARIANTS["base"].actions}


@dataclass(frozen=True)
class Limit:
    """A contact policy on what was selected."""

    scope: str
    limit: int
    window_ms: int
    hold_ms: int
    channel: str | None
    actions: frozenset[str]

    def counts_together(self, action: str, channel: str, other: str, other_channel: str) -> bool:
        """Whether one selection counts for another."""
        if self.channel is not None and (channel != self.channel or other_channel != self.channel):
            return False
        if self.scope == "group":
            return action.rpartition("/")[0] == other.rpartition("/")[0]
        return other_channel == channel

    def holds(self, times_ms: Iterable[int], now_ms: int) -> bool:
        """True when the limit is reached now, or was and its hold lasts."""
        times = sorted(times_ms)
        reached = [at for at in times if sum(at - self.window_ms < each <= at for each in times) >= self.limit]
        full_now = sum(now_ms - self.window_ms < each for each in times) >= self.limit
        return full_now or any(now_ms - at < self.hold_ms for at in reached)


def limits_of(variant: str) -> list[Limit]:
    """The limits on selections that a variant has."""
    cards = frozenset({GOLD, SILVER})
    fatigue = Limit("group", 1 if variant == "tight" else 2, 7 * DAY_MS, 7 * DAY_MS, None, cards)
    return [fatigue, Limit("channel", 1, DAY_MS, DAY_MS, "email", cards)]


STOCKED = {"base", "without_gold", "mail_refused"}  # the variants with budgets


def budgets_of(variant: str, action: str, channel: str, at_ms: int, *, is_join: bool) -> dict[str, int]:
    """Budget -> limit, of each that a selection takes one unit from; a join is asked for what its channel limits."""
    found = {}
    if variant in STOCKED and action == SILVER and not is_join:
        found["stock@grow/cards/silver"] = 5
    if variant in STOCKED and action in (GOLD, SILVER) and channel == "email":
        found[f"mails@email#{local(at_ms).date().isoformat()}"] = 3
    return found


def quiet_until(at_ms: int) -> datetime | None:
    """The end of the night in which nothing is mailed, when it is night."""
    now = local(at_ms)
    if 7 <= now.hour < 22:
        return None
    morning = now.replace(hour=7, minute=0, second=0, microsecond=0)
    return morning if now.hour < 7 else morning + timedelta(days=1)


def local(at_ms: int) -> datetime:
    """The time on the town's clocks."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo("Europe/Budapest"))


def consent_without_words(variant: str, channel: str) -> bool:
    """What the absence of a consent means."""
    return not (variant == "mail_refused" and channel == "email")


def actions_of(variant: str) -> frozenset[str]:
    """What a variant has."""
    return frozenset(PURPOSES) - ({GOLD} if variant == "without_gold" else set())


def verdict(
    action: str, attributes: Mapping[str, Any], context: Mapping[str, Any], accepted_ms: Iterable[int], now_ms: int
) -> bool | None:
    """What the rules say of an action; None where a value is missing. A clear no outweighs what is missing."""
    said = {GOLD: _of_gold, SILVER: _of_silver, LOAN: _of_loan, TIPS: _of_tips, ALERT: _of_alert}[action](
        attributes, context, any(now_ms - 365 * DAY_MS < each for each in accepted_ms)
    )
    if False in said:
        return False
    return None if None in said else True


def _of_gold(attributes: Mapping[str, Any], context: Mapping[str, Any], was_accepted: bool) -> list[bool | None]:
    income = attributes.get("income")
    return [_grown_up(attributes), not was_accepted, None if income is None else income > 1000.0]


def _of_silver(attributes: Mapping[str, Any], context: Mapping[str, Any], was_accepted: bool) -> list[bool | None]:
    return [_grown_up(attributes)]


def _of_loan(attributes: Mapping[str, Any], context: Mapping[str, Any], was_accepted: bool) -> list[bool | None]:
    return [context["page"] == "loans" if "page" in context else None]


def _of_tips(attributes: Mapping[str, Any], context: Mapping[str, Any], was_accepted: bool) -> list[bool | None]:
    return []


def _of_alert(attributes: Mapping[str, Any], context: Mapping[str, Any], was_accepted: bool) -> list[bool | None]:
    return [attributes.get("suspicious")]


def _grown_up(attributes: Mapping[str, Any]) -> bool | None:
    age = attributes.get("age")
    return None if age is None else age >= 18
