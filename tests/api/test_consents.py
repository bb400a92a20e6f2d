"""Consents over HTTP: who says what since when, one customer at a time or many, obeyed at once on every path."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from api.schemas import LawfulBasis
from decisioning.catalog.layout import LAWFUL_BASES
from decisioning.consent import Statement, taken
from decisioning.customer import Consent, partition_of
from decisioning.history.reader import open_history
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Change
from tests.api.desk import HERO, Desk
from tests.decisioning.bank import FILES, GOLD, TIPS, strategy
from tests.history.test_worker import until, working

pytestmark = pytest.mark.anyio

NO = {"channel": "web", "purpose": "marketing", "granted": False}
YES = {**NO, "granted": True}
CONSENTS = "/v1/customers/C-1/consents"


async def records_of(desk: Desk, customer: str = "C-1", kind: str = "consent") -> list[dict]:
    entries = await desk.store.log(partition_of(customer), after="0-0", limit=1000)
    records = [json.loads(each.record.body) for each in entries]
    return [each for each in records if each["kind"] == kind]


async def put(desk: Desk, *statements: dict, customer: str = "C-1") -> dict:
    answer = await desk.http.put(f"/v1/customers/{customer}/consents", json=list(statements))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_bases_of_the_wire_are_those_of_a_strategy():
    assert get_args(LawfulBasis) == LAWFUL_BASES


async def test_a_consent_says_who_stated_it_since_when_and_on_which_basis():
    desk = Desk()

    first = await put(desk, {**YES, "at": "2026-01-02T03:04:05Z", "source": "branch", "basis": "contract"})
    second = await put(desk, NO)

    told = {"channel": "web", "purpose": "marketing"}
    assert first["consents"] == [
        {
            **told,
            "granted": True,
            "at": "2026-01-02T03:04:05.000Z",
            "version": 1,
            "source": "branch",
            "basis": "contract",
        }
    ]
    (holds,) = (await desk.http.get("/v1/customers/C-1")).json()["consents"]
    assert holds == second["consents"][0]
    assert (holds["granted"], holds["version"], holds["source"], holds["basis"]) == (False, 2, "demo", "consent")


async def test_each_version_is_in_the_log_and_the_decision_names_the_one_that_held():
    desk = Desk()
    await desk.know()
    await put(desk, {**YES, "source": "branch", "basis": "contract"})
    await desk.ask()
    await put(desk, NO)
    await desk.ask()

    said = await records_of(desk)
    held = [each["consents"] for each in await records_of(desk, kind="decision")]

    assert [(each["version"], each["granted"], each["source"]) for each in said] == [
        (1, True, "branch"),
        (2, False, "demo"),
    ]
    assert [each["marketing"]["version"] for each in held] == [1, 2]
    assert held[1]["marketing"] == {"granted": False, "version": 2, "basis": "consent", "source": "demo"}
    assert held[0]["service"] == {"granted": True, "version": 0, "basis": "contract", "source": "consents.yaml"}


WHAT_WAS_SAID = """
SELECT s.granted, s.source, s.basis FROM decisions d JOIN consents s
ON s.person_key = d.person_key AND s.channel = d.channel AND s.purpose = 'marketing'
AND s.version = CAST(d.consents->'marketing'->>'version' AS BIGINT) ORDER BY d.at_ms, d.decision_id
"""


async def test_history_tells_for_each_decision_who_permitted_it_and_on_which_basis(tmp_path: Path):
    desk = Desk(MemoryStore(Ticking()))
    await put(desk, {**YES, "source": "branch", "basis": "contract"})
    await desk.ask()
    await put(desk, {**YES, "channel": "email"}, NO)
    await desk.ask()

    async with working(desk.store, tmp_path) as progress:
        await until(progress, 5)

    with closing(open_history(tmp_path)) as history:
        assert history.execute(WHAT_WAS_SAID).fetchall() == [(True, "branch", "contract"), (False, "demo", "consent")]


class Ticking:
    """A clock that never shows the same time twice."""

    now_ms = 1_790_000_000_000

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


async def test_what_is_stated_again_writes_nothing():
    desk = Desk()
    dated = {**NO, "at": "2026-01-02T03:04:05Z"}
    await put(desk, dated)
    (before,) = await desk.store.read(["C-1"])

    await put(desk, dated, {**YES, "at": "2025-01-01T00:00:00Z"})

    (after,) = await desk.store.read(["C-1"])
    assert after.state_version == before.state_version
    assert len(await records_of(desk)) == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"basis": "because"}, "[0].basis"),
        ({"source": ""}, "[0].source"),
        ({"source": "eva@example.com"}, "[0].source"),
        ({"source": "crm\n"}, "[0].source"),
        ({"at": "yesterday"}, "[0].at"),
        ({"at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "[0].at"),
    ],
)
async def test_a_statement_that_cannot_be_is_refused_with_its_place(change, where):
    answer = await Desk().http.put(CONSENTS, json=[{**NO, **change}])

    assert answer.status_code == 422 and answer.json()["where"] == where


async def test_a_withdrawal_is_taken_for_a_channel_that_the_strategy_no_longer_has():
    desk = Desk()
    (snapshot,) = await desk.store.read(["C-1"])
    snapshot.state.consents = [Consent("fax", "marketing", True, 0, 1)]
    await desk.store.commit([Change("C-1", 0, snapshot.state)])

    answer = await put(desk, {**NO, "channel": "fax"})
    granted = await desk.http.put(CONSENTS, json=[{**YES, "channel": "fax"}])
    mistyped = await desk.http.put(CONSENTS, json=[{**NO, "channel": "fox"}])

    assert [(each["channel"], each["granted"]) for each in answer["consents"]] == [("fax", False)]
    assert (granted.status_code, granted.json()["code"]) == (422, "unknown_channel")
    assert (mistyped.status_code, mistyped.json()["code"]) == (422, "unknown_channel")


def about(customer: str, statement: dict) -> dict:
    return {"customer": {"id": customer}, **statement}


async def test_a_batch_is_about_many_customers_and_answers_what_holds_in_order():
    desk = Desk()
    await put(desk, {**NO, "at": "2026-02-01T00:00:00Z"}, customer="C-2")
    older = {**YES, "at": "2026-01-01T00:00:00Z"}
    batch = [about("C-1", NO), about("C-2", older), about("C-1", {**NO, "channel": "email"})]

    answer = await desk.http.post("/v1/consents", json={"statements": batch})

    assert answer.status_code == 200, answer.text
    told = [(each["customer_id"], each["channel"], each["granted"]) for each in answer.json()["consents"]]
    assert told == [("C-1", "web", False), ("C-2", "web", False), ("C-1", "email", False)]
    (snapshot,) = await desk.store.read(["C-1"])
    assert len(snapshot.state.consents) == 2


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (about("C-2", {**NO, "channel": "fox"}), "statements[1].channel"),
        (about("C-2", {**YES, "purpose": "fun"}), "statements[1].purpose"),
        (about("C-2", {**NO, "at": "soon"}), "statements[1].at"),
        (about("eva@example.com", NO), "statements[1].customer.id"),
    ],
)
async def test_a_fault_anywhere_in_a_batch_refuses_all_of_it(fault, where):
    desk = Desk()

    answer = await desk.http.post("/v1/consents", json={"statements": [about("C-1", NO), fault]})

    assert answer.status_code == 422 and answer.json()["where"] == where
    assert (await desk.store.read(["C-1"]))[0].state_version == 0


async def test_a_batch_sent_again_changes_nothing():
    desk = Desk()
    batch = {"statements": [about(f"C-{number}", {**NO, "at": "2026-02-01T00:00:00Z"}) for number in range(50)]}
    first = await desk.http.post("/v1/consents", json=batch)

    second = await desk.http.post("/v1/consents", json=batch)

    assert second.json() == first.json()
    assert {each["version"] for each in second.json()["consents"]} == {1}


class Withdrawing(MemoryStore):
    """The customer withdraws between a decision's read and its commit, the first `times` times."""

    times = 0

    async def commit(self, changes):
        if self.times and changes[0].records:
            self.times -= 1
            (snapshot,) = await self.read(["C-1"])
            no = Statement("web", "marketing", False, "app", at_ms=snapshot.now_ms)
            snapshot.state.consents = taken(snapshot.state.consents, [no], now_ms=snapshot.now_ms)
            await super().commit([Change("C-1", snapshot.state_version, snapshot.state)])
        return await super().commit(changes)


@pytest.mark.parametrize(("times", "degraded"), [(1, False), (2, False), (3, True)])
async def test_a_withdrawal_between_a_decisions_read_and_its_commit_is_obeyed(times, degraded):
    store = Withdrawing()
    desk = Desk(store)
    await desk.know()
    store.times = times

    answer = await desk.ask()

    assert answer["degraded"] is degraded
    assert answer["placements"][0]["outcome"] == "nothing"


async def test_a_leased_offer_is_silent_where_consent_is_withdrawn_and_goes_on_elsewhere():
    desk = Desk()
    await desk.know()
    assert (await desk.ask())["placements"][0]["action"] == GOLD

    await put(desk, {**NO, "channel": "email"})

    assert (await desk.ask("email.hero"))["placements"][0]["outcome"] == "nothing"
    assert (await desk.ask())["placements"][0]["action"] == GOLD


async def test_a_held_message_and_a_stored_answer_obey_a_withdrawal():
    desk = Desk(propensities={"default": 0.0})
    await desk.know()
    keyed = {"idempotency_key": "k1"}
    assert (await desk.ask(**keyed))["placements"][0]["action"] == TIPS

    await put(desk, NO)

    assert (await desk.ask(**keyed))["placements"][0]["reasons"] == ["consent"]
    explained = await desk.ask(explain=True)
    assert explained["placements"][0]["outcome"] == "nothing"
    entry = next(each for each in explained["explanation"] if each["action"] == TIPS)
    assert entry["reason"] == "consent" and entry["consent"]["version"] == 1


async def test_sending_is_for_outbound_channels():
    desk = Desk()

    answer = await desk.http.post("/v1/decisions", json={**HERO, "sending": True})

    assert (answer.status_code, answer.json()["where"]) == (422, "sending")


async def test_what_is_sent_waits_for_the_end_of_a_quiet_day():
    everyday = "monday, tuesday, wednesday, thursday, friday, saturday"
    channels = FILES["channels.yaml"].replace("email: {", f"email: {{quiet_days: [{everyday}], ")
    desk = Desk(MemoryStore(lambda: 1_790_000_000_000), strategy({"channels.yaml": channels}))  # a Monday
    await desk.know()

    sent = await desk.ask("email.hero", sending=True)
    opened = await desk.ask("email.hero")

    assert sent["placements"][0]["reasons"] == ["quiet_hours"] and sent["valid_until"] == "2026-09-26T22:00:00.000Z"
    assert opened["placements"][0]["action"] == GOLD
    assert [each["sending"] for each in await records_of(desk, kind="decision")] == [True, False]
