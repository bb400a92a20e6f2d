"""POST /v1/responses: what came of an action, counted once however often it is told."""

from __future__ import annotations

import asyncio

import pytest

from decisioning.errors import StoreUnavailable
from decisioning.store.memory import MemoryStore
from decisioning.store.packing import parsed
from tests.api.desk import Desk
from tests.decisioning.bank import GOLD, strategy
from tests.decisioning.test_lease import changed

pytestmark = pytest.mark.anyio


async def records(desk: Desk, kind: str) -> list[dict]:
    entries = [
        entry for partition in range(256) for entry in await desk.store.log(partition, after="0-0", limit=10_000)
    ]
    return [body for entry in entries if (body := parsed(entry.record.body))["kind"] == kind]


async def offered(desk: Desk, customer: str = "C-1") -> dict:
    await desk.know(customer)
    return await desk.ask(customer=customer)


async def test_a_token_a_decision_id_and_its_placement_name_the_same_response():
    desk = Desk()
    answer = await offered(desk)
    token = answer["placements"][0]["event_token"]

    by_token = await desk.tell(event_token=token, outcome="clicked")
    by_id = await desk.tell(decision_id=answer["decision_id"], outcome="clicked")
    by_both = await desk.tell(decision_id=answer["decision_id"], placement="web.hero", outcome="clicked")

    assert by_token.json()["status"] == "counted"
    assert by_id.json() == by_both.json() == {"response_id": by_token.json()["response_id"], "status": "repeated"}
    assert len(await records(desk, "response")) == 1


async def test_the_same_response_from_five_clients_at_once_counts_once():
    desk = Desk()
    token = (await offered(desk))["placements"][0]["event_token"]

    answers = await asyncio.gather(*(desk.tell(event_token=token, outcome="accepted") for _ in range(5)))

    assert sorted(answer.json()["status"] for answer in answers) == ["counted"] + ["repeated"] * 4
    (snapshot,) = await desk.store.read(["C-1"])
    assert [each.outcome for each in snapshot.state.interactions] == ["selected", "accepted"]


async def test_a_conversion_needs_no_decision_and_ends_the_lease():
    desk = Desk()
    await offered(desk)

    told = await desk.tell(
        customer={"id": "C-1"}, product="P-GOLD", outcome="converted", value=85.0, idempotency_key="o-1"
    )

    assert told.json()["status"] == "counted"
    assert (await desk.ask("email.hero"))["placements"][0]["lease_of"] is None
    (record,) = await records(desk, "response")
    assert (record["action"], record["value"], record["decision_id"]) == (GOLD, 85.0, None)
    assert "C-1" not in str(record)


async def test_a_batch_is_counted_in_order_and_a_fault_in_it_refuses_all():
    desk = Desk()
    tokens = [(await offered(desk, f"C-{number}"))["placements"][0]["event_token"] for number in range(5)]
    good = [{"event_token": token, "outcome": "impression"} for token in tokens]

    refused = await desk.http.post(
        "/v1/responses", json={"responses": [*good, {"event_token": "x", "outcome": "clicked"}]}
    )
    assert refused.status_code == 422 and refused.json()["code"] == "invalid_token"
    assert await records(desk, "response") == []

    taken = await desk.http.post("/v1/responses", json={"responses": good + good})
    assert [each["status"] for each in taken.json()["responses"]] == ["counted"] * 5 + ["repeated"] * 5


async def test_a_key_stands_for_one_response_however_it_is_told():
    desk = Desk()
    await desk.know()
    first, again = [await desk.ask(idempotency_key="asked") for _ in range(2)]
    tokens = [answer["placements"][0]["event_token"] for answer in (first, again)]
    body = {"outcome": "accepted", "value": 1.0, "idempotency_key": "k"}

    told = [await desk.tell(event_token=token, **body) for token in tokens]
    told.append(await desk.tell(decision_id=first["decision_id"], **body))
    other = await desk.tell(event_token=tokens[0], **{**body, "value": 2.0})
    batch = [{"event_token": tokens[0], **body}, {"event_token": tokens[0], **body, "outcome": "rejected"}]
    in_batch = await desk.http.post("/v1/responses", json={"responses": batch})

    assert [each.json()["status"] for each in told] == ["counted", "repeated", "repeated"]
    assert other.status_code == 409 and (other.json()["code"], other.json()["where"]) == ("conflict", "idempotency_key")
    assert in_batch.status_code == 409 and in_batch.json()["where"] == "responses[1].idempotency_key"
    assert len(await records(desk, "response")) == 1


async def test_a_product_under_a_key_is_the_same_though_it_now_belongs_to_another_action():
    cards = changed("actions/cards.yaml", ("action_value: 50.0", "action_value: 50.0\n    product: P-GOLD"))
    desk = Desk(bank=strategy(cards))
    await desk.know()
    told = []
    for _ in range(2):
        told.append(
            await desk.tell(customer={"id": "C-1"}, product="P-GOLD", outcome="converted", idempotency_key="order")
        )
        await desk.ask()

    assert [each.json()["status"] for each in told] == ["counted", "repeated"]


async def test_what_is_told_by_its_decision_may_come_again_with_another_value():
    desk = Desk()
    token = (await offered(desk))["placements"][0]["event_token"]

    told = [await desk.tell(event_token=token, outcome="accepted", value=value) for value in (1.0, 2.0)]

    assert [each.json()["status"] for each in told] == ["counted", "repeated"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"outcome": "clicked"}, "event_token"),
        ({"outcome": "clicked", "customer": {"id": "C-1"}, "action": GOLD}, "outcome"),
        ({"outcome": "converted", "customer": {"id": "C-1"}}, "action"),
        ({"outcome": "converted", "customer": {"id": "C-1"}, "action": "grow/cards/none"}, "action"),
        ({"outcome": "converted", "customer": {"id": "C-1"}, "product": "P-NONE"}, "product"),
        ({"outcome": "converted", "customer": {"id": "C-1"}, "action": GOLD, "at": "2999-01-01T00:00:00Z"}, "at"),
        ({"outcome": "converted", "customer": {"id": "C-1"}, "action": GOLD, "at": "yesterday"}, "at"),
        ({"outcome": "converted", "customer": {"id": "C-1"}, "action": GOLD, "channel": "fax"}, "channel"),
        ({"outcome": "bought", "customer": {"id": "C-1"}, "action": GOLD}, "outcome"),
        ({"outcome": "clicked", "decision_id": "000-1-2"}, "decision_id"),
        ({"responses": []}, "responses"),
        ({"responses": [{"outcome": "clicked"}]}, "responses[0].event_token"),
    ],
)
async def test_a_response_that_names_nothing_is_told_what_is_missing(body, where):
    answer = await Desk().http.post("/v1/responses", json=body)

    assert 400 <= answer.status_code < 500
    assert answer.json()["where"] == where


async def test_a_response_does_not_bring_an_erased_customer_back():
    desk = Desk()
    answer = await offered(desk)
    await desk.http.delete("/v1/customers/C-1")

    for named in ({"event_token": answer["placements"][0]["event_token"]}, {"decision_id": answer["decision_id"]}):
        told = await desk.tell(**named, outcome="accepted")
        assert told.status_code == 410 and told.json()["code"] == "erased"
    repeat = await desk.http.get("/v1/customers/C-1")
    assert repeat.status_code == 404


async def test_a_response_without_a_time_has_the_stores():
    desk = Desk(MemoryStore(lambda: 1_700_000_000_000))
    await desk.tell(customer={"id": "C-1"}, action=GOLD, outcome="converted")

    (record,) = await records(desk, "response")
    assert record["at_ms"] == record["received_ms"] == 1_700_000_000_000


async def test_the_first_second_of_all_is_a_time_like_any_other():
    desk = Desk()
    await offered(desk)

    await desk.tell(customer={"id": "C-1"}, action=GOLD, outcome="converted", at="1970-01-01T00:00:00Z")

    (record,) = await records(desk, "response")
    assert record["at_ms"] == 0


async def test_a_replicas_fast_clock_puts_no_response_into_the_stores_future():
    desk = Desk(MemoryStore(lambda: 1_700_000_000_000))
    stated = "2024-03-01T00:00:00Z"  # past for this process, months ahead of the store
    await desk.tell(customer={"id": "C-1"}, action=GOLD, outcome="converted", at=stated)

    (record,) = await records(desk, "response")
    assert record["at_ms"] == 1_700_000_000_000


async def test_a_token_of_another_kind_or_installation_is_refused():
    desk = Desk()
    for token in (desk.service.sealer.seal("other", ["C-1"]), "k1.AAAA", "k9.AAAA", "", "k1."):
        answer = await desk.tell(event_token=token, outcome="clicked")
        assert answer.status_code == 422 and answer.json()["code"] == "invalid_token"


async def test_while_the_store_is_down_the_caller_is_told_to_come_back():
    class Down(MemoryStore):
        async def commit(self, changes):
            raise StoreUnavailable("gone")

    answer = await Desk(Down()).tell(customer={"id": "C-1"}, action=GOLD, outcome="converted")

    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"


async def test_an_answer_to_a_decision_is_no_older_than_it_and_ends_its_promise():
    desk = Desk()
    answer = await offered(desk)
    token, day = answer["placements"][0]["event_token"], "2020-01-01T00:00:00Z"

    told = await desk.tell(event_token=token, outcome="rejected", at=day)

    assert told.json()["status"] == "counted"
    (response,) = await records(desk, "response")
    assert response["at_ms"] == (await records(desk, "decision"))[0]["at_ms"]
    assert (await desk.ask())["placements"][0]["lease_of"] is None


class SearchingStore(MemoryStore):
    """Counts how many searches for a record run and end."""

    def __init__(self):
        super().__init__()
        self.begun = self.ended = 0

    async def find_record(self, decision_id):
        self.begun += 1
        await asyncio.sleep(0.01 * self.begun)
        self.ended += 1
        return await super().find_record(decision_id)


async def test_the_first_fault_of_a_batch_ends_the_search_for_the_others():
    desk = Desk(SearchingStore())
    made_up = [
        {"decision_id": f"001-19b0000{number:04x}-0123456789abcdef", "outcome": "clicked"} for number in range(100)
    ]

    told = await desk.tell(responses=made_up)
    await asyncio.sleep(0.5)

    assert (told.status_code, told.json()["code"]) == (404, "not_found")
    assert desk.store.begun == 33 and desk.store.ended == 1
