"""The learner: every response once, in one order, about the trial it belongs to."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from decisioning.customer import Snapshot, partition_of
from decisioning.errors import Overtaken, StoreUnavailable, VersionMissing
from decisioning.history import worker
from decisioning.learning.chain import HALF_LIFE_DAYS, TRIAL_KEPT_S, Chain, Entry, States, regressors_of
from decisioning.learning.checkpoints import checkpoints, folds_of
from decisioning.learning.hearing import FORGOTTEN, time_of
from decisioning.learning.model_state import ModelState, days, latest_state, state_at, states_of
from decisioning.scoring import ModelScorer
from decisioning.store.memory import MemoryStore
from decisioning.store.packing import parsed
from decisioning.store.protocol import Change, Record
from models import PropensityModel
from models.adaptive import Learner
from tests.decisioning.bank import FILES, GOLD, NOW_MS, strategy
from tests.decisioning.test_count import listing
from tests.learning.classroom import QUICK, Classroom, model_of


class Clock:
    """A millisecond passes at every look; tests move it further."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The store's, and the learner's for ages."""
    clock = Clock()
    monkeypatch.setattr("decisioning.learning.job.clock_ms", clock)
    return clock


@pytest.fixture
def room(clock: Clock) -> Classroom:
    return Classroom(MemoryStore(clock))


async def newest(room: Classroom) -> ModelState:
    state = await latest_state(room.store, room.current_model)
    assert state is not None
    return state


def same(one: ModelState, other: ModelState) -> bool:
    """Bit by bit."""
    arrays = [(each.posterior.means.tobytes(), each.posterior.variances.tobytes()) for each in (one, other)]
    rest = [(each.number, each.model, each.posterior.nodes, each.impressions, each.positions) for each in (one, other)]
    return arrays[0] == arrays[1] and rest[0] == rest[1]


def chance(room: Classroom, state: ModelState | None, action: str = GOLD) -> float:
    """Propensity for some customer."""
    scorer = ModelScorer(room.bank, room.current_model, state)
    values = {"customer.age": 40.0, "customer.income": 3000.0, "channel": "web"}
    return float(scorer.scores(values).propensity[room.bank.action_index[action]])


async def test_what_comes_of_one_rank_of_a_list_is_learnt_of_that_rank_alone(clock: Clock) -> None:
    room = Classroom(MemoryStore(clock), bank=listing())
    decision = await room.decide("C-1", "web.list")
    second = replace(decision, placements=decision.placements[1:])

    await room.tell(second, "impression")
    await room.tell(second, "accepted")
    await room.learn()

    action = second.placements[0].action
    assert action != decision.placements[0].action
    assert await room.steps() == [
        (decision.decision_id, action, "negative"),
        (decision.decision_id, action, "revise"),
    ]


async def test_nothing_answered_is_no_state(room: Classroom) -> None:
    await room.decide()

    await room.learn()

    assert await latest_state(room.store, room.current_model) is None


async def test_an_impression_lowers_the_estimate_at_once_and_an_acceptance_raises_it_above(room: Classroom) -> None:
    decision = await room.decide()
    await room.tell(decision, "impression")
    await room.learn()
    seen = await newest(room)

    await room.tell(decision, "accepted")
    await room.learn()
    accepted = await newest(room)

    assert (seen.number, accepted.number) == (1, 2)
    assert chance(room, seen) < chance(room, None) < chance(room, accepted)
    assert await room.steps() == [(decision.decision_id, GOLD, "negative"), (decision.decision_id, GOLD, "revise")]


async def test_what_is_folded_is_what_decided(room: Classroom) -> None:
    decision = await room.decide(age=61, income=900.0 + 700.0)
    await room.tell(decision, "accepted")

    await room.learn()

    state, model = await newest(room), room.current_model
    by_hand = Learner(model, half_life=HALF_LIFE_DAYS)
    regressors = model.regressors({"customer.age": 61, "customer.income": 1600.0, "channel": "web"})
    by_hand.fold(regressors, GOLD, True, days(state.at_ms))
    assert state.posterior.means.tobytes() == by_hand.posterior(days(state.at_ms)).means.tobytes()
    assert state.impressions == {GOLD: 1}


async def test_an_attribute_barred_for_the_purpose_does_not_learn(clock: Clock) -> None:
    schema = FILES["schema.yaml"].replace(
        "age: {type: int, min: 16, max: 120, source: crm, personal: true}",
        "age: {type: int, min: 16, max: 120, source: crm, personal: true, allowed_for: [service]}",
    )
    cards = FILES["actions/cards.yaml"].replace('    eligibility: ["customer.age >= 18"]\n', "")
    bank = strategy({"schema.yaml": schema, "actions/cards.yaml": cards})
    room = Classroom(MemoryStore(clock), bank=bank)
    await room.tell(await room.decide(), "accepted")

    await room.learn()

    moved = (await newest(room)).posterior.means != room.current_model.posterior.means
    barred = room.current_model.columns_barred(frozenset({"customer.age"}))
    assert moved[:, ~barred].any() and not moved[:, barred].any()


async def test_a_render_in_another_channel_belongs_to_the_draw(room: Classroom) -> None:
    drawn = await room.decide("C-1", "web.hero")
    rendered = await room.decide("C-1", "email.hero")
    assert rendered.placements[0].lease_of == drawn.decision_id

    await room.tell(drawn, "impression")
    await room.tell(rendered, "impression", "accepted")
    await room.learn()

    assert await room.steps() == [(drawn.decision_id, GOLD, "negative"), (drawn.decision_id, GOLD, "revise")]


async def test_what_was_drawn_for_a_machine_teaches_nothing_even_when_it_is_answered(room: Classroom) -> None:
    for customer_key, client_class in (("C-1", "proxy"), ("C-2", "unknown"), ("C-3", "person")):
        decision = await room.decide(customer_key, client_class=client_class)
        await room.tell(decision, "impression", "accepted", customer_key=customer_key)

    await room.learn()

    assert {decision_id for decision_id, _, _ in await room.steps()} == {decision.decision_id}


async def test_repeats_fold_once_in_one_round_or_in_two(room: Classroom) -> None:
    decision = await room.decide()
    await room.tell(decision, "impression", "impression")
    await room.learn()
    await room.tell(decision, "impression", "no_response")
    await room.learn()

    assert await room.steps() == [(decision.decision_id, GOLD, "negative")]


async def test_a_label_that_needs_two_outcomes_gets_them_from_two_rounds(room: Classroom) -> None:
    decision = await room.decide()
    await room.tell(decision, "rendered")
    await room.learn()
    assert await room.steps() == []

    await room.tell(decision, "machine_open")
    await room.learn()

    assert await room.steps() == [(decision.decision_id, GOLD, "negative")]


async def test_what_was_not_delivered_is_taken_back(room: Classroom) -> None:
    decision = await room.decide()
    await room.tell(decision, "impression", "undelivered")

    await room.learn()

    state = await newest(room)
    assert [step for *_, step in await room.steps()] == ["negative", "retract"]
    assert state.impressions == {GOLD: 0}
    assert chance(room, state) == pytest.approx(chance(room, None), rel=1e-2)


async def test_messages_and_conversions_without_a_decision_are_no_trials(room: Classroom) -> None:
    decision = await room.decide(age=17)
    assert decision.placements[0].outcome == "message"
    await room.tell(decision, "impression", "accepted")
    body = b'{"kind":"response","decision_id":null,"placement":null,"outcome":"converted","action":"grow/cards/gold"}'
    [snapshot] = await room.store.read(["C-1"])
    await room.store.commit(
        [Change("C-1", snapshot.state_version, snapshot.state, records=[Record("conversion", body)])]
    )

    await room.learn()

    assert await room.steps() == []


async def test_unreadable_records_do_not_hold_it_up(room: Classroom) -> None:
    decision = await room.decide()
    [snapshot] = await room.store.read(["C-1"])
    bodies = b"{", b"[1]", b'{"kind":"guess"}', b'{"kind":"response"}', b'{"kind":"response","decision_id":1}', b"\xff"
    poison = [Record(f"poison{at}", body) for at, body in enumerate(bodies)]
    await room.store.commit([Change("C-1", snapshot.state_version, snapshot.state, records=poison)])
    await room.tell(decision, "accepted")

    await room.learn()

    assert await room.steps() == [(decision.decision_id, GOLD, "positive")]


async def test_a_late_positive_finds_its_decision_in_history(room: Classroom, clock: Clock) -> None:
    decision = await room.decide()
    await room.tell(decision, "impression")
    await room.learn()
    partition = partition_of("C-1")
    [entry, *_] = await room.store.log(partition, after="0-0", limit=1)
    room.history[decision.decision_id] = parsed(entry.record.body)
    clock.now_ms += 20 * 86_400_000
    await room.store.trim(partition, before=f"{clock.now_ms}-0")

    await room.tell(decision, "converted")
    await room.learn()

    assert [step for *_, step in await room.steps()] == ["negative", "revise"]


async def test_the_job_is_kept_while_history_is_searched(room: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = [await room.decide(f"C-{number}") for number in range(3)]
    for number, decision in enumerate(decisions):
        await room.store.trim(partition_of(f"C-{number}"), before=f"{NOW_MS + 10**6}-0")
        await room.tell(decision, "accepted", customer_key=f"C-{number}")
    own, renewed, searches = room.store.own, threading.Semaphore(0), []

    async def counted(job: str, owner: str, *, ttl_ms: int) -> bool:
        renewed.release()
        return await own(job, owner, ttl_ms=ttl_ms)

    def slow_disk(decision_ids: Sequence[str]) -> dict[str, Any]:
        searches.append((sorted(decision_ids), all(renewed.acquire(timeout=10) for _ in range(8))))
        return {}

    monkeypatch.setattr(room.store, "own", counted)
    monkeypatch.setattr(room, "archived", slow_disk)

    await room.learn()

    assert searches == [(sorted(each.decision_id for each in decisions), True)]


async def test_a_response_to_a_trial_that_is_forgotten_is_not_learnt_from(room: Classroom, clock: Clock) -> None:
    decision = await room.decide()
    await room.tell(decision, "impression")
    await room.learn()
    clock.now_ms += TRIAL_KEPT_S * 1000 + 1

    await room.tell(decision, "accepted")
    await room.learn()

    assert [step for *_, step in await room.steps()] == ["negative"]


async def test_a_response_whose_decision_nobody_has_is_left_out(room: Classroom, clock: Clock) -> None:
    decision, partition = await room.decide(), partition_of("C-1")
    await room.store.trim(partition, before=f"{clock.now_ms + 1}-0")
    await room.tell(decision, "accepted")

    await room.learn()

    assert await room.steps() == []


async def test_the_trials_of_an_erased_customer_are_passed_over(room: Classroom) -> None:
    for customer_key in ("C-1", "C-2"):
        await room.tell(await room.decide(customer_key), "accepted", customer_key=customer_key)
    await room.store.erase("C-1")

    progress = await room.learn()

    assert (progress.folded, progress.passed_over) == (1, 1)
    assert (await newest(room)).impressions == {GOLD: 1}


async def test_a_model_learns_from_its_own_decisions(room: Classroom) -> None:
    first, newer = room.current, model_of(intercept=-3.0)
    of_first = await room.decide("C-1")
    await room.tell(of_first, "impression")
    await room.learn()

    room.models[newer.version], room.current = newer, newer.version
    of_newer = await room.decide("C-2")
    await room.tell(of_newer, "accepted", customer_key="C-2")
    await room.tell(of_first, "accepted")
    await room.learn()
    assert await room.steps() == [(of_newer.decision_id, GOLD, "positive")]

    room.current = first  # promoted again, it goes on where it stood
    await room.learn()
    assert [(trial, step) for trial, _, step in await room.steps()] == [
        (of_first.decision_id, "negative"),
        (of_first.decision_id, "revise"),
    ]


async def test_one_model_that_cannot_be_had_does_not_keep_the_others_from_learning(room: Classroom) -> None:
    async def deciding() -> list[str]:
        return ["gone", room.current]

    async def model(version: str) -> Any:
        if version == "gone":
            raise VersionMissing("model gone is not here")
        return room.current_model

    room.deciding, room.model = deciding, model  # type: ignore[method-assign]  # a library that lacks one
    await room.tell(await room.decide(), "accepted")

    progress = await room.learn()

    assert "model gone is not here" in progress.trouble
    assert (await newest(room)).number == 1


async def test_a_model_that_comes_late_learns_what_was_answered_while_another_was_read(
    room: Classroom, clock: Clock
) -> None:
    known, late = room.current, model_of(intercept=-3.0)
    here: dict[str, PropensityModel] = {known: room.current_model}

    async def deciding() -> list[str]:
        return [known, late.version]

    async def model(version: str) -> PropensityModel:
        if version not in here:
            raise VersionMissing(f"model {version} is not here")
        return here[version]

    room.deciding, room.model = deciding, model  # type: ignore[method-assign]  # a library that lacks one
    room.models[late.version], room.current = late, late.version
    answered = []
    for number in range(2):
        answered.append(await room.decide(f"C-{number}"))
        await room.tell(answered[-1], "impression", customer_key=f"C-{number}")
        await room.learn()
        clock.now_ms += 3_600_000

    here[late.version] = late
    await room.learn()

    assert [(each.decision_id, GOLD, "negative") for each in answered] == await room.steps()


async def forget_most(room: Classroom, directory: Path) -> None:
    """A history worker moves all there is and lets the store forget what it can."""
    stop, pace = asyncio.Event(), worker.Pace(flush_ms=1, retention_bytes=1)

    def look(progress: worker.Progress) -> None:
        if progress.moved and progress.stored_bytes:  # looked at after a trim
            stop.set()

    async with asyncio.timeout(20):
        await worker.run_worker(room.store, directory, poll_ms=1, stop=stop, on_progress=look, pace=pace)


@pytest.mark.parametrize("was_read", [True, False])
async def test_it_says_that_records_left_the_store_before_it_read_them(
    room: Classroom, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture, was_read: bool
) -> None:
    await room.tell(await room.decide("C-1"), "accepted")
    await room.learn()
    clock.now_ms += 3_600_000
    await room.tell(await room.decide("C-2"), "accepted", "impression", customer_key="C-2")
    if was_read:
        await room.learn()

    await forget_most(room, tmp_path)
    first, second = await room.learn(), await room.learn()

    told = [each.getMessage() for each in caplog.records if "before the learner read" in each.getMessage()]
    assert (bool(first.unread_ms), len(told)) == ((False, 0) if was_read else (True, 1))
    assert all("nextbest train --recorded" in each for each in told)
    assert second.unread_ms == 0, "what follows was read in time"


async def test_a_learner_that_is_behind_says_what_a_trim_took_from_before_it(
    room: Classroom, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decisioning.learning.hearing.PAGE_RECORDS", 1)
    partition, rounds, deciding = partition_of("C-1"), [], room.deciding
    for _ in range(3):
        await room.tell(await room.decide(), "clicked")
        clock.now_ms += 3_600_000
    await room.decide("C-2")  # another partition is read further
    times_ms = [time_of(each.position) for each in await room.store.log(partition, after="0-0", limit=9)]

    async def trimmed_in_the_second_round() -> Sequence[str]:
        rounds.append(len(rounds))
        if len(rounds) == 2:
            await room.store.put(*FORGOTTEN, str(times_ms[-1]).encode())
            await room.store.trim(partition, before=f"{times_ms[-1]}-0")
        return await deciding()

    monkeypatch.setattr(room, "deciding", trimmed_in_the_second_round)

    progress = await room.learn()

    assert progress.unread_ms == times_ms[-1] - times_ms[0]


async def test_records_forgotten_before_any_learner_began_are_nobodys_loss(room: Classroom, tmp_path: Path) -> None:
    await room.tell(await room.decide(), "impression", "accepted")
    await forget_most(room, tmp_path)

    progress = await room.learn()

    assert progress.unread_ms == 0


async def many_answers(room: Classroom, count: int) -> None:
    """Decisions for several customers; each third one is accepted after it was seen."""
    for number in range(count):
        customer_key = f"C-{number}"
        decision = await room.decide(customer_key, age=20 + number)
        await room.tell(decision, "impression", customer_key=customer_key)
        if number % 3 == 0:
            await room.tell(decision, "accepted", customer_key=customer_key)


async def test_any_state_is_rebuilt_bit_by_bit_from_a_checkpoint_and_the_entries(room: Classroom, clock: Clock) -> None:
    published = []
    for _ in range(8):
        await many_answers(room, 3)
        await room.learn()
        published.append(await newest(room))
        clock.now_ms += 1_500_000

    kept = [each.number for each in await checkpoints(room.store)]
    assert 1 < len(kept) < len(published)
    for state in published:
        assert same(await States(room.store, room.current_model).state(state.number), state)
    for number in (0, len(published) + 1):
        with pytest.raises(VersionMissing):
            await States(room.store, room.current_model).state(number)


async def test_a_rebuild_that_needs_an_erased_customer_says_so(room: Classroom) -> None:
    for number in range(5):
        await room.tell(await room.decide(f"C-{number}"), "accepted", customer_key=f"C-{number}")
        await room.learn()
    await room.store.erase("C-1")

    assert (await States(room.store, room.current_model).state(5)).number == 5  # it is kept as it was published
    assert (await States(room.store, room.current_model).state(1)).number == 1  # nothing of the customer is in it
    with pytest.raises(VersionMissing, match="erased"):
        await States(room.store, room.current_model).state(2)


async def test_a_rebuild_asks_for_a_few_customers_at_a_time(room: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decisioning.people.PAGE", 4)
    await room.tell(await room.decide("C-first"), "accepted", customer_key="C-first")
    await room.learn()
    await many_answers(room, 10)
    await room.learn()
    published, asked, read = await newest(room), [], room.store.read
    await room.store.forget(states_of(room.current), before=published.number + 1)

    async def counted(customer_keys: Sequence[str]) -> list[Snapshot]:
        asked.append(len(customer_keys))
        return await read(customer_keys)

    monkeypatch.setattr(room.store, "read", counted)

    assert same(await States(room.store, room.current_model).state(published.number), published)
    assert max(asked) <= 4 and sum(asked) >= 10


async def test_what_no_younger_state_needs_is_forgotten(
    room: Classroom, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decisioning.learning.chain.CHECKPOINT_ROWS", 2)
    pace = replace(QUICK, retention_ms=5 * 3_600_000)
    for number in range(12):
        await room.tell(await room.decide(f"C-{number}"), "impression", customer_key=f"C-{number}")
        await room.learn(pace=pace)
        clock.now_ms += 3_600_000

    entries = [each.number for each in await room.store.entries(folds_of(room.current), after=0, limit=100)]
    assert 5 <= len(entries) < 12 and entries[-1] == 12
    assert (await States(room.store, room.current_model).state(8)).number == 8
    with pytest.raises(VersionMissing):
        await States(room.store, room.current_model).state(2)


async def test_of_a_model_that_decides_no_more_one_state_stays_from_which_it_goes_on(
    room: Classroom, clock: Clock
) -> None:
    first, newer, pace = room.current, model_of(intercept=-3.0), replace(QUICK, retention_ms=86_400_000)
    for number in range(5):
        await room.tell(await room.decide(f"C-{number}"), "impression", customer_key=f"C-{number}")
        await room.learn(pace=pace)
    last = await newest(room)
    room.models[newer.version], room.current = newer, newer.version
    clock.now_ms += 2 * 86_400_000
    await room.learn(pace=pace)

    left = [await room.store.entries(series, after=0, limit=9) for series in (states_of(first), folds_of(first))]
    assert ([len(each) for each in left], await checkpoints(room.store)) == ([1, 0], [])

    room.current = first
    for number in range(4):
        await room.tell(await room.decide(f"C-{number}"), "accepted", customer_key=f"C-{number}")
        await room.learn(pace=pace)
    for number in (6, 7, 9):
        assert (await States(room.store, room.current_model).state(number)).number == number
    assert same(await States(room.store, room.current_model).state(5), last)


async def test_a_stale_learner_can_neither_fork_the_order_nor_publish(room: Classroom) -> None:
    await many_answers(room, 3)
    await room.learn()
    stale, ahead = [await Chain.resume(room.store, room.current_model, start="0-0") for _ in range(2)]
    [first] = await room.store.entries(folds_of(room.current), after=0, limit=1)
    again = replace(Entry.unpacked(first.body), heard=[])
    regressors = [each for each in await regressors_of(room.store, again.rows) if each is not None]

    await ahead.record(again, regressors)
    with pytest.raises(Overtaken):
        await stale.record(again, regressors[:0] + regressors)

    assert same(await newest(room), state_at(ahead.standing, ahead.learner, ahead.model))
    assert len(await room.store.entries(folds_of(room.current), after=0, limit=10)) == 2


async def test_two_learners_who_both_believe_to_own_the_job_fold_each_step_once(room: Classroom) -> None:
    await many_answers(room, 30)
    pace = replace(QUICK, lease_ms=0)  # a lease that never keeps anybody out

    await asyncio.gather(*(room.learn(pace=pace) for _ in range(3)))
    await room.learn()

    await assert_each_folded_once(room, 30)


async def assert_each_folded_once(room: Classroom, count: int) -> None:
    steps = sorted((trial, step) for trial, _, step in await room.steps())
    assert len(set(steps)) == len(steps) == count + len(range(0, count, 3))
    state = await newest(room)
    assert sum(state.impressions.values()) == count
    numbers = [each.number for each in await room.store.entries(folds_of(room.current), after=0, limit=1_000)]
    assert numbers == list(range(1, state.number + 1))
    chain = await Chain.resume(room.store, room.current_model, start="0-0")
    assert chain.standing.number == state.number


class Mortal:
    """A store whose caller dies before its n-th write: from then on nothing gets through."""

    WRITES = ("append", "note", "put", "remove", "forget", "own", "trim", "commit")

    def __init__(self, store: MemoryStore, writes: int) -> None:
        self._store = store
        self._left = writes
        self.died = False

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if name not in self.WRITES:
            return verb

        async def write(*arguments: Any, **named: Any) -> Any:
            if self._left <= 0:
                self.died = True
                raise StoreUnavailable("dead")
            self._left -= 1
            return await verb(*arguments, **named)

        return write


async def test_a_learner_that_dies_before_any_write_is_succeeded_by_one_that_ends_the_same(
    room: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decisioning.learning.hearing.PAGE_RECORDS", 2)  # several entries
    monkeypatch.setattr("decisioning.learning.job.TROUBLE_PAUSE_MS", 1)
    await many_answers(room, 6)
    await room.decide("C-0")
    start = room.store
    ends = set()
    writes, died = 0, True
    while died:
        room.store = copy.deepcopy(start)
        mortal = Mortal(room.store, writes)  # type: ignore[arg-type]
        survivor, room.store = room.store, mortal  # type: ignore[assignment]
        await room.learn()
        room.store = survivor

        await room.learn()

        died = mortal.died
        await assert_each_folded_once(room, 6)
        ends.add((await newest(room)).posterior.means.tobytes())
        writes += 1
    assert writes > 10
    assert len(ends) == 1


async def test_a_new_action_starts_at_its_group_and_is_told_apart_after_its_first_trials(room: Classroom) -> None:
    cards = FILES["actions/cards.yaml"].replace("  silver:", "  bronze:")
    room.bank = strategy({"actions/cards.yaml": cards})
    bronze = "grow/cards/bronze"
    assert chance(room, None, bronze) == chance(room, None, GOLD)
    for number in range(4):
        decision = await room.decide(f"C-{number}", income=900.0)
        assert decision.placements[0].action == bronze
        await room.tell(decision, "accepted", customer_key=f"C-{number}")

    await room.learn()

    state = await newest(room)
    assert state.impressions == {bronze: 4}
    assert chance(room, state, bronze) > chance(room, state, GOLD) > chance(room, None, GOLD)
