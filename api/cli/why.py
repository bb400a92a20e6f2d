"""`nextbest why`: why a customer would or would not get an action now, in sentences.

Decides as a serving process does, with the strategy and model in force, and commits nothing. Each placement is asked
alone: what another one shows at the same time is no reason here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click
import orjson
from rich.console import Console

from api.keys import KeyRing
from api.live import Live
from api.settings import Settings
from api.storage import opened
from api.why import accounts
from decisioning.catalog.faults import known
from decisioning.catalog.strategy import Action, Strategy
from decisioning.errors import NextbestError
from decisioning.identifiers import checked_customer_id

OUT = Console(highlight=False, soft_wrap=True)


@click.command()
@click.argument("customer")
@click.argument("action")
@click.option("--channel", help="Ask in this channel alone; default: in each that can show the action.")
@click.option("--placement", help="Ask for this placement alone.")
@click.option(
    "--context", "context", multiple=True, metavar="NAME=VALUE", help="What the moment adds; may be repeated."
)
def why(customer: str, action: str, channel: str | None, placement: str | None, context: tuple[str, ...]) -> None:
    """Why CUSTOMER would or would not get ACTION now; reads only."""
    asyncio.run(_why(customer, action, channel, placement, context))


async def _why(
    customer: str, action_key: str, channel: str | None, placement: str | None, context: Sequence[str]
) -> None:
    settings = Settings.from_environment()
    async with opened(settings) as store:
        live = Live(store, settings.models_dir, KeyRing(demo=False))
        await live.refresh()
        if live.current is None:
            raise NextbestError(
                "no strategy or no model is in force. `nextbest publish DIR` and `nextbest train` put them there."
            )
        (snapshot,) = await store.read([checked_customer_id(customer)], quotas=True)
    deployed = live.current.for_person(snapshot.state.assignment_key)
    strategy, versions = deployed.strategy, deployed.versions
    action = _action(strategy, action_key)
    places = _places(strategy, action, channel, placement)
    typed = context_of(strategy, context)
    OUT.print(f"{customer}, strategy {versions.strategy[:12]}, model {versions.model[:12]}:", markup=False)
    if snapshot.profile is None:
        OUT.print("Nothing is known of this customer, whose profile is taken as empty.")
    for sentences in accounts(deployed, snapshot, action, places, typed):
        OUT.print(sentences, markup=False)


def _action(strategy: Strategy, key: str) -> Action:
    if key not in strategy.action_index:
        raise NextbestError(f"unknown action {key!r}. {known(key, strategy.action_index)}")
    return strategy.actions[strategy.action_index[key]]


def _places(strategy: Strategy, action: Action, channel: str | None, placement: str | None) -> dict[str, list[str]]:
    """Channel -> the placements to ask for, among those that the action has a treatment for."""
    places: dict[str, list[str]] = {}
    for name, treatment in action.treatments.items():
        names = [each for each in treatment.placements if placement in (None, each)]
        if names and channel in (None, name):
            places[name] = names
    if not places:
        here = ", ".join(each for treatment in action.treatments.values() for each in treatment.placements)
        raise NextbestError(f"{action.key!r} has no treatment there. It can be shown in: {here}.")
    return places


def context_of(strategy: Strategy, pairs: Sequence[str]) -> dict[str, Any]:
    """The moment's attributes from `name=value`, typed by the schema. Raises InvalidAttribute."""
    raw: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise NextbestError(f"--context {pair!r} is no NAME=VALUE.")
        attribute = strategy.schema.attributes.get(f"context.{name}")
        raw[name] = text if attribute is None or attribute.type in ("string", "timestamp") else _json(text)
    return strategy.schema.context_of(raw)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text  # the schema says what it should have been
