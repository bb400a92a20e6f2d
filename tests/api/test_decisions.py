"""POST /v1/decisions and GET /v1/decisions/{id}, over the in-memory store."""

from __future__ import annotations

import asyncio

import pytest

from decisioning.errors import StoreUnavailable
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Change
from tests.api.desk import HERO, Desk
from tests.decisioning.bank import FILES, GOLD, SILVER, TIPS, strategy

pytestmark = pytest.mark.anyio

EXPLORING = strategy({"strategy.yaml": FILES["strategy.yaml"] + "exploration: {sacrifice: 0.5}\n"})


async def test_an_offer_comes_ready_to_show_with_its_reasons_and_versions():
    desk = Desk()
    await desk.know()

    answer = await desk.ask()

    (placement,) = answer["placements"]
    assert placement["outcome"] == "offer" and placement["action"] == GOLD
    assert placement["content"] == {"headline": "Gold, friend"}
    assert placement["reasons"][0] == "won_arbitration"
    assert placement["selection_probability"] == 1.0 and placement["event_token"]
    assert answer["profile_found"] and not answer["degraded"] and not answer["holdout"]
    assert answer["versions"] == {
        "strategy": desk.service.live.current.versions.strategy,
        "model": "stated",
        "model_state": None,
    }


async def test_every_channel_gives_the_same_offer_until_it_is_answered():
    desk = Desk()
    await desk.know()
    web = await desk.ask("web.hero")
    mail = await desk.ask("email.hero")
    assert mail["placements"][0]["action"] == GOLD and mail["placements"][0]["lease_of"] == web["decision_id"]

    told = await desk.tell(event_token=mail["placements"][0]["event_token"], outcome="accepted")
    assert told.json()["status"] == "counted"

    for placement in ("web.hero", "email.hero"):
        after = (await desk.ask(placement))["placements"][0]
        assert after["action"] == SILVER


async def test_the_next_decision_after_an_answer_says_why_it_differs():
    desk = Desk()
    await desk.know()
    offered = await desk.ask()
    await desk.tell(event_token=offered["placements"][0]["event_token"], outcome="accepted")

    after = await desk.ask()

    assert f"answered:accepted:{GOLD}" in after["placements"][0]["reasons"]


async def test_withdrawn_consent_holds_on_the_very_next_answer():
    desk = Desk()
    await desk.know()
    await desk.ask("email.hero")

    put = await desk.http.put(
        "/v1/customers/C-1/consents", json=[{"channel": "email", "purpose": "marketing", "granted": False}]
    )
    assert put.status_code == 200

    assert (await desk.ask("email.hero"))["placements"][0]["outcome"] == "nothing"
    assert (await desk.ask("web.hero"))["placements"][0]["action"] == GOLD


async def test_a_dry_run_leaves_no_trace():
    desk = Desk()
    await desk.know()

    answer = await desk.ask(dry_run=True)

    assert answer["placements"][0]["outcome"] == "offer" and answer["placements"][0]["event_token"] is None
    (snapshot,) = await desk.store.read(["C-1"])
    assert snapshot.state.lease == [] and snapshot.state.draw_index == 0
    assert await desk.store.find_record(answer["decision_id"]) is None


async def test_an_unknown_customer_is_an_empty_profile():
    answer = await Desk().ask(customer="nobody")

    assert not answer["profile_found"]
    assert answer["placements"][0]["action"] == TIPS


async def test_the_same_idempotency_key_returns_the_stored_decision():
    desk = Desk()
    await desk.know()

    first = await desk.ask(idempotency_key="k")
    second = await desk.ask(idempotency_key="k")
    assert second["decision_id"] == first["decision_id"]
    assert second["placements"][0]["action"] == GOLD
    assert second["placements"][0]["content"] == first["placements"][0]["content"]

    other = await desk.http.post("/v1/decisions", json={**HERO, "placements": ["web.tile"], "idempotency_key": "k"})
    assert other.status_code == 409 and other.json()["code"] == "conflict"

    await desk.http.put(
        "/v1/customers/C-1/consents", json=[{"channel": "web", "purpose": "marketing", "granted": False}]
    )
    silenced = await desk.ask(idempotency_key="k")
    assert silenced["placements"][0]["outcome"] == "nothing" and silenced["placements"][0]["reasons"] == ["consent"]


async def test_channels_asking_at_once_get_one_offer():
    desk = Desk()
    for number in range(30):
        await desk.know(f"C-{number}")

    async def both(number: int) -> set[str]:
        answers = await asyncio.gather(
            *(desk.ask(name, customer=f"C-{number}") for name in ("web.hero", "email.hero", "web.tile"))
        )
        return {answer["placements"][0]["action"] for answer in answers}

    assert await asyncio.gather(*(both(number) for number in range(30))) == [{GOLD}] * 30


async def test_explain_names_the_rule_and_the_values_that_stopped_an_action():
    desk = Desk()
    await desk.know(income=10.0)
    decision = await desk.ask()

    explained = (await desk.http.get(f"/v1/decisions/{decision['decision_id']}")).json()

    assert explained["reproduced"] is True
    by_action = {each["action"]: each for each in explained["candidates"]}
    assert by_action[GOLD]["status"] == "dropped" and by_action[GOLD]["reason"] == "suitability"
    assert by_action[GOLD]["rule"] == "customer.income > 1000.0" and by_action[GOLD]["values"] == {
        "customer.income": 10.0
    }
    assert by_action[SILVER]["status"] == "placed" and by_action[SILVER]["rank"] == 1
    assert by_action[TIPS]["status"] == "ranked"


async def test_an_erased_customers_decision_is_gone():
    desk = Desk()
    await desk.know()
    decision = await desk.ask()

    assert (await desk.http.delete("/v1/customers/C-1")).json() == {"customer_id": "C-1", "erased": True}

    explained = await desk.http.get(f"/v1/decisions/{decision['decision_id']}")
    assert explained.status_code == 410 and explained.json()["code"] == "erased"
    assert (await desk.http.get("/v1/customers/C-1")).status_code == 404


class DownStore(MemoryStore):
    """A store that stopped answering."""

    async def read(self, customer_keys):
        raise StoreUnavailable("gone")


class SlowStore(MemoryStore):
    """A store that answers too late."""

    async def read(self, customer_keys):
        await asyncio.sleep(5)
        return await super().read(customer_keys)


@pytest.mark.parametrize("store", [DownStore, SlowStore])
async def test_trouble_inside_shows_the_brand_and_says_degraded(store):
    answer = await Desk(store()).ask("web.hero", "web.tile")

    assert answer["degraded"] is True and answer["arm_probability"] is None
    assert [each["content"] for each in answer["placements"]] == [{"headline": "We are here for you"}] * 2
    assert [each["reasons"] for each in answer["placements"]] == [["fallback"]] * 2


class RestlessStore(MemoryStore):
    """A customer who changes between a read and its commit, the first so many times."""

    def __init__(self, times=1_000):
        super().__init__()
        self.times = times

    async def commit(self, changes):
        self.times -= 1
        for change in changes if self.times >= 0 else ():
            (snapshot,) = await super().read([change.customer_key])
            await super().commit([type(change)(change.customer_key, snapshot.state_version, snapshot.state)])
        return await super().commit(changes)


async def test_after_two_lost_races_no_new_offer_is_placed_and_what_is_holds_for_a_second():
    desk = Desk(RestlessStore(2), EXPLORING)

    answer = await desk.ask("web.hero", customer="C-9")

    assert answer["degraded"] is False
    assert answer["placements"][0]["outcome"] == "message" and answer["placements"][0]["event_token"] is not None
    (snapshot,) = await desk.store.read(["C-9"])
    assert snapshot.state.holds["web.hero"].until_ms - snapshot.now_ms <= 1_000
    explained = await desk.http.get(f"/v1/decisions/{answer['decision_id']}")
    assert explained.json()["reproduced"] is True


async def test_three_lost_races_are_answered_without_a_record():
    desk = Desk(RestlessStore(), EXPLORING)

    answer = await desk.ask("web.hero", customer="C-9")

    assert answer["degraded"] is True
    assert answer["arm_probability"] is None and answer["placements"][0]["selection_probability"] is None
    assert answer["placements"][0]["outcome"] == "message" and answer["placements"][0]["event_token"] is None


class OnceLateStore(MemoryStore):
    """Somebody else writes the customer just before a decision's first commit."""

    has_lost = False

    async def commit(self, changes):
        if changes[0].records and not self.has_lost:
            self.has_lost = True
            await super().commit(await self.same(changes))
        return await super().commit(changes)

    async def same(self, changes):
        """Writes that leave every customer as it is."""
        snapshots = await self.read([each.customer_key for each in changes])
        return [Change(each.customer_key, each.state_version, each.state) for each in snapshots]


async def test_dry_runs_and_a_lost_race_show_what_is_drawn_then_and_use_up_no_draw():
    desk = Desk(OnceLateStore(), EXPLORING)
    await desk.know()

    answers = [await desk.ask(dry_run=True) for _ in range(3)] + [await desk.ask()]

    keys = ("action", "reasons", "selection_probability")
    cores = [[each["placements"][0][key] for key in keys] for each in answers]
    assert cores == [cores[0]] * 4 and 0.0 < cores[0][2] < 1.0
    (snapshot,) = await desk.store.read(["C-1"])
    assert desk.store.has_lost and snapshot.state.draw_index == 1
