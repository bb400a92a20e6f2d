"""Limits under concurrency: what counts `selected` is exact, whoever asks at once and in whatever channel."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from api import metrics
from decisioning.catalog.strategy import Strategy
from decisioning.customer import partition_of
from decisioning.draws import WAIT_MS
from decisioning.store.redis import RedisStore
from tests.api.desk import Desk
from tests.decisioning.bank import FILES, strategy

pytestmark = pytest.mark.anyio

TASK_COUNT, LIMIT = 64, 3
NAMES = ("amber", "blue", "coral", "dust", "ebony", "flint")
CHANNELS = ("web", "email")
PLACES = {"web": ["web.hero", "web.tile"], "email": ["email.hero"]}


def bank(scope: str) -> Strategy:
    """Six offers of one group that all channels can show, under one limit."""
    treatments = (
        "      web: {placements: [web.hero, web.tile], content: {headline: Here}}\n"
        "      email: {placements: [email.hero], content: {headline: Here}}\n"
    )
    offer = "    kind: offer\n    action_value: 10.0\n    purpose: marketing\n    contact_policies: [limit]\n"
    offer += "    treatments:\n"
    actions = "".join(f"  {name}:\n{offer}{treatments}" for name in NAMES)
    limit = f"limit: {{scope: {scope}, outcomes: [selected], limit: {LIMIT}, window_days: 1, hold_days: 1}}\n"
    files = {path: "issue: grow\ngroup: none\nactions: {}\n" for path in FILES if path.startswith("actions/")}
    return strategy(
        {
            **files,
            "actions/cards.yaml": f"issue: grow\ngroup: cards\nactions:\n{actions}",
            "contact_policies.yaml": limit,
        }
    )


async def press(desk: Desk, seed: int) -> None:
    """Ask anywhere and answer no, which ends the lease and makes room for the next offer."""
    rng = random.Random(seed)
    for _ in range(4):
        channel = rng.choice(CHANNELS)
        names = rng.sample(PLACES[channel], rng.randint(1, len(PLACES[channel])))
        answer = await desk.ask(*names)
        tokens = [each["event_token"] for each in answer["placements"] if each["outcome"] == "offer"]
        for token in filter(None, tokens):
            await desk.tell(event_token=token, outcome="rejected")


@pytest.mark.parametrize("scope", ["action", "group", "issue", "channel", "customer"])
async def test_a_limit_on_what_is_selected_is_reached_and_never_passed(store: RedisStore, scope: str) -> None:
    desk = Desk(store, bank(scope))
    desk.service.settings = replace(desk.service.settings, deadline_ms=60_000)  # late answers would count nothing
    await desk.know()
    lost_before = metrics.RACES_LOST._value.get()

    await asyncio.gather(*(press(desk, seed) for seed in range(TASK_COUNT)))
    await asyncio.sleep(WAIT_MS / 1000)  # the silences of those who lost two races
    for seed in range(LIMIT):  # alone, so that the limit is reached even where nearly everybody lost their races
        await press(desk, seed)

    entries = await store.log(partition_of("C-1"), after="0-0", limit=10_000)
    records = [json.loads(each.record.body) for each in entries]
    shown = [
        (record["channel"], placed)
        for record in records
        if record["kind"] == "decision"
        for placed in record["placements"]
        if placed["outcome"] == "offer"
    ]
    assert max(counted(scope, shown)) == LIMIT
    assert metrics.RACES_LOST._value.get() > lost_before


def counted(scope, shown) -> list[int]:
    """How often each thing under the limit was selected, by the records alone."""
    drawn = [(channel, placed["action"]) for channel, placed in shown if placed["lease_of"] is None]
    if scope == "action":
        return list(Counter(action for _, action in drawn).values())
    if scope == "channel":
        # A promise made in one channel is charged in another when it is first shown there.
        entered = {(channel, placed["lease_of"], placed["action"]) for channel, placed in shown if placed["lease_of"]}
        return list(Counter([channel for channel, _ in drawn] + [channel for channel, _, _ in entered]).values())
    return [len(drawn)]
