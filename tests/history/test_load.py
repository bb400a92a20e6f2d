"""Rows become profiles and consents: the newest wins per source, bad rows are named, loading again writes nothing."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from decisioning.consent import Statement, records_of, taken
from decisioning.customer import Consent, State, partition_of
from decisioning.errors import MappingFaulty
from decisioning.history.datasets import record_of, row_of
from decisioning.history.load import ATTEMPT_COUNT, RENEWED_AFTER_MS, Summary, load_customers
from decisioning.history.mapping import mapping_of
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Change, Lost, Outcome, Store
from decisioning.store.redis import RedisStore
from tests.history.test_training import schema

AT_MS = 1_793_000_000_000
SCHEMA = schema(
    "purposes: [marketing]\n"
    "customer: {age: {type: int, min: 16, source: crm, personal: true}, tier: {type: string, enum: [a, b]},"
    " balance: {type: double, source: core, stale_after_days: 40}, vip: {type: bool, source: crm},"
    " since: {type: timestamp, source: crm}, tags: {type: list<string>, source: crm}}"
)


async def load(tmp_path: Path, store: Store, text: str, **options: Any) -> Summary:
    path = tmp_path / ("customers.jsonl" if text.startswith("{") else "customers.csv")
    path.write_text(text)
    defaults: dict[str, Any] = {"at_ms": AT_MS, "channels": ("email", "web"), "progress": lambda done, total: None}
    rejects_path = tmp_path / "rejects.csv"
    return await load_customers([path], SCHEMA, store, rejects_path=rejects_path, **{**defaults, **options})


async def facts_of(store: Store, customer_id: str) -> dict[str, Any]:
    """What each source says of a customer."""
    [snapshot] = await store.read([customer_id])
    assert snapshot.profile is not None
    return {source: facts.attributes for source, facts in snapshot.profile.sources.items()}


async def consents_of(store: Store, customer_id: str) -> list[Consent]:
    [snapshot] = await store.read([customer_id])
    return snapshot.state.consents


CSV = (
    "customer_id,age,tier,balance,vip,since,tags,consent.email.marketing\n"
    'C-1,44,a,1e3,yes,2026-03-01T09:30:00Z,"[""x""]",true\n'
    "C-2,,,,,,,\n"
)


async def test_rows_are_typed_and_kept_by_source(tmp_path: Path, store: RedisStore) -> None:
    summary = await load(tmp_path, store, CSV, source=None)

    assert summary == Summary(rows=2, loaded=2)
    assert await facts_of(store, "C-1") == {
        "crm": {"age": 44, "vip": True, "since": "2026-03-01T09:30:00Z", "tags": ["x"]},
        "load": {"tier": "a"},
        "core": {"balance": 1000.0},
    }
    assert await consents_of(store, "C-1") == [Consent("email", "marketing", True, AT_MS, 1, "load")]
    assert await facts_of(store, "C-2") == {}


async def test_loading_again_writes_nothing(tmp_path: Path, store: RedisStore) -> None:
    await load(tmp_path, store, CSV)
    before = await store.read(["C-1", "C-2"])

    summary = await load(tmp_path, store, CSV, at_ms=AT_MS + RENEWED_AFTER_MS - 1)

    assert summary == Summary(rows=2, unchanged=2)
    assert [each.state_version for each in await store.read(["C-1", "C-2"])] == [each.state_version for each in before]


async def test_the_same_values_later_renew_only_what_can_go_stale(tmp_path: Path) -> None:
    store = MemoryStore()
    await load(tmp_path, store, CSV)

    await load(tmp_path, store, CSV, at_ms=AT_MS + RENEWED_AFTER_MS)

    [snapshot] = await store.read(["C-1"])
    assert snapshot.profile is not None
    times = {source: facts.at_ms - AT_MS for source, facts in snapshot.profile.sources.items()}
    assert times == {"crm": 0, "load": 0, "core": RENEWED_AFTER_MS}


async def test_an_older_file_changes_neither_facts_nor_consents(tmp_path: Path) -> None:
    store = MemoryStore()
    await load(tmp_path, store, CSV.replace(",true", ",false"))

    summary = await load(tmp_path, store, CSV.replace("44", "43"), at_ms=AT_MS - 1)

    assert summary.unchanged == 2
    assert (await facts_of(store, "C-1"))["crm"]["age"] == 44
    assert not (await consents_of(store, "C-1"))[0].granted


async def test_columns_a_file_lacks_stay_and_empty_cells_remove(tmp_path: Path) -> None:
    store = MemoryStore()
    await load(tmp_path, store, CSV)

    await load(tmp_path, store, "customer_id,age,vip\nC-1,45,\n", at_ms=AT_MS + 1)

    crm = (await facts_of(store, "C-1"))["crm"]
    assert crm == {"age": 45, "since": "2026-03-01T09:30:00Z", "tags": ["x"]}


async def test_of_two_rows_for_a_customer_the_later_wins(tmp_path: Path) -> None:
    store = MemoryStore()

    summary = await load(tmp_path, store, "customer_id,age\nC-1,44\nC-1,45\n")

    assert summary == Summary(rows=2, loaded=2)
    assert (await facts_of(store, "C-1"))["crm"]["age"] == 45


async def test_a_bad_value_rejects_its_row_and_is_named_in_the_file_of_rejects(tmp_path: Path) -> None:
    store = MemoryStore()
    rows = [
        {"customer_id": "C-1", "age": 12, "vip": "perhaps"},
        {"customer_id": "C-2", "age": "44"},
        {"customer_id": "eva@example.com", "age": 44},
        {"age": 44},
        {"customer_id": "C-5", "age": 44.5},
        {"customer_id": "C-6", "age": 44.0, "tags": [1]},
    ]

    summary = await load(tmp_path, store, "".join(json.dumps(row) + "\n" for row in rows))

    with open(tmp_path / "rejects.csv", newline="") as file:
        rejects = list(csv.DictReader(file))
    assert summary == Summary(rows=6, loaded=1, rejected=5)
    assert [(reject["row"], reject["column"], reject["value"]) for reject in rejects] == [
        ("3", "customer_id", "eva@example.com"),
        ("1", "age", "12"),
        ("5", "age", "44.5"),
        ("1", "vip", "perhaps"),
        ("6", "tags", "[1]"),
        ("4", "customer_id", ""),
    ]
    assert {reject["file"] for reject in rejects} == {"customers.jsonl"}
    assert (tmp_path / "rejects.csv").stat().st_mode & 0o077 == 0
    assert (await facts_of(store, "C-2"))["crm"] == {"age": 44}


async def test_a_clean_load_leaves_no_rejects_of_an_earlier_one(tmp_path: Path) -> None:
    await load(tmp_path, MemoryStore(), "customer_id,age\nC-1,1\n")

    await load(tmp_path, MemoryStore(), "customer_id,age\nC-1,44\n")

    assert not (tmp_path / "rejects.csv").exists()


async def test_a_customer_who_changes_meanwhile_is_merged_again(tmp_path: Path) -> None:
    class Busy(MemoryStore):
        """Somebody else commits first, a few times."""

        interruptions = 3

        async def commit(self, changes: list[Change]) -> list[Outcome]:  # type: ignore[override]
            if self.interruptions:
                self.interruptions -= 1
                return [Lost(snapshot) for snapshot in await self.read([change.customer_key for change in changes])]
            return await super().commit(changes)

    patient, hopeless = Busy(), Busy()
    hopeless.interruptions = ATTEMPT_COUNT

    assert await load(tmp_path, patient, "customer_id,age\nC-1,44\n") == Summary(rows=1, loaded=1)
    assert await load(tmp_path, hopeless, "customer_id,age\nC-1,44\n") == Summary(rows=1, rejected=1)


async def test_progress_counts_rows_of_all_files(tmp_path: Path) -> None:
    seen = []
    (tmp_path / "more.csv").write_text("customer_id,age\nC-9,50\n")
    (tmp_path / "customers.csv").write_text(CSV)

    await load_customers(
        [tmp_path / "customers.csv", tmp_path / "more.csv"],
        SCHEMA,
        MemoryStore(),
        channels=("email",),
        at_ms=AT_MS,
        rejects_path=tmp_path / "rejects.csv",
        progress=lambda done, total: seen.append((done, total)),
    )

    assert seen == [(2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("mapping", "places"),
    [
        (None, ["customers.csv:1:1"] * 4),
        ("customer: {column: id}\nsource: core\nfeatures: {customer.age: a}\n", ["m.yaml:3:26"]),
        ("customer: {column: id}\nfeatures: {customer.agee: a, customer.tier: b}\n", ["m.yaml:2:27"]),
        ("customer: {column: idd}\nfeatures: {customer.tier: c}\n", ["m.yaml:1:20", "m.yaml:2:27"]),
        ("customer: {column: id}\nconsents: {emial.marketing: a, web.sales: b}\n", ["m.yaml:2:29", "m.yaml:2:43"]),
    ],
    ids=["names", "source", "attribute", "column", "consent"],
)
async def test_what_concerns_the_whole_file_is_refused_before_anything_is_written(
    tmp_path: Path, mapping: str | None, places: list[str]
) -> None:
    store = MemoryStore()
    text = "id,a,b,consent.fax.marketing\nC-1,44,a,true\n"

    with pytest.raises(MappingFaulty) as refused:
        await load(tmp_path, store, text, mapping=mapping_of("m.yaml", mapping.encode()) if mapping else None)

    assert [str(fault).split(": ")[0] for fault in refused.value.faults] == places[: len(refused.value.faults)]
    assert [each.state_version for each in await store.read(["C-1"])] == [0]


async def withdraw(store: Store, customer_id: str, at_ms: int) -> None:
    """What PUT does, at a time of the test's own."""
    [snapshot] = await store.read([customer_id])
    before = snapshot.state.consents
    no = Statement("email", "marketing", False, "app", at_ms)
    after = taken(before, [no], now_ms=snapshot.now_ms)
    records = records_of(before, after, snapshot.state, received_ms=snapshot.now_ms)
    state = replace(snapshot.state, consents=after)
    await store.commit([Change(customer_id, snapshot.state_version, state, records=records)])


YES = "customer_id,consent.email.marketing\nC-1,yes\n"
DATED = "customer_id,consent.email.marketing,consent.email.marketing.time,consent.email.marketing.source\n"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


async def test_a_file_loaded_again_brings_nothing_back_that_was_withdrawn_since(tmp_path: Path) -> None:
    store = MemoryStore(lambda: AT_MS + 10**9)
    await load(tmp_path, store, YES)
    await withdraw(store, "C-1", AT_MS + 1)

    summary = await load(tmp_path, store, YES, at_ms=AT_MS + 10**8)

    assert summary.unchanged == 1
    assert await consents_of(store, "C-1") == [Consent("email", "marketing", False, AT_MS + 1, 2, "app")]


async def test_a_yes_with_a_later_time_of_its_own_counts_and_one_of_before_does_not(tmp_path: Path) -> None:
    store = MemoryStore(lambda: AT_MS)
    await withdraw(store, "C-1", at("2026-05-01T00:00:00Z"))

    await load(tmp_path, store, f"{DATED}C-1,yes,2026-04-30,branch\n")
    assert not (await consents_of(store, "C-1"))[0].granted

    await load(tmp_path, store, f"{DATED}C-1,yes,2026-05-02T10:00:00+02:00,branch\n")
    assert await consents_of(store, "C-1") == [
        Consent("email", "marketing", True, at("2026-05-02T08:00:00Z"), 2, "branch")
    ]


async def test_of_a_day_a_withdrawal_counts_to_its_end_and_a_yes_from_its_beginning(tmp_path: Path) -> None:
    store = MemoryStore(lambda: AT_MS)
    await load(tmp_path, store, f"{DATED}C-1,yes,2026-05-02T09:00:00Z,branch\n")

    await load(tmp_path, store, f"{DATED}C-1,no,2026-05-02,app\n")
    await load(tmp_path, store, f"{DATED}C-1,yes,2026-05-02,branch\n")

    [consent] = await consents_of(store, "C-1")
    assert (consent.granted, consent.source, consent.at_ms) == (False, "app", at("2026-05-02T23:59:59.999Z"))


async def test_of_several_sources_in_one_load_the_newest_word_holds_whatever_the_order(tmp_path: Path) -> None:
    rows = ["C-1,yes,2026-05-02T10:00:00Z,branch\n", "C-1,no,2026-05-03T10:00:00Z,app\n", "C-1,yes,2026-04-01,\n"]

    for order in permutations(rows):
        store = MemoryStore(lambda: AT_MS)
        await load(tmp_path, store, DATED + "".join(order), source="crm")

        [consent] = await consents_of(store, "C-1")
        assert (consent.granted, consent.source, consent.at_ms) == (False, "app", at("2026-05-03T10:00:00Z"))


@pytest.mark.parametrize("said", ["1795320000", "2026", "1969-12-31T23:59:59Z"])
async def test_a_withdrawal_whose_time_was_written_in_other_units_is_rejected_and_not_taken_for_the_oldest_word(
    tmp_path: Path, said: str
) -> None:
    store = MemoryStore(lambda: AT_MS)
    await load(tmp_path, store, f"{DATED}C-1,yes,2026-05-02,branch\n")

    summary = await load(tmp_path, store, f"{DATED}C-1,no,{said},branch\n")

    assert summary.rejected == 1
    assert "2026-11-21T09:30:00Z" in (tmp_path / "rejects.csv").read_text()


async def test_a_consent_of_later_or_on_no_basis_rejects_its_row(tmp_path: Path) -> None:
    mapping = mapping_of(
        "m.yaml",
        b"customer: {column: id}\nmissing: [unknown]\n"
        b"consents: {email.marketing: {column: yes_or_no, time: said, basis: why}, web.marketing: web}\n",
    )
    text = (
        "id,yes_or_no,said,why,web\n"
        "C-1,yes,2036-01-01,consent,no\n"
        "C-2,yes,2026-01-01,because,no\n"
        "C-3,no,2026-01-01,unknown,no\n"
        "C-4,unknown,2026-01-01,contract,yes\n"
    )
    store = MemoryStore(lambda: AT_MS)

    summary = await load(tmp_path, store, text, mapping=mapping)

    assert summary == Summary(rows=4, loaded=2, rejected=2)
    with open(tmp_path / "rejects.csv", newline="") as file:
        assert [(each["row"], each["column"]) for each in csv.DictReader(file)] == [("1", "said"), ("2", "why")]
    said = {(each.channel, each.granted, each.at_ms) for each in await consents_of(store, "C-3")}
    assert said == {("email", False, at("2026-01-01T23:59:59.999Z")), ("web", False, AT_MS)}
    assert [each.channel for each in await consents_of(store, "C-4")] == ["web"]


async def test_each_version_a_load_makes_is_in_the_log_and_the_same_file_again_adds_none(
    tmp_path: Path, store: RedisStore
) -> None:
    text = f"{DATED}C-1,yes,2026-05-02T10:00:00Z,branch\n"
    await load(tmp_path, store, text)
    await load(tmp_path, store, text)
    await load(tmp_path, store, text.replace("yes,2026-05-02", "no,2026-05-03"))

    entries = await store.log(partition_of("C-1"), after="0-0", limit=10)
    records = [json.loads(each.record.body) for each in entries]

    assert [(each["kind"], each["version"], each["granted"]) for each in records] == [
        ("consent", 1, True),
        ("consent", 2, False),
    ]


def test_the_log_record_of_a_consent_is_a_row_of_history() -> None:
    state = State("p1", "a1", "")
    after = taken([], [Statement("email", "marketing", False, "app", 5, "contract")], now_ms=9)
    [record] = records_of([], after, state, received_ms=9)

    row = row_of(record.record_id, record.body)

    cells = json.loads(row.line)
    assert row.dataset.name == "consents" and cells["more"] is None
    assert record_of(row.dataset, cells) == json.loads(record.body)
