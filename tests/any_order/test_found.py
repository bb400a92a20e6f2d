"""What random orders have found: the smallest case of each."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from decisioning.store.memory import MemoryStore
from tests.any_order.town import BASE, UNLIMITED, VARIANTS
from tests.api.desk import Desk
from tests.decisioning.bank import FILES, strategy

MIDNIGHT_MS = round(datetime(2026, 9, 21, 23, 30, tzinfo=ZoneInfo("Europe/Budapest")).timestamp() * 1000)

WITHOUT_CHANCE = {"strategy.yaml": FILES["strategy.yaml"], "experiments.yaml": ""}


async def test_a_mail_to_a_stranger_at_night_is_silence_on_record_and_can_be_explained():
    desk = Desk(MemoryStore(lambda: MIDNIGHT_MS), VARIANTS["base"])

    answer = await desk.ask("email.hero", customer="stranger", sending=True)
    why = await desk.http.get(f"/v1/decisions/{answer['decision_id']}")

    assert (answer["placements"][0]["reasons"], answer["degraded"]) == (["quiet_hours"], False)
    assert why.status_code == 200
    assert why.json()["reproduced"]


async def test_the_first_record_of_a_loaded_customer_leads_back_to_them_even_if_it_is_of_silence():
    desk = Desk(MemoryStore(lambda: MIDNIGHT_MS), VARIANTS["base"])
    await desk.know("C-1")

    answer = await desk.ask("email.hero", sending=True)

    assert (await desk.http.get(f"/v1/decisions/{answer['decision_id']}")).status_code == 200


async def test_a_list_that_is_asked_for_again_keeps_its_ranks_where_consent_silences_it():
    desk = Desk(bank=strategy({**BASE, **UNLIMITED, **WITHOUT_CHANCE}))
    await desk.know("C-1")
    question = {"context": {"page": "loans"}, "idempotency_key": "k"}
    before = await desk.ask("web.list", **question)

    statement = {"channel": "web", "purpose": "marketing", "granted": False}
    await desk.http.put("/v1/customers/C-1/consents", json=[statement])
    again = await desk.ask("web.list", **question)

    assert len(before["placements"]) > 1
    assert [each["rank"] for each in again["placements"]] == [each["rank"] for each in before["placements"]]
    assert {each["action"] for each in again["placements"]} == {None}
