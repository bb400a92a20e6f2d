"""The same key gives the same decision: counted once, however many ask, and rendered through today's consent."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from decisioning.customer import PARTITION_COUNT
from decisioning.store.memory import MemoryStore
from decisioning.store.redis import RedisStore
from tests.api.desk import HERO, Desk
from tests.api.test_responses import offered, records
from tests.conftest import PATIENCE_MS
from tests.decisioning.bank import GOLD, SILVER

pytestmark = pytest.mark.anyio


def seen(answer: dict) -> dict:
    """An answer without its tokens, which are sealed anew each time and open to the same."""
    placements = [{**each, "event_token": None} for each in answer["placements"]]
    return {**answer, "placements": placements}


def patient(store: RedisStore) -> Desk:
    """On a busy machine fifty answers at once are late for a customer, but none the less right."""
    desk = Desk(store)
    desk.service.settings = replace(desk.service.settings, deadline_ms=PATIENCE_MS)
    return desk


async def test_fifty_identical_requests_at_once_are_one_decision(store: RedisStore):
    desk = patient(store)
    await desk.know()

    answers = await asyncio.gather(*(desk.ask("web.hero", "web.tile", idempotency_key="k") for _ in range(50)))

    assert [seen(each) for each in answers] == [seen(answers[0])] * 50
    assert not answers[0]["degraded"] and answers[0]["placements"][0]["action"] == GOLD
    assert [each["decision_id"] for each in await records(desk, "decision")] == [answers[0]["decision_id"]]
    (snapshot,) = await store.read(["C-1"])
    assert snapshot.state.draw_index == 1


async def test_fifty_requests_about_somebody_nobody_knew_are_one_decision_too(store: RedisStore):
    desk = patient(store)

    answers = await asyncio.gather(*(desk.ask(customer="new", idempotency_key="k") for _ in range(50)))

    assert len({each["decision_id"] for each in answers}) == 1
    assert len(await records(desk, "decision")) == 1


async def test_every_token_of_a_repeat_names_the_same_response():
    desk = Desk()
    await desk.know()
    first, second = [await desk.ask(idempotency_key="k") for _ in range(2)]

    told = [
        await desk.tell(event_token=each["placements"][0]["event_token"], outcome="clicked") for each in (first, second)
    ]

    assert [each.json()["status"] for each in told] == ["counted", "repeated"]


async def test_a_key_is_one_callers_own_and_of_one_customer():
    desk = Desk()
    for customer in ("C-1", "C-2"):
        await desk.know(customer)
    other_caller = desk.add_key("other", "decide")
    first = await desk.ask(idempotency_key="k")

    of_another_customer = await desk.ask(customer="C-2", idempotency_key="k")
    answer = await desk.http.post("/v1/decisions", json={**HERO, "idempotency_key": "k"}, headers=other_caller)

    assert len({each["decision_id"] for each in (first, of_another_customer, answer.json())}) == 3


async def test_a_body_that_is_only_written_otherwise_is_the_same():
    desk = Desk()
    await desk.know()
    body = {**HERO, "context": {"page": "loans"}, "idempotency_key": "k"}

    texts = [json.dumps(body), json.dumps(dict(reversed(body.items())), indent=2)]
    answers = [await desk.http.post("/v1/decisions", content=text) for text in texts]

    assert answers[0].json()["decision_id"] == answers[1].json()["decision_id"]


async def test_another_body_under_a_key_is_a_conflict_and_changes_nothing():
    desk = Desk()
    await desk.know()
    await desk.ask(idempotency_key="k")

    other = await desk.http.post("/v1/decisions", json={**HERO, "placements": ["web.tile"], "idempotency_key": "k"})

    assert other.status_code == 409 and other.json()["code"] == "conflict"
    assert len(await records(desk, "decision")) == 1


async def test_a_repeat_shows_what_the_decision_showed_though_the_lease_is_over():
    desk = Desk()
    await desk.know()
    first = await desk.ask(idempotency_key="k")
    await desk.tell(event_token=first["placements"][0]["event_token"], outcome="rejected")

    again = await desk.ask(idempotency_key="k")

    assert seen(again) == seen(first)
    assert (await desk.ask())["placements"][0]["lease_of"] is None  # a new draw: the promise is over


async def test_a_repeat_whose_record_has_left_the_store_shows_what_is_promised_and_counts_nothing():
    desk = Desk()
    await desk.know()
    await desk.ask(idempotency_key="k")
    for partition in range(PARTITION_COUNT):
        await desk.store.trim(partition, before="9999999999999-0")

    again = await desk.ask("web.hero", idempotency_key="k")
    other = await desk.http.post("/v1/decisions", json={**HERO, "placements": ["web.tile"], "idempotency_key": "k"})

    assert again["degraded"] and again["placements"][0]["action"] == GOLD
    assert again["placements"][0]["event_token"] is None
    assert await records(desk, "decision") == []
    assert other.status_code == 409


async def test_an_erased_customers_key_is_forgotten_with_them():
    desk = Desk()
    await desk.know()
    first = await desk.ask(idempotency_key="k")
    await desk.http.delete("/v1/customers/C-1")

    again = await desk.ask(idempotency_key="k")

    assert again["decision_id"] != first["decision_id"] and not again["profile_found"]


async def test_what_happened_once_says_nothing_that_lets_anybody_guess_whose_it_was():
    """Names and values are made with a customer's own key: who has history and a list of ids cannot try which fits."""
    names = []
    for _ in range(2):  # the same customer and the same requests, in two installations
        store = MemoryStore(lambda: 1_790_000_000_000)
        desk = Desk(store)
        await desk.ask(idempotency_key="k")
        await desk.tell(customer={"id": "C-1"}, action=GOLD, outcome="converted", idempotency_key="order-1")
        (record,) = await records(desk, "response")
        left = {entry.value.partition(":")[0] for entry in store._once.values()}
        names.append({key for _, key in store._once} | {record["response_id"]} | left)

    assert len(names[0]) == len(names[1]) == 5
    assert names[0].isdisjoint(names[1])


@pytest.mark.parametrize(
    "told",
    [
        ["clicked", "impression"],
        ["converted", "clicked", "accepted"],
        ["accepted", "impression", "rejected", "impression"],
    ],
)
async def test_responses_count_once_in_whatever_order_they_come(told):
    desk = Desk()
    token = (await offered(desk))["placements"][0]["event_token"]

    statuses = [(await desk.tell(event_token=token, outcome=each)).json()["status"] for each in told + told]

    once = ["counted" if each not in told[:at] else "repeated" for at, each in enumerate(told + told)]
    assert statuses == once
    (snapshot,) = await desk.store.read(["C-1"])
    remembered = [each.outcome for each in snapshot.state.interactions]
    assert sorted(remembered) == sorted({*told, "selected"})
    assert snapshot.state.lease == [] or not {"accepted", "converted", "rejected"} & set(told)


async def test_a_late_answer_leaves_a_later_promise_and_still_counts():
    desk = Desk()
    first = await offered(desk)
    token = first["placements"][0]["event_token"]
    await desk.tell(event_token=token, outcome="rejected")
    later = await desk.ask()

    told = await desk.tell(event_token=token, outcome="accepted", at="2020-01-01T00:00:00Z")

    assert told.json()["status"] == "counted"
    (snapshot,) = await desk.store.read(["C-1"])
    assert [(each.action, each.decision_id) for each in snapshot.state.lease] == [(GOLD, later["decision_id"])]
    assert len(await records(desk, "response")) == 2


async def test_a_response_by_decision_names_the_action_where_a_placement_showed_several():
    from tests.decisioning.test_count import listing

    desk = Desk(bank=listing())
    await desk.know()
    answer = await desk.ask("web.list")
    assert [each["rank"] for each in answer["placements"]] == [1, 2, 3]
    named = {"decision_id": answer["decision_id"], "placement": "web.list"}

    unsaid = await desk.tell(**named, outcome="clicked")
    told = [await desk.tell(**named, action=action, outcome="clicked") for action in (GOLD, SILVER, SILVER)]

    assert unsaid.status_code == 422 and unsaid.json()["where"] == "action"
    assert [each.json()["status"] for each in told] == ["counted", "counted", "repeated"]
    assert {each["action"] for each in await records(desk, "response")} == {GOLD, SILVER}
