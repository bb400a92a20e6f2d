"""Customers and consents: typed by the schema, effective on the next request."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from decisioning.customer import DayCount
from decisioning.history.load import load_customers
from decisioning.interactions import DAY_MS
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Change
from tests.api.desk import HERO, Desk
from tests.decisioning.bank import FILES, GOLD, NOW_MS, SILVER, strategy

pytestmark = pytest.mark.anyio


class Clock:
    """The store's clock, moved by hand."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


async def test_a_patched_attribute_counts_on_the_next_decision():
    desk = Desk()
    await desk.know(income=10.0)
    assert (await desk.ask("email.hero", dry_run=True))["placements"][0]["action"] == SILVER

    patched = await desk.http.patch("/v1/customers/C-1", json={"attributes": {"income": 5000.0}})
    assert patched.json()["sources"]["core"]["attributes"]["income"] == 5000.0

    assert (await desk.ask("email.hero", dry_run=True))["placements"][0]["action"] == GOLD


async def test_a_word_about_one_attribute_does_not_make_old_ones_look_fresh():
    clock = Clock()
    bank = strategy(
        {
            "schema.yaml": FILES["schema.yaml"].replace(
                "income: {type: double,", "income: {type: double, stale_after_days: 30,"
            )
        }
    )
    desk = Desk(MemoryStore(clock), bank)
    await desk.know()
    clock.now_ms += 31 * DAY_MS

    await desk.http.patch("/v1/customers/C-1", json={"attributes": {"suspicious": False}})
    assert (await desk.ask(dry_run=True))["placements"][0]["action"] == SILVER

    patched = await desk.http.patch("/v1/customers/C-1", json={"attributes": {"income": 3000.0}})
    assert patched.json()["sources"]["core"]["attributes"] == {"income": 3000.0, "suspicious": False}
    assert (await desk.ask(dry_run=True))["placements"][0]["action"] == GOLD


async def test_old_interactions_are_told_by_their_day():
    desk = Desk()
    (snapshot,) = await desk.store.read(["C-1"])
    count = DayCount(NOW_MS // DAY_MS, "impression", GOLD, "web", 3, NOW_MS)
    await desk.store.commit([Change("C-1", 0, replace(snapshot.state, day_counts=[count]))])

    known = (await desk.http.get("/v1/customers/C-1")).json()

    told = {
        "outcome": "impression",
        "action": GOLD,
        "channel": "web",
        "times": 3,
        "last_at": "2026-09-21T14:13:20.000Z",
    }
    assert known["interaction_counts"] == [{"day": "2026-09-21", **told}]


async def test_null_forgets_an_attribute():
    desk = Desk()
    await desk.know()

    patched = await desk.http.patch("/v1/customers/C-1", json={"attributes": {"age": None}})

    assert "age" not in patched.json()["sources"]["crm"]["attributes"]
    assert (await desk.ask(explain=True))["placements"][0]["outcome"] == "message"


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_load_that_began_before_does_not_bring_a_forgotten_attribute_back(is_known, tmp_path):
    clock = Clock()
    desk, bank = Desk(MemoryStore(clock)), strategy()
    if is_known:
        await desk.know()
    clock.now_ms += 60_000
    patched = (await desk.http.patch("/v1/customers/C-1", json={"attributes": {"age": None}})).json()
    path = tmp_path / "customers.csv"
    path.write_text("customer_id,age,tier\nC-1,41,gold\n")

    said = {"schema": bank.schema, "store": desk.store, "channels": bank.channels, "at_ms": NOW_MS + 30_000}
    await load_customers([path], **said, rejects_path=tmp_path / "rejects.csv", progress=lambda done, total: None)

    crm = (await desk.http.get("/v1/customers/C-1")).json()["sources"]["crm"]
    assert crm["attributes"]["tier"] == "gold"
    for each in (crm, patched["sources"]["crm"]):
        assert "age" not in each["attributes"] and "age" not in each["times"]


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"agee": 4}, "age"),
        ({"age": "forty"}, "whole number"),
        ({"age": 3}, "minimum"),
        ({"age": True}, "whole number"),
        ({"tier": "tin"}, "classic"),
        ({"agee": None}, "age"),
        ({}, "length"),
    ],
)
async def test_an_attribute_that_breaks_its_schema_is_refused_with_the_reason(attributes, says):
    answer = await Desk().http.patch("/v1/customers/C-1", json={"attributes": attributes})

    assert answer.status_code == 422
    assert says in answer.json()["message"]


async def test_a_consent_names_known_channels_and_purposes():
    desk = Desk()
    for body in (
        [{"channel": "fax", "purpose": "marketing", "granted": True}],
        [{"channel": "web", "purpose": "fun", "granted": True}],
    ):
        answer = await desk.http.put("/v1/customers/C-1/consents", json=body)
        assert answer.status_code == 422 and answer.json()["where"].startswith("[0].")


async def test_an_older_statement_does_not_undo_a_newer_one():
    desk = Desk()
    await desk.http.put(
        "/v1/customers/C-1/consents", json=[{"channel": "web", "purpose": "marketing", "granted": False}]
    )

    older = {"channel": "web", "purpose": "marketing", "granted": True, "at": "2020-01-01T00:00:00Z"}
    answer = await desk.http.put("/v1/customers/C-1/consents", json=[older])

    assert [each["granted"] for each in answer.json()["consents"]] == [False]


async def test_a_consent_dated_ahead_does_not_shadow_the_withdrawal_that_follows():
    desk = Desk()
    ahead = datetime.now(UTC) + timedelta(minutes=4)
    granted = {"channel": "web", "purpose": "marketing", "granted": True, "at": ahead.strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert (await desk.http.put("/v1/customers/C-1/consents", json=[granted])).status_code == 200

    withdrawn = [{"channel": "web", "purpose": "marketing", "granted": False}]
    answer = await desk.http.put("/v1/customers/C-1/consents", json=withdrawn)

    assert [each["granted"] for each in answer.json()["consents"]] == [False]


async def test_keys_open_only_what_their_scopes_say_and_only_so_often():
    desk = Desk()
    decide_only = desk.add_key("decider", "decide", per_second=3)

    assert (await desk.http.get("/v1/customers/C-1", headers=decide_only)).status_code == 403
    assert (
        await desk.http.post("/v1/decisions", json=HERO, headers={"Authorization": "Bearer nobody"})
    ).status_code == 401
    assert (await desk.http.post("/v1/decisions", json=HERO, headers={"Authorization": ""})).status_code == 401
    statuses = [(await desk.http.post("/v1/decisions", json=HERO, headers=decide_only)).status_code for _ in range(6)]
    assert statuses[:2] == [200, 200] and statuses[-1] == 429


@pytest.mark.parametrize(
    "asked",
    [
        {"host": "evil.example:8080"},  # a page's own name, which leads to this machine
        {"host": "127.0.0.1.evil.example"},
        {"host": "[::1"},
        {"host": "localhost", "x-forwarded-for": "10.0.0.9"},  # somebody else, through a proxy here
        {"host": "localhost", "via": "1.1 proxy"},
    ],
)
async def test_the_demo_key_opens_nothing_under_another_name_or_through_a_proxy(asked):
    desk = Desk()
    await desk.know()

    assert (await desk.http.get("/v1/customers/C-1", headers={"host": "[::1]:8080"})).status_code == 200
    assert (await desk.http.get("/v1/customers/C-1", headers=asked)).status_code == 401


async def test_the_demo_key_opens_nothing_from_elsewhere_or_outside_the_demo():
    desk = Desk()
    desk.http._transport.client = ("10.0.0.7", 1)
    assert (await desk.http.post("/v1/decisions", json=HERO)).status_code == 401

    desk.http._transport.client = ("127.0.0.1", 1)
    desk.keys.demo = False
    assert (await desk.http.post("/v1/decisions", json=HERO)).status_code == 401
