"""`nextbest explain`: why a recorded decision came out as it did, in sentences, however long ago it was.

Reads the record from the store, else from history, and decides again with the versions it names. Personal values are
shown: who runs this can read the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import click
import orjson
from rich.console import Console

from api.deployed import Deployed
from api.explain import explained
from api.settings import Settings
from api.shelf import Shelf
from api.storage import opened
from decisioning.errors import NextbestError, StateMissing, VersionMissing
from decisioning.people import person_of
from decisioning.records import Versions
from decisioning.sentences import account_of
from decisioning.store.packing import parsed
from decisioning.store.protocol import Store

OUT = Console(highlight=False, soft_wrap=True)


@click.command("explain")
@click.argument("decision_id")
@click.option("--json", "as_json", is_flag=True, help="What GET /v1/decisions/{id} answers.")
def explain(decision_id: str, as_json: bool) -> None:
    """Why the decision DECISION_ID came out as it did; exits with 1 when nobody can know any more."""
    explanation, zone = asyncio.run(_explained(decision_id))
    if as_json:
        click.echo(orjson.dumps(explanation, option=orjson.OPT_INDENT_2).decode())
        return
    for line in told(explanation, zone):
        OUT.print(line, markup=False)


async def _explained(decision_id: str) -> tuple[dict[str, Any], ZoneInfo]:
    settings = Settings.from_environment()
    async with opened(settings) as store:
        body = await _record(decision_id, store, settings)
        person = await person_of(store, decision_id, body["person_key"])
        if person is None:
            raise NextbestError(f"{decision_id}: the customer of this decision was erased, and what it rested on too.")
        shelf = Shelf(store, settings.models_dir)
        explanation = await explained(body, person.state.sealing_key, partial(_deployed, shelf))
        strategy = await shelf.strategy(explanation["versions"]["strategy"])
    return explanation, ZoneInfo(strategy.timezone)


async def _record(decision_id: str, store: Store, settings: Settings) -> Mapping[str, Any]:
    packed = await store.find_record(decision_id)
    if packed is not None:
        return parsed(packed)  # type: ignore[no-any-return]  # JSON is of any type
    from decisioning.history.reader import find_decisions  # a serving process must not carry its library

    found = find_decisions(settings.history_dir, [decision_id])
    if decision_id not in found:
        raise NextbestError(f"{decision_id}: no such decision in the store or in {settings.history_dir}.")
    return found[decision_id]


async def _deployed(shelf: Shelf, versions: Versions) -> Deployed:
    try:
        return await shelf.deployed(versions)
    except StateMissing:
        raise
    except NextbestError as error:
        way_out = "The strategy has to be in the store, and the model's folder in NEXTBEST_MODELS_DIR."
        raise VersionMissing(f"this decision cannot be made again: {error} {way_out}") from error


def told(explanation: Mapping[str, Any], zone: ZoneInfo) -> Iterator[str]:
    """The decision, then what each candidate met, by placement."""
    versions = explanation["versions"]
    at = datetime.fromisoformat(explanation["at"]).astimezone(zone)
    state = f", its state {versions['model_state']}" if versions["model_state"] else ""
    yield (
        f"Decided on {at:%Y-%m-%d at %H:%M:%S} in {explanation['channel']} by strategy {versions['strategy'][:12]} "
        f"with model {versions['model'][:12]}{state}."
    )
    if explanation["reproduced"] is None:
        yield "This state is gone, so what follows is what gates said, and the recorded figures of what was chosen."
    elif explanation["reproduced"]:
        yield "Decided again from its record it comes out the same."
    else:
        yield "Decided again from its record it comes out DIFFERENTLY, so what follows is not what happened."
    for placed in explanation["placements"]:
        what = placed["outcome"] if placed["action"] is None else f"{placed['outcome']} {placed['action']!r}"
        rank = f" {placed['rank']}" if placed["rank"] > 1 else ""
        yield f"{placed['placement']}{rank}: {what} ({', '.join(placed['reasons'])})"
    for entry in explanation["candidates"]:
        yield f"  {account_of(entry, place=entry['slot'], zone=zone)}"
