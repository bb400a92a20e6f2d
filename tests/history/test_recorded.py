"""Recorded history becomes a training table: what was seen, by whom, in what moment, and what was answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decisioning.catalog.strategy import Strategy
from decisioning.customer import Profile, SourceFacts, partition_of
from decisioning.decide import decide
from decisioning.errors import TableFaulty
from decisioning.history.archive import Archive
from decisioning.history.datasets import row_of
from decisioning.history.explored import read_explored
from decisioning.history.recorded import FOR_MACHINES, UNSEEN, read_recorded
from decisioning.history.reopened import CLOSED, FOREIGN
from decisioning.history.training import TrainingTable
from decisioning.interactions import DAY_MS
from decisioning.opening import PERSON, PROXY, ClientClass, open_by_machine, open_by_person, seen_by_machine
from decisioning.records import Versions, decision_record
from decisioning.request import Decision, Request
from decisioning.scoring import StatedScorer
from decisioning.store.memory import MemoryStore
from decisioning.store.protocol import Change, Committed, Record
from models.incremental import NOTHING
from tests.decisioning.bank import FILES, GOLD, NOW_MS, PROPENSITIES, SILVER, strategy
from tests.decisioning.test_count import listing
from tests.history.record_examples import logged, response

MINUTE_MS = 60_000


class Bank:
    """A store, its clock, and a history directory that receives what is committed."""

    def __init__(self, directory: Path, offered: Strategy | None = None) -> None:
        self.now_ms = NOW_MS
        self.store = MemoryStore(lambda: self.now_ms)
        self.directory = directory
        self.strategy = offered or strategy()
        self.states: list[str] = []  # of the model, which decide in turn
        self._logged: list[Record] = []

    async def know(self, customer: str, **attributes: Any) -> None:
        """Store a customer."""
        [snapshot] = await self.store.read([customer])
        core = {name: attributes.pop(name) for name in ("income", "suspicious") if name in attributes}
        sources = {"crm": SourceFacts(self.now_ms, attributes), "core": SourceFacts(self.now_ms, core)}
        await self._commit(Change(customer, snapshot.state_version, snapshot.state, Profile(sources)))

    async def decide(self, customer: str, channel: str = "web", placement: str = "hero", **context: Any) -> Decision:
        """Decide for one placement of a channel, commit and log."""
        self.now_ms += MINUTE_MS
        [snapshot] = await self.store.read([customer])
        request = Request(customer, channel, (f"{channel}.{placement}",), context)
        partition_and_time = f"{partition_of(customer):03d}-{self.now_ms:x}-{len(self._logged):016x}"
        decision = decide(
            request, snapshot, self.strategy, StatedScorer(self.strategy, PROPENSITIES), decision_id=partition_and_time
        )
        state = self.states[len(self._logged) % len(self.states)] if self.states else None
        versions = Versions(self.strategy.version, "m" * 64, state)
        body = decision_record(decision, request, snapshot, self.strategy, versions, key_id="k")
        record = Record(decision.decision_id, body)
        await self._commit(Change(customer, snapshot.state_version, decision.state, records=[record]))
        return decision

    async def open_mail(self, customer: str, client_class: ClientClass) -> Decision:
        """Have the picture of the customer's one mail fetched, commit and log."""
        self.now_ms += MINUTE_MS
        [snapshot] = await self.store.read([customer])
        opens = open_by_person if client_class == PERSON else open_by_machine
        request = Request(customer, "email", ("email.hero",))
        decision_id = f"{partition_of(customer):03d}-{self.now_ms:x}-{len(self._logged):016x}"
        scorer = StatedScorer(self.strategy, PROPENSITIES)
        opening = opens(request, snapshot, self.strategy, scorer, token_id="t", decision_id=decision_id)
        decision = opening.decision
        seen = snapshot if client_class == PERSON else seen_by_machine(snapshot, "t")
        versions = Versions(self.strategy.version, "m" * 64)
        body = decision_record(
            decision, request, seen, self.strategy, versions, key_id="mail", client_class=client_class
        )
        record = Record(decision.decision_id, body)
        await self._commit(Change(customer, snapshot.state_version, decision.state, records=[record]))
        return decision

    def answer(self, decision: Decision, outcome: str, *, rank: int = 1, **changes: Any) -> None:
        """Log a response to one rank of a decision's only placement."""
        placed = decision.placements[rank - 1]
        fields: Mapping[str, Any] = {"placement": placed.placement, "action": placed.action, "value": None, **changes}
        number = len(self._logged)
        told = response(number, decision_id=decision.decision_id, outcome=outcome, **fields)
        self._logged.append(logged(told))

    async def convert(self, customer: str, action: str, **changes: Any) -> None:
        """Log a conversion that answers no decision."""
        [snapshot] = await self.store.read([customer])
        fields: Mapping[str, Any] = {"at_ms": self.now_ms, "person_key": snapshot.state.person_key, **changes}
        told = response(len(self._logged), decision_id=None, placement=None, action=action, outcome="converted")
        self._logged.append(logged(told | fields))

    async def recorded(self) -> TrainingTable:
        """The training table of all that was logged."""
        self.move()
        return await read_recorded(self.directory, self.strategy, self.store, lambda done, total: None)

    async def explored(self) -> TrainingTable | None:
        """The randomised test that all that was logged amounts to."""
        self.move()
        return await read_explored(self.directory, self.strategy, self.store, lambda done, total: None)

    def move(self) -> None:
        """Do the worker's work."""
        archive = Archive(self.directory)
        archive.commit(archive.prepare([row_of(each.record_id, each.body) for each in self._logged], [], {}))

    async def _commit(self, change: Change) -> None:
        [outcome] = await self.store.commit([change])
        assert isinstance(outcome, Committed)
        self._logged += change.records


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


async def test_what_was_seen_becomes_a_row_with_the_features_it_had_then(bank: Bank) -> None:
    await bank.know("C-1", age=44, tier="classic", income=3000.0)
    decision = await bank.decide("C-1", page="home")
    bank.answer(decision, "impression")
    await bank.know("C-1", age=45, tier="gold", income=100.0)

    table = await bank.recorded()

    assert decision.placements[0].action == GOLD
    assert {path: values[0] for path, values in table.columns.items()} == {
        "customer.age": 44,
        "customer.income": 3000.0,
        "context.page": "home",
        "channel": "web",
    }  # `tier` no rule reads, so no decision has it in its record
    assert table.kinds["customer.age"] == "numeric" and table.kinds["context.page"] == "categorical"
    assert (table.actions, table.labels.tolist()) == ([GOLD], [0])
    assert table.order is not None and table.order.tolist() == [decision.at_ms]
    assert table.logging_probability is not None and table.logging_probability.tolist() == [1.0]


async def test_a_late_answer_in_another_channel_makes_the_draw_positive(bank: Bank) -> None:
    await bank.know("C-1", age=44, income=3000.0)
    drawn = await bank.decide("C-1")
    rendered = await bank.decide("C-1", "email")
    bank.answer(drawn, "impression")
    bank.answer(rendered, "accepted", value=80.0)

    table = await bank.recorded()

    assert rendered.placements[0].lease_of == drawn.decision_id
    assert (table.columns["channel"], table.labels.tolist()) == (["web"], [1])
    assert table.value is not None and table.value.tolist() == [80.0]


async def test_what_nobody_saw_is_no_row(bank: Bank) -> None:
    for number, outcomes in enumerate((["impression"], ["rendered"], ["rendered", "undelivered"], [])):
        await bank.know(f"C-{number}", age=44, income=3000.0)
        decision = await bank.decide(f"C-{number}")
        for outcome in outcomes:
            bank.answer(decision, outcome)

    table = await bank.recorded()

    assert len(table.actions) == 1
    assert table.excluded == {UNSEEN: 3}


async def test_people_who_were_erased_are_left_out_and_counted(bank: Bank) -> None:
    for customer in ("C-1", "C-2"):
        await bank.know(customer, age=44, income=3000.0)
        bank.answer(await bank.decide(customer), "clicked")
    await bank.store.erase("C-2")
    await bank.know("C-2", age=44, income=3000.0)

    table = await bank.recorded()

    assert len(table.actions) == 1
    assert table.excluded == {CLOSED: 1}


async def test_actions_and_attributes_that_the_strategy_has_no_more_are_left_out(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    for number, income in enumerate((3000.0, 500.0)):
        await bank.know(f"C-{number}", age=44, income=income)
        bank.answer(await bank.decide(f"C-{number}"), "impression")
    bank.strategy = strategy(
        {
            "actions/cards.yaml": CARDS_WITHOUT_GOLD,
            "contact_policies.yaml": "{}",
            "schema.yaml": FILES["schema.yaml"].replace("income: {type", "earnings: {type"),
        }
    )

    table = await bank.recorded()

    assert table.actions == [SILVER]
    assert "customer.income" not in table.columns and table.columns["customer.age"] == [44]
    assert table.excluded == {FOREIGN: 1}


async def test_a_history_without_answers_says_so(bank: Bank) -> None:
    await bank.know("C-1", age=44, income=3000.0)
    await bank.decide("C-1")

    with pytest.raises(TableFaulty, match="nothing was drawn there that somebody saw"):
        await bank.recorded()


async def test_draws_that_explored_test_every_action_against_nothing_by_what_people_did_next(tmp_path: Path) -> None:
    exploring = FILES["strategy.yaml"] + "exploration: {sacrifice: 0.5}\n"
    bank = Bank(tmp_path, strategy({"strategy.yaml": exploring}))
    decisions = []
    for number in range(40):
        await bank.know(f"C-{number}", age=44, income=3000.0)
        decisions.append(await bank.decide(f"C-{number}"))
    bank.now_ms += DAY_MS
    for number in range(0, 40, 2):
        await bank.convert(f"C-{number}", GOLD, value=10.0)
    await bank.convert("C-1", GOLD, at_ms=bank.now_ms + 7 * DAY_MS)
    bank.now_ms += 7 * DAY_MS
    await bank.know("C-late", age=44, income=3000.0)
    await bank.decide("C-late")

    table = await bank.explored()

    placed = [each.placements[0] for each in decisions]
    tested = [number for number, each in enumerate(placed) if each.outcome != "message"]
    assert table is not None
    assert table.actions == [placed[number].action or NOTHING for number in tested]
    assert {GOLD, NOTHING} <= set(table.actions)
    assert table.labels.tolist() == [1 - number % 2 for number in tested]
    assert table.logging_probability is not None
    assert table.logging_probability.tolist() == [placed[number].selection_probability for number in tested]
    assert table.value is not None and np.nansum(table.value) == 10.0 * sum(table.labels)


async def test_every_rank_of_a_list_is_a_trial_of_its_own(tmp_path: Path) -> None:
    bank = Bank(tmp_path, listing())
    await bank.know("C-1", age=44, income=3000.0)
    decision = await bank.decide("C-1", placement="list")
    bank.answer(decision, "impression", rank=1)
    bank.answer(decision, "accepted", rank=2)

    table = await bank.recorded()

    assert [placed.action for placed in decision.placements[:2]] == [GOLD, SILVER]
    assert (table.actions, table.labels.tolist()) == ([GOLD, SILVER], [0, 1])


async def test_every_rank_of_a_list_is_a_draw_of_its_own(tmp_path: Path) -> None:
    exploring = {"strategy.yaml": FILES["strategy.yaml"] + "exploration: {sacrifice: 0.5}\n"}
    bank = Bank(tmp_path, listing(changes=exploring))
    decisions = []
    for number in range(10):
        await bank.know(f"C-{number}", age=44, income=3000.0)
        decisions.append(await bank.decide(f"C-{number}", placement="list"))
    bank.now_ms += 8 * DAY_MS
    await bank.know("C-late", age=44, income=3000.0)
    await bank.decide("C-late", placement="list")

    table = await bank.explored()

    drawn = [placed for each in decisions for placed in each.placements if placed.outcome != "message"]
    tested = [placed for placed in drawn if (placed.selection_probability or 1.0) < 1.0]
    assert table is not None and len(tested) > 10
    assert sorted(table.actions) == sorted(placed.action or NOTHING for placed in tested)
    assert table.logging_probability is not None
    assert sorted(table.logging_probability) == sorted(placed.selection_probability for placed in tested)


@pytest.mark.parametrize("outcome", ["impression", "clicked", "accepted"])
async def test_what_a_proxy_fetched_is_no_label_whatever_follows_and_a_persons_opening_is_one(
    bank: Bank, outcome: str
) -> None:
    await bank.know("C-1", age=44, income=3000.0)
    await bank.know("C-2", age=45, income=3000.0)
    for customer in ("C-1", "C-2"):
        bank.answer(await bank.open_mail(customer, PROXY), outcome)
    read = await bank.open_mail("C-1", PERSON)
    bank.answer(read, "impression")

    table = await bank.recorded()

    assert (table.actions, table.labels.tolist()) == ([GOLD], [0])
    assert table.order is not None and table.order.tolist() == [read.at_ms]
    assert table.excluded == {FOR_MACHINES: 2}


async def test_what_a_proxy_fetched_tests_nothing_and_a_persons_opening_does(tmp_path: Path) -> None:
    bank = Bank(tmp_path, strategy({"strategy.yaml": FILES["strategy.yaml"] + "exploration: {sacrifice: 0.5}\n"}))
    read = []
    for number in range(20):
        await bank.know(f"C-{number}", age=44, income=3000.0)
        await bank.open_mail(f"C-{number}", PROXY)
        if number % 2:
            read.append(await bank.open_mail(f"C-{number}", PERSON))
    bank.now_ms += 8 * DAY_MS
    await bank.know("C-late", age=44, income=3000.0)
    await bank.decide("C-late")

    table = await bank.explored()

    tested = [each.at_ms for each in read if each.placements[0].outcome != "message"]
    assert table is not None and table.order is not None
    assert tested and table.order.tolist() == tested


async def test_draws_that_do_not_explore_test_nothing(bank: Bank) -> None:
    await bank.know("C-1", age=44, income=3000.0)
    await bank.decide("C-1")
    bank.now_ms += 30 * DAY_MS
    await bank.decide("C-1")

    assert await bank.explored() is None


CARDS_WITHOUT_GOLD = """
issue: grow
group: cards
actions:
  silver:
    kind: offer
    action_value: 50.0
    purpose: marketing
    eligibility: ["customer.age >= 18"]
    treatments:
      web: {placements: [web.hero, web.tile], content: {headline: "Silver"}}
"""
