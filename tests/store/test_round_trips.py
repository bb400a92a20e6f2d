"""How often a request goes to the store: counted on the connections of a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hiredis import Reader

from decisioning.store.lane import Lane
from decisioning.store.link import Call, Command, Link, Reply
from decisioning.store.protocol import Change
from decisioning.store.redis import RedisStore, connect
from decisioning.store.scripts import CLAIM, COMMIT, DELIVER, READ
from tests.api.desk import Desk
from tests.conftest import PATIENCE_MS
from tests.decisioning.bank import GOLD
from tests.decisioning.test_volume import bank_with, constraint
from tests.store.conftest import emptied

CUSTOMER = "C-1"


@dataclass
class Counter:
    """Every exchange with a server, as the verbs or scripts that it carried."""

    trips: list[str] = field(default_factory=list)
    before_commits: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def about_to_send(self, commands: Sequence[Command]) -> None:
        if _said(commands[0]) == "commit" and self.before_commits:
            await self.before_commits.pop()()


def _said(command: Sequence[str | bytes | int]) -> str:
    verb, first = (each.decode() if isinstance(each, bytes) else str(each) for each in command[:2])
    scripts = {COMMIT.digest: "commit", READ.digest: "read", CLAIM.digest: "claim", DELIVER.digest: "deliver"}
    return scripts.get(first.encode(), verb) if verb == "EVALSHA" else verb


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    counting = Counter()
    plain_exchange, plain_send = Lane.exchange, Link.send

    async def exchange(self: Lane, commands: Sequence[Command]) -> list[Reply]:
        await counting.about_to_send(commands)
        return await plain_exchange(self, commands)

    def send(self: Link, batch: Sequence[Call]) -> None:
        commands = Reader()
        commands.feed(b"".join(command for call in batch for command in call.packed))
        counting.trips.append("+".join(_said(commands.gets()) for call in batch for _ in call.packed))
        plain_send(self, batch)

    monkeypatch.setattr(Lane, "exchange", exchange)
    monkeypatch.setattr(Link, "send", send)
    yield counting


@pytest.fixture(params=["server", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    return emptied(request.getfixturevalue(request.param))


@pytest.fixture
async def rival(url: str) -> AsyncIterator[RedisStore]:
    """Another process on the same store."""
    store = connect(url, deadline_ms=PATIENCE_MS)
    await store.read([CUSTOMER])
    yield store
    await store.close()


@pytest.fixture
async def desk(url: str, counter: Counter) -> AsyncIterator[Desk]:
    """The application, its connections made and the scripts known."""
    store = connect(url, deadline_ms=PATIENCE_MS)
    standing = Desk(store)
    await standing.know(CUSTOMER)
    await standing.ask(customer="C-2")
    counter.trips.clear()
    yield standing
    await store.close()


async def test_a_decision_takes_two_round_trips(desk: Desk, counter: Counter) -> None:
    await desk.ask(customer=CUSTOMER)

    assert counter.trips == ["read", "commit"]


async def test_showing_what_is_leased_takes_two_round_trips(desk: Desk, counter: Counter) -> None:
    await desk.ask(customer=CUSTOMER)
    counter.trips.clear()

    shown = await desk.ask(customer=CUSTOMER)
    elsewhere = await desk.ask("email.hero", customer=CUSTOMER)

    assert shown["placements"][0]["reasons"][0] == elsewhere["placements"][0]["reasons"][0] == "lease"
    assert counter.trips == ["read", "commit"] * 2


async def test_a_response_takes_two_round_trips(desk: Desk, counter: Counter) -> None:
    answer = await desk.ask(customer=CUSTOMER)
    counter.trips.clear()

    await desk.tell(event_token=answer["placements"][0]["event_token"], outcome="accepted")

    assert counter.trips == ["read", "commit"]


async def test_an_idempotency_key_costs_none_and_its_repeat_one_more(desk: Desk, counter: Counter) -> None:
    """The commit finds the key taken; the record of then and the customer of now come together."""
    first = await desk.ask(customer=CUSTOMER, idempotency_key="k")
    assert counter.trips == ["read", "commit"]
    counter.trips.clear()

    again = await desk.ask(customer=CUSTOMER, idempotency_key="k")

    assert again["decision_id"] == first["decision_id"]
    assert counter.trips == ["read", "commit", "XRANGE+read"]


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_lost_race_costs_one_round_trip_more(
    rival: RedisStore, desk: Desk, counter: Counter, lost: int
) -> None:
    """The lost commit brings the newer state. The third try is the last one: whoever loses it answers unrecorded."""
    counter.before_commits += [lambda: intrude(rival, counter)] * lost

    answer = await desk.ask(customer=CUSTOMER)

    assert answer["degraded"] is (lost == 3)
    assert counter.trips == ["read", *["commit"] * min(lost + 1, 3)]


async def test_units_that_the_partition_has_not_got_cost_two_round_trips_more(url: str, counter: Counter) -> None:
    store = connect(url, deadline_ms=PATIENCE_MS)
    desk = Desk(store, bank_with(constraint(limit=3), gold={"stock": 1}))
    await desk.know(CUSTOMER)
    await desk.know("C-2")
    await desk.ask(customer="C-2")  # the server knows the scripts from here on
    counter.trips.clear()

    answer = await desk.ask(customer=CUSTOMER)
    await store.close()

    assert answer["placements"][0]["action"] == GOLD
    assert counter.trips == ["read", "claim", "deliver", "commit"]


async def intrude(rival: RedisStore, counter: Counter) -> None:
    """Somebody else changes the customer between a read and its commit, uncounted."""
    counted, counter.trips = counter.trips, []
    others, counter.before_commits = counter.before_commits, []
    [snapshot] = await rival.read([CUSTOMER])
    await rival.commit([Change(CUSTOMER, snapshot.state_version, snapshot.state)])
    counter.trips, counter.before_commits = counted, others
