"""Rehearsal: what is to decide from now on decides for made-up customers first.

Much is made at its first use and kept: plans of what to decode, tariffs of a day, bytecode fit for its types. The first
customers after a start or a publication would wait for it, so a process is ready, or switches, after this. It happens
on the event loop, a decision at a time between requests; nothing is stored, counted or told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import orjson

from api.answer import Facts, answer_of
from api.deployed import Deployed
from api.tokens import Sealer
from decisioning.catalog.schema import Attribute, Schema
from decisioning.catalog.strategy import Channel, Strategy
from decisioning.customer import Consent, Interaction, Profile, Snapshot, SourceFacts, State
from decisioning.decide import decide
from decisioning.interactions import DAY_MS, append
from decisioning.records import decision_record
from decisioning.request import Request
from decisioning.store.packing import fresh_state, pack, unpack_profile, unpack_state
from decisioning.volume import unspent

LOG = logging.getLogger("nextbest")
ROUNDS = 4  # the interpreter fits a function to its types after a few calls
ACTIONS_REMEMBERED = 10
VALUES: dict[str, Any] = {"string": "x", "bool": True, "timestamp": "2026-01-01T00:00:00Z", "list<string>": ["x"]}


async def rehearse(deployed: Deployed, *, now_ms: int) -> None:
    """Decide for each placement and customer there can be; whatever goes wrong is told, and real requests will show."""
    sealer = Sealer({"k1": bytes(32)})
    try:
        for _ in range(ROUNDS):
            for request, snapshot in _cases(deployed.strategy, now_ms):
                state = _act(deployed, request, snapshot, sealer)
                await asyncio.sleep(0)
                _act(deployed, request, replace(snapshot, state=state), sealer)  # what it promised, rendered again
                await asyncio.sleep(0)
    except Exception:  # whatever it is, requests have their own fallback: a rehearsal must not keep a strategy away
        LOG.exception("the rehearsal of %s ended early", deployed.versions)


def _act(deployed: Deployed, request: Request, snapshot: Snapshot, sealer: Sealer) -> State:
    """Everything a request does between the store's two answers; the customer's next state, read back."""
    strategy, versions = deployed.strategy, deployed.versions
    decision = decide(request, snapshot, strategy, deployed.scorer, decision_id="000-0-rehearsal")
    decision_record(decision, request, snapshot, strategy, versions, key_id="rehearsal")
    holdout, arms, arm_probability = decision.holdout, decision.arms, decision.arm_probability
    person = (decision.decision_id, request.customer_key, snapshot.state.person_key, request.channel, decision.at_ms)
    facts = Facts(*person, snapshot.profile is not None, holdout, arms, arm_probability, versions)
    orjson.dumps(answer_of(facts, decision.placements, sealer), default=msgspec.to_builtins)
    return unpack_state(pack(decision.state))


def _cases(strategy: Strategy, now_ms: int) -> Iterator[tuple[Request, Snapshot]]:
    """Each placement alone and a channel's first few together, for a customer who is known and one who is not."""
    quotas = unspent(strategy, now_ms=now_ms)
    profile = unpack_profile(pack(_profile(strategy.schema, now_ms)))
    context = strategy.schema.context_of(_values(strategy.schema, "context"))
    for channel in strategy.channels.values():
        names = [each.name for each in strategy.placements.values() if each.channel == channel.name]
        for asked in (*((name,) for name in names), tuple(names[:3])):
            known, unknown = _state(strategy, channel, now_ms), fresh_state()
            for each, facts, seen in ((known, profile, context), (unknown, None, {})):
                snapshot = Snapshot("rehearsal", now_ms, 0, facts, each, quotas)
                if asked:
                    yield Request("rehearsal", channel.name, asked, seen), snapshot


def _state(strategy: Strategy, channel: Channel, now_ms: int) -> State:
    """Of a customer who consents to everything and has met some offers."""
    state = fresh_state()
    for purpose in strategy.schema.purposes:
        state.consents.append(Consent(channel.name, purpose, granted=True, at_ms=now_ms, version=1))
    for days, action in enumerate(strategy.actions[:ACTIONS_REMEMBERED]):
        append(state, Interaction(now_ms - (40 - days) * DAY_MS, "impression", action.key, channel.name))
    return state


def _profile(schema: Schema, now_ms: int) -> Profile:
    profile = Profile()
    for name, value in _values(schema, "customer").items():
        source = schema.attributes[f"customer.{name}"].source or "rehearsal"
        profile.sources.setdefault(source, SourceFacts(now_ms, {})).attributes[name] = value
    return profile


def _values(schema: Schema, root: str) -> dict[str, Any]:
    """Something for each attribute of a root, within its bounds."""
    return {each.short_name: _value(each) for path, each in schema.attributes.items() if path.startswith(f"{root}.")}


def _value(attribute: Attribute) -> Any:
    if attribute.enum is not None:
        word = min(attribute.enum)
        return word if attribute.type == "string" else [word]
    if attribute.type in ("int", "double"):
        bound = next(each for each in (attribute.min, attribute.max, 1) if each is not None)
        return int(bound) if attribute.type == "int" else float(bound)
    return VALUES[attribute.type]
