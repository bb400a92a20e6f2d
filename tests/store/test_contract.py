"""The contract of a store, as protocol.py states it, against the memory twin and against real servers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from decisioning.customer import (
    Consent,
    Hold,
    Interaction,
    LeaseEntry,
    Profile,
    Render,
    Snapshot,
    SourceFacts,
    State,
    partition_of,
)
from decisioning.store.protocol import Change, Committed, Lost, Note, Numbered, Once, Record, Repeated, Store
from tests.store.once import left

FULL_STATE = State(
    person_key="person",
    assignment_key="assignment",
    sealing_key="c2VhbGluZw==",
    draw_index=7,
    consents=[Consent("email", "marketing", granted=False, at_ms=1_700_000_000_123, version=2, source="call_center")],
    lease=[LeaseEntry("grow/cards/gold_upgrade", "017-18bcfe56800-0123456789abcdef", at_ms=1, until_ms=2)],
    holds={"web.home.hero": Hold(None, "017-18bcfe56800-0123456789abcdef", until_ms=3)},
    interactions=[Interaction(1_700_000_000_000, "rejected", "grow/cards/gold_upgrade", "web")],
    renders=[Render("0123456789abcdef", "email.hero", "017-18bcfe56800-0123456789abcdef", None, 1, 2, held=True)],
)
FULL_PROFILE = Profile(
    sources={
        "crm": SourceFacts(5, {"first_name": "Zoë", "age": 44, "tags": ["a", "b"], "in_arrears": False, "tier": None}),
        "core_banking": SourceFacts(6, {"balance_avg_3m": 5200.25}),
    }
)


async def read_one(store: Store, customer_key: str = "C-1") -> Snapshot:
    [snapshot] = await store.read([customer_key])
    return snapshot


def change_of(snapshot: Snapshot, **parts: object) -> Change:
    """A change that counts one more draw, so that each of them is visible."""
    state = replace(snapshot.state, draw_index=snapshot.state.draw_index + 1)
    return Change(snapshot.customer_key, snapshot.state_version, state, **parts)  # type: ignore[arg-type]


async def commit_one(store: Store, change: Change) -> Committed | Lost | Repeated:
    [outcome] = await store.commit([change])
    return outcome


def decision_id(partition: int, at_ms: int, tail: int = 0) -> str:
    return f"{partition:03d}-{at_ms:x}-{tail:016x}"


async def test_an_unknown_customer_is_a_fresh_unsaved_state(any_store: Store) -> None:
    first, second = await any_store.read(["C-1", "C-1"])

    assert (first.customer_key, first.state_version, first.profile) == ("C-1", 0, None)
    assert first.state.person_key != second.state.person_key
    assert first.state.sealing_key != second.state.sealing_key
    assert abs(first.now_ms - time.time() * 1000) < 5_000


async def test_a_committed_state_and_profile_come_back_equal(any_store: Store) -> None:
    outcome = await commit_one(any_store, Change("C-1", 0, FULL_STATE, FULL_PROFILE))

    snapshot = await read_one(any_store)
    assert isinstance(outcome, Committed)
    assert (snapshot.state, snapshot.profile) == (FULL_STATE, FULL_PROFILE)
    assert snapshot.state_version == outcome.state_version > 0


async def test_a_commit_without_profile_leaves_the_profile(any_store: Store) -> None:
    await any_store.commit([Change("C-1", 0, FULL_STATE, FULL_PROFILE)])

    await any_store.commit([change_of(await read_one(any_store))])

    snapshot = await read_one(any_store)
    assert (snapshot.profile, snapshot.state.draw_index) == (FULL_PROFILE, 8)


async def test_lists_are_answered_in_order_and_each_change_for_itself(any_store: Store) -> None:
    await any_store.commit([Change("C-2", 0, FULL_STATE)])
    keys = ["C-1", "C-2", "C-3"]

    outcomes = await any_store.commit([Change(key, 0, FULL_STATE) for key in keys])

    assert [type(outcome) for outcome in outcomes] == [Committed, Lost, Committed]
    assert [snapshot.customer_key for snapshot in await any_store.read(keys)] == keys
    assert await any_store.read([]) == await any_store.commit([]) == []


async def test_every_commit_raises_the_version(any_store: Store) -> None:
    versions = [0]
    for _ in range(3):
        outcome = await commit_one(any_store, change_of(await read_one(any_store)))
        assert isinstance(outcome, Committed)
        versions.append(outcome.state_version)

    assert versions == sorted(set(versions))


async def test_a_change_without_a_state_logs_its_records_and_keeps_the_version(any_store: Store) -> None:
    [stored] = await any_store.commit([change_of(await read_one(any_store))])
    before = await read_one(any_store)

    noted = await commit_one(any_store, Change("C-1", before.state_version, None, records=[Record("r-1", b"{}")]))
    late = await commit_one(any_store, Change("C-1", before.state_version + 1, None, records=[Record("r-2", b"{}")]))

    assert noted == stored
    assert isinstance(late, Lost)
    assert replace(await read_one(any_store), now_ms=0) == replace(before, now_ms=0)
    log = await any_store.log(partition_of("C-1"), after="0-0", limit=10)
    assert [entry.record.record_id for entry in log] == ["r-1"]


def test_there_is_no_note_about_somebody_who_is_not_stored() -> None:
    with pytest.raises(ValueError, match="stored"):
        Change("C-1", 0, None, records=[Record("r-1", b"{}")])


async def test_a_change_to_an_old_version_loses_and_learns_the_new_truth(any_store: Store) -> None:
    old = await read_one(any_store)
    await any_store.commit([change_of(old, profile=FULL_PROFILE)])

    late = change_of(old, records=[Record("late", b"{}")], once=[Once("late", "value", ttl_s=60)])
    outcome = await commit_one(any_store, late)

    assert isinstance(outcome, Lost)
    assert outcome.snapshot == replace(await read_one(any_store), now_ms=outcome.snapshot.now_ms)
    assert outcome.snapshot.profile == FULL_PROFILE
    assert await any_store.log(partition_of("C-1"), after="0-0", limit=10) == []
    assert await left(any_store, "C-1", "late") is None


async def test_a_taken_once_key_wins_over_a_lost_race_and_applies_nothing(any_store: Store) -> None:
    first = change_of(await read_one(any_store), once=[Once("request-1", "answer 1", ttl_s=60)])
    await any_store.commit([first])
    committed = await read_one(any_store)

    steps = [Once("other", "answer 2", ttl_s=60), Once("request-1", "answer 3", ttl_s=60)]
    outcome = await commit_one(any_store, replace(first, once=steps, records=[Record("again", b"{}")]))

    assert outcome == Repeated([None, "answer 1"])
    assert await left(any_store, "C-1", "request-1") == "answer 1"
    assert await left(any_store, "C-1", "other") is None
    assert (await read_one(any_store)).state_version == committed.state_version
    assert await any_store.log(partition_of("C-1"), after="0-0", limit=10) == []


async def test_a_once_key_belongs_to_its_customer(any_store: Store) -> None:
    for key in ("C-1", "C-2"):
        change = change_of(await read_one(any_store, key), once=[Once("request-1", key, ttl_s=60)])
        assert isinstance(await commit_one(any_store, change), Committed)

    assert await left(any_store, "C-2", "request-1") == "C-2"


async def test_a_once_key_and_a_note_are_gone_after_their_time_to_live(any_store: Store) -> None:
    await any_store.note([Note(4, "trial", frozenset({"impression"}), ttl_s=1)])
    assert await any_store.notes([(4, "trial")]) == [frozenset({"impression"})]
    await any_store.commit([change_of(await read_one(any_store), once=[Once("request-1", "first", ttl_s=1)])])

    await asyncio.sleep(1.1)

    assert await any_store.notes([(4, "trial")]) == [frozenset()]
    assert await left(any_store, "C-1", "request-1") is None
    again = change_of(await read_one(any_store), once=[Once("request-1", "second", ttl_s=60)])
    assert isinstance(await commit_one(any_store, again), Committed)


async def test_sixty_four_concurrent_committers_lose_no_update(any_store: Store) -> None:
    async def count_one_draw() -> None:
        snapshot = await read_one(any_store)
        while isinstance(outcome := await commit_one(any_store, change_of(snapshot)), Lost):
            snapshot = outcome.snapshot

    await asyncio.gather(*(count_one_draw() for _ in range(64)))

    assert (await read_one(any_store)).state.draw_index == 64


async def test_the_log_keeps_the_order_of_commits_and_of_the_records_in_them(any_store: Store) -> None:
    for pair in (("a", "b"), ("c", "d")):
        records = [Record(name, f'{{"name":"{name}"}}'.encode()) for name in pair]
        await any_store.commit([change_of(await read_one(any_store), records=records)])

    partition = partition_of("C-1")
    entries = await any_store.log(partition, after="0-0", limit=10)
    assert [entry.record.record_id for entry in entries] == ["a", "b", "c", "d"]
    assert entries[2].record.body == b'{"name":"c"}'
    assert await any_store.log(partition, after=entries[1].position, limit=1) == entries[2:3]
    assert await any_store.log(partition, after=entries[-1].position, limit=10) == []
    assert await any_store.log((partition + 1) % 256, after="0-0", limit=10) == []


@pytest.mark.parametrize(("count", "kept_from"), [(4, 2), (1_000, 963)])
async def test_a_trim_forgets_what_is_older_than_the_position_and_nothing_else(
    any_store: Store, count: int, kept_from: int
) -> None:
    records = [Record(f"r{number}", b"{}") for number in range(count)]
    await any_store.commit([change_of(await read_one(any_store), records=records)])
    partition = partition_of("C-1")
    entries = await any_store.log(partition, after="0-0", limit=count)

    await any_store.trim(partition, before=entries[kept_from].position)

    assert await any_store.log(partition, after="0-0", limit=count) == entries[kept_from:]


async def test_the_size_of_a_log_grows_with_its_records_and_shrinks_with_a_trim(any_store: Store) -> None:
    partition = partition_of("C-1")
    before = await any_store.log_size(partition)
    [snapshot] = await any_store.read(["C-1"])
    records = [Record(f"r{number}", b'"%s"' % (b"x" * 1_000)) for number in range(100)]
    await any_store.commit([Change("C-1", 0, snapshot.state, records=records)])
    entries = await any_store.log(partition, after="0-0", limit=100)

    full = await any_store.log_size(partition)
    await any_store.trim(partition, before=entries[-1].position)
    trimmed = await any_store.log_size(partition)

    assert before.oldest is None and full.oldest == entries[0].position and trimmed.oldest == entries[-1].position
    # Redis counts half a kilobyte for each piece of a log, and a record is a piece of its own.
    assert before.bytes < 2_000 < 95_000 < full.bytes < 170_000 and trimmed.bytes < 10_000


async def test_positions_go_on_after_a_log_was_trimmed_to_nothing(any_store: Store) -> None:
    partition = partition_of("C-1")
    await any_store.commit([change_of(await read_one(any_store), records=[Record("a", b"{}")])])
    [first] = await any_store.log(partition, after="0-0", limit=10)
    await any_store.trim(partition, before=f"{first.position}1")
    assert await any_store.log(partition, after="0-0", limit=10) == []

    await any_store.commit([change_of(await read_one(any_store), records=[Record("b", b"{}")])])

    [entry] = await any_store.log(partition, after=first.position, limit=10)
    assert entry.record.record_id == "b"


async def test_a_decision_record_is_found_by_its_id(any_store: Store) -> None:
    snapshot = await read_one(any_store)
    partition = partition_of("C-1")
    others = [Record(decision_id(partition, snapshot.now_ms, tail), b"other") for tail in range(1, 600)]
    wanted = Record(decision_id(partition, snapshot.now_ms), b'{"kind":"decision"}')
    await any_store.commit([change_of(snapshot, records=[*others, wanted])])

    assert await any_store.find_record(wanted.record_id) == wanted.body
    assert await any_store.find_record(decision_id(partition, snapshot.now_ms, 600)) is None


@pytest.mark.parametrize("text", ["", "017", "256-18bcfe56800-0123456789abcdef", "017-18bcfe56800-x", "017-*-0", "é"])
async def test_a_text_that_is_no_decision_id_finds_nothing(any_store: Store, text: str) -> None:
    assert await any_store.find_record(text) is None


async def test_an_erased_customer_is_unknown(any_store: Store) -> None:
    await any_store.commit([Change("C-1", 0, FULL_STATE, FULL_PROFILE)])

    assert await any_store.erase("C-1")

    snapshot = await read_one(any_store)
    assert (snapshot.state_version, snapshot.profile) == (0, None)
    assert snapshot.state.person_key != FULL_STATE.person_key
    assert not await any_store.erase("C-1")


async def test_a_commit_from_before_an_erasure_cannot_bring_the_old_keys_back(any_store: Store) -> None:
    await any_store.commit([Change("C-1", 0, FULL_STATE)])
    before = await read_one(any_store)
    await any_store.erase("C-1")

    assert isinstance(await commit_one(any_store, change_of(before)), Lost)
    await any_store.commit([change_of(await read_one(any_store))])
    assert isinstance(await commit_one(any_store, change_of(before)), Lost)

    assert (await read_one(any_store)).state.sealing_key != FULL_STATE.sealing_key


async def test_who_has_records_is_found_by_person_key_until_erased(any_store: Store) -> None:
    partition, person = partition_of("C-1"), FULL_STATE.person_key
    await any_store.commit([Change("C-1", 0, FULL_STATE)])
    assert await any_store.customers_of(partition, [person]) == [None]

    await any_store.commit([change_of(await read_one(any_store), records=[Record("a", b"{}")])])
    assert await any_store.customers_of(partition, ["nobody", person]) == [None, "C-1"]
    assert await any_store.customers_of((partition + 1) % 256, [person]) == [None]
    assert await any_store.customers_of(partition, []) == []

    await any_store.erase("C-1")
    assert await any_store.customers_of(partition, [person]) == [None]


async def test_a_record_without_a_change_of_state_says_whose_person_key_it_is_too(any_store: Store) -> None:
    partition, person = partition_of("C-1"), FULL_STATE.person_key
    await any_store.commit([Change("C-1", 0, FULL_STATE)])
    version = (await read_one(any_store)).state_version

    late = Change("C-1", version + 1, None, records=[Record("a", b"{}")])
    assert isinstance(await commit_one(any_store, late), Lost)
    assert await any_store.customers_of(partition, [person]) == [None]

    await any_store.commit([Change("C-1", version, None, records=[Record("b", b"{}")])])
    assert await any_store.customers_of(partition, [person]) == ["C-1"]


async def test_a_series_takes_only_numbers_that_are_higher_than_all_before(any_store: Store) -> None:
    assert await any_store.append("folds", 1, b"one")
    assert await any_store.append("folds", 3, b"three")

    assert not await any_store.append("folds", 3, b"another three")
    assert not await any_store.append("folds", 2, b"two")
    assert await any_store.append("others", 2, b"\x00")

    assert await any_store.entries("folds", after=0, limit=10) == [Numbered(1, b"one"), Numbered(3, b"three")]
    assert await any_store.entries("folds", after=1, limit=10) == [Numbered(3, b"three")]
    assert await any_store.entries("folds", after=0, limit=1) == [Numbered(1, b"one")]
    assert await any_store.latest("folds") == Numbered(3, b"three")
    assert await any_store.latest("folds", after=3) is None
    assert await any_store.latest("absent") is None


async def test_of_many_writers_of_one_number_one_succeeds(any_store: Store) -> None:
    taken = await asyncio.gather(*(any_store.append("folds", 7, b"%d" % writer) for writer in range(16)))

    assert sorted(taken) == [False] * 15 + [True]
    [entry] = await any_store.entries("folds", after=0, limit=10)
    assert entry.body == b"%d" % taken.index(True)


async def test_a_series_forgets_its_beginning_and_goes_on_counting(any_store: Store) -> None:
    for number in (1, 2, 3):
        await any_store.append("folds", number, b"")

    await any_store.forget("folds", before=-1)
    assert len(await any_store.entries("folds", after=0, limit=10)) == 3
    await any_store.forget("folds", before=3)
    assert [entry.number for entry in await any_store.entries("folds", after=0, limit=10)] == [3]
    await any_store.forget("folds", before=9)

    assert await any_store.latest("folds") is None
    assert not await any_store.append("folds", 3, b"again")


async def test_notes_gather_words(any_store: Store) -> None:
    await any_store.note(
        [Note(3, "trial", frozenset({"impression"}), ttl_s=60), Note(4, "trial", frozenset("x"), ttl_s=9)]
    )
    await any_store.note([Note(3, "trial", frozenset({"clicked", "impression"}), ttl_s=60)])

    assert await any_store.notes([(3, "trial"), (4, "trial"), (3, "other")]) == [
        frozenset({"impression", "clicked"}),
        frozenset("x"),
        frozenset(),
    ]
    await any_store.note([])


async def test_a_job_has_one_owner_until_its_lease_ends(any_store: Store) -> None:
    assert await any_store.own("worker", "host-1", ttl_ms=60_000)
    assert not await any_store.own("worker", "host-2", ttl_ms=60_000)
    assert await any_store.own("other", "host-2", ttl_ms=60_000)

    assert await any_store.own("worker", "host-1", ttl_ms=50)  # a renewal may shorten, which gives the job back
    await asyncio.sleep(0.1)

    assert await any_store.own("worker", "host-2", ttl_ms=60_000)


async def test_a_registry_keeps_values_by_kind_and_name(any_store: Store) -> None:
    await any_store.put("strategy", "b2", b"\x00bundle")
    await any_store.put("strategy", "a1", b"older")
    await any_store.put("strategy", "a1", b"newer")
    await any_store.put("current", "strategy", b"b2")

    assert await any_store.names("strategy") == ["a1", "b2"]
    assert await any_store.get("strategy", "b2") == b"\x00bundle"
    assert await any_store.get("strategy", "a1") == b"newer"
    assert await any_store.get("model", "a1") is None
    assert await any_store.remove("strategy", "a1")
    assert not await any_store.remove("strategy", "a1")
    assert await any_store.names("strategy") == ["b2"]
    assert await any_store.names("model") == []


async def test_any_text_can_be_a_key(any_store: Store) -> None:
    for key in ("with space", "Zoë", "{p000}:c:C-1", "a\r\nDEL b", "x" * 500):
        change = change_of(await read_one(any_store, key), once=[Once(key, key, ttl_s=60)])
        assert isinstance(await commit_one(any_store, change), Committed)
        assert await left(any_store, key, key) == key
        assert await any_store.erase(key)


async def test_a_store_answers_a_ping(any_store: Store) -> None:
    await any_store.ping()
