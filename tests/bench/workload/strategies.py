"""A bank's strategy as text, of any number of actions: rules of portfolio.py, the actions of models.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from random import Random

from tests.bench.workload.models import CHANNELS, actions
from tests.bench.workload.portfolio import (
    AMOUNTS,
    CHOICES,
    CONTEXT,
    COUNTS,
    FLAGS,
    RULES_PER_ACTION,
    choice,
    context,
    flag,
    number,
)

STRATEGY = "{name: generated, currency: EUR, timezone: Europe/Budapest, languages: [en], ranking: gross}\n"
FATIGUE = "fatigue: {scope: action, outcomes: [selected], limit: 2, window_days: 7, hold_days: 7}\n"
PLACEMENT = "{channel}.hero"


def strategy_files(random: Random, action_count: int) -> dict[str, str]:
    """The files of a strategy directory by path."""
    return {
        "strategy.yaml": STRATEGY,
        "channels.yaml": _each(CHANNELS, "{{direction: inbound, lease_minutes: 60, contact_cost: 0.0}}"),
        "schema.yaml": _schema(),
        "placements.yaml": _each(
            [PLACEMENT.format(channel=channel) for channel in CHANNELS],
            "{{channel: {channel}, nothing_value: 0.5, fields: {{headline: {{type: text, required: true}}}}, "
            "fallback: brand}}",
        ),
        "consents.yaml": _each(CHANNELS, "{{marketing: {{absent: granted, basis: legitimate_interest}}}}"),
        "contact_policies.yaml": FATIGUE,
        "content/blocks.yaml": "brand: {headline: We are here for you}\n",
        **_action_files(random, action_count),
    }


def _each(names: Iterable[str], text: str) -> str:
    return "".join(f"{name}: {text.format(channel=name.split('.')[0])}\n" for name in names)


def _schema() -> str:
    types = {
        **dict.fromkeys(COUNTS, "{type: int, source: core}"),
        **dict.fromkeys(AMOUNTS, "{type: double, source: core}"),
        **dict.fromkeys(FLAGS, "{type: bool, source: core}"),
        **dict.fromkeys(CHOICES, "{type: string, source: core}"),
    }
    attributes = "".join(f"  {name}: {text}\n" for name, text in types.items())
    return f"purposes: [marketing]\ncustomer:\n{attributes}context:\n" + "".join(
        f"  {name}: {{type: string}}\n" for name in CONTEXT
    )


def _action_files(random: Random, action_count: int) -> dict[str, str]:
    by_group: dict[str, list[str]] = defaultdict(list)
    for key in actions(action_count):
        group, _, name = key.rpartition("/")
        by_group[group].append(_action(random, name))
    return {
        f"actions/{group.replace('/', '_')}.yaml": "issue: {}\ngroup: {}\nactions:\n".format(*group.split("/"))
        + "".join(texts)
        for group, texts in by_group.items()
    }


def _action(random: Random, name: str) -> str:
    clauses = [random.choice([number, number, number, flag, choice, context])(random) for _ in range(RULES_PER_ACTION)]
    rules = ", ".join(f"'{clause}'" for clause in dict.fromkeys(clauses))
    treatments = ", ".join(
        f"{channel}: {{placements: [{PLACEMENT.format(channel=channel)}], content: {{headline: {name}}}}}"
        for channel in CHANNELS
    )
    return (
        f"  {name}:\n    kind: offer\n    action_value: {random.randint(5, 200)}.0\n    purpose: marketing\n"
        f"    eligibility: [{rules}]\n    contact_policies: [fatigue]\n    treatments: {{{treatments}}}\n"
    )
