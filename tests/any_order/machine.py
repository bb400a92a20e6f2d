"""The machine: random operations in any order, done on the memory twin and on a real server, compared and checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from api import metrics
from api.email.tokens import sealed
from api.instants import text_of
from api.respond import named_by_token
from decisioning.customer import Snapshot, partition_of
from decisioning.store.packing import parsed
from decisioning.store.protocol import Block, LogEntry
from tests.any_order.ledger import Ledger
from tests.any_order.operations import (
    Answer,
    Ask,
    Browse,
    Consent,
    Erase,
    Follow,
    Load,
    Open,
    Operation,
    Patch,
    Replay,
    Result,
    Shown,
    Tell,
    Why,
    touched,
)
from tests.any_order.sides import Side, Twins
from tests.any_order.town import CHANNELS, DAY_MS, HOUR_MS, LEASE_MS, MINUTE_MS, VARIANTS
from tests.any_order.world import View

PEOPLE = ("customer-anna-7f3a", "customer-bela-91c2", "customer-cili-55d0")
PARTITIONS = sorted({partition_of(each) for each in PEOPLE})
GROWN_UP = {"age": 40, "tier": "classic", "income": 3000.0, "language": "en", "suspicious": False, "first_name": "Anna"}

customers = st.sampled_from(PEOPLE)
variants = st.sampled_from(["base", "tight", *sorted(VARIANTS)])
asks = st.builds(
    Ask,
    customers,
    st.sampled_from(
        [("web.hero",), ("web.list",), ("web.hero", "web.tile"), ("email.hero",), ("web.tile", "web.list")]
    ),
    st.sampled_from([{}, {"page": "home"}, {"page": "loans"}]),
    key=st.sampled_from([None, None, None, "k1", "k2", "k3"]),
    sending=st.booleans(),
).map(lambda ask: replace(ask, sending=ask.sending and ask.channel == "email"))
patches = st.builds(
    Patch,
    customers,
    st.fixed_dictionaries(
        {},
        optional={
            "age": st.sampled_from([40, 41, 42, 17, None]),
            "income": st.sampled_from([3000.0, 3001.0, 3002.0, 10.0, None]),
            "suspicious": st.sampled_from([None, False, True]),
            "first_name": st.sampled_from([None, "Béla"]),
        },
    ).filter(bool),
)
consents = st.builds(
    Consent,
    customers,
    st.sampled_from(CHANNELS),
    st.sampled_from(["marketing", "service"]),
    st.sampled_from([True, True, False]),
)
readers = st.sampled_from(["person", "proxy", "proxy", "unknown", "scanner"])
followers = st.sampled_from(["person", "person", "unknown", "scanner"])
mails = st.integers(0, 1)  # of one customer
outcomes = st.sampled_from(["rendered", "impression", "clicked", "accepted", "rejected", "dismissed", "converted"])
passed = st.sampled_from(
    [MINUTE_MS, 20 * MINUTE_MS, LEASE_MS["web"], 5 * HOUR_MS, 26 * HOUR_MS, 4 * DAY_MS, 8 * DAY_MS]
)


@dataclass
class Tally:
    """What all examples did together."""

    examples: int = 0
    steps: int = 0
    operations: int = 0
    records: int = 0
    openings: int = 0  # of mails, and links followed
    claims: Counter[str] = field(default_factory=Counter)
    races_lost: float = 0.0  # on each side


class AnyOrder(RuleBasedStateMachine):
    """One sequence of operations. The twins are used again for the next one, because building them takes longest."""

    def __init__(self, twins: Twins, tally: Tally) -> None:
        super().__init__()
        self.runner, self.dice, self.sides = twins.runner, twins.dice, twins.sides
        for side in self.sides:
            side.restart()
        self.tally = tally
        tally.examples += 1
        self.seed = 0
        self.step = 0
        self.ledger = Ledger()
        self.variant = "base"
        self.shown: list[Shown] = []
        self.keyed: list[Ask] = []  # questions that can be asked again
        self.decision_ids: list[tuple[str, str, str]] = []  # customer, decision, strategy
        self.wall = twins.wall
        self.mails: dict[str, list[str]] = {}  # tokens by customer
        self.kept: list[Follow | Answer] = []  # while the store was down, and not yet counted

    @initialize(seed=st.integers(0, 999), variant=variants)
    def begin(self, seed: int, variant: str) -> None:
        self.seed = seed
        self.publish(variant)
        for side in self.sides:
            self.runner.run(side.stock_up(PARTITIONS))
        for each in PEOPLE[:2]:
            self.do(Patch(each, GROWN_UP))
        self.mails = {each: [self.mail_to(each), self.mail_to(each)] for each in PEOPLE}

    def mail_to(self, customer: str) -> str:
        """The token of a mail of yesterday, the same on both sides."""
        times = {"made_ms": self.now_ms - DAY_MS, "expires_ms": self.now_ms + 10_000 * DAY_MS}
        return sealed(self.sides[0].desk.service.seals, customer, "email.hero", message="", **times)

    @rule(ask=asks)
    def ask(self, ask: Ask) -> None:
        self.do(ask)

    @rule(
        customer=customers,
        later_ms=st.sampled_from([0, LEASE_MS["web"], 8 * DAY_MS]),
        asked=st.lists(asks, min_size=2, max_size=5),
    )
    def visit(self, customer: str, later_ms: int, asked: list[Ask]) -> None:
        """Several questions about one customer, one soon after the other."""
        self.wait(later_ms)
        for each in asked:
            self.do(replace(each, customer=customer))

    @precondition(lambda self: self.keyed)
    @rule(data=st.data(), order=st.none() | st.lists(st.integers(0, 1), min_size=4, max_size=8))
    def ask_again(self, data: st.DataObject, order: list[int] | None) -> None:
        """The same key and body once more, or twice at once."""
        ask = data.draw(st.sampled_from(self.keyed[-4:]))
        self.do(*([ask] if order is None else [ask, ask]), order=order)

    @rule(ask=asks)
    def try_dry(self, ask: Ask) -> None:
        before = self.views([ask.customer])
        self.do(replace(ask, dry_run=True, key=None))
        assert self.views([ask.customer]) == before, "a dry run left a trace"

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), outcome=outcomes, key=st.sampled_from([None, None, "r1", "r2"]))
    def tell(self, data: st.DataObject, outcome: str, key: str | None) -> None:
        self.do(self.told(data, outcome, key))

    @rule(customer=customers, mail=mails, by=readers)
    def open(self, customer: str, mail: int, by: str) -> None:
        self.do(Open(customer, self.mails[customer][mail], by))

    @rule(customer=customers, mail=mails, by=followers, down=st.sampled_from([False, False, False, True]))
    def follow(self, customer: str, mail: int, by: str, down: bool) -> None:
        self.do(Follow(customer, self.mails[customer][mail], by, down))

    @rule(
        customer=st.sampled_from(PEOPLE[:2]),
        later_ms=st.sampled_from([0, 8 * DAY_MS]),
        mail=mails,
        machines=st.lists(st.sampled_from(["proxy", "unknown"]), min_size=1, max_size=3),
        passed_ms=st.sampled_from([0, HOUR_MS, 5 * HOUR_MS, 8 * DAY_MS]),
        first=st.none() | asks,
        outcome=outcomes,
    )
    def take_up(
        self,
        customer: str,
        later_ms: int,
        mail: int,
        machines: list[str],
        passed_ms: int,
        first: Ask | None,
        outcome: str,
    ) -> None:
        """Machines fetch a mail, time passes, another channel may ask first, and the person answers what was held."""
        token = self.mails[customer][mail]
        self.wait(later_ms)
        for by in machines:
            self.do(Open(customer, token, by))
        self.wait(passed_ms)
        if first is not None:
            self.do(replace(first, customer=customer))
        shown_before = len(self.shown)
        self.do(Follow(customer, token, "person"))
        for shown in self.shown[shown_before:]:
            about = (shown.decision_id, shown.placement, shown.action)
            self.do(Tell(customer, outcome, {"event_token": shown.token}, about))

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), outcome=outcomes, down=st.booleans())
    def answer(self, data: st.DataObject, outcome: str, down: bool) -> None:
        shown = data.draw(st.sampled_from(self.shown[-8:]))
        about = (shown.decision_id, shown.placement, shown.action)
        self.do(Answer(shown.customer, outcome, shown.token, about, down))

    @precondition(lambda self: self.kept)
    @rule(crashed=st.booleans())
    def replay(self, crashed: bool) -> None:
        self.do(Replay(self.kept[0].customer, tuple(self.kept), crashed))
        if not crashed:
            self.kept.clear()

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), count=st.integers(1, 40))
    def browse(self, data: st.DataObject, count: int) -> None:
        shown = data.draw(st.sampled_from(self.shown[-6:]))
        keys = tuple(f"{self.step}-{number}" for number in range(count))
        self.do(Browse(shown.customer, shown.token, keys))

    @rule(
        customer=customers,
        named=st.sampled_from([{"action": "grow/cards/silver"}, {"action": "grow/cards/gold"}, {"product": "P-GOLD"}]),
        key=st.sampled_from([None, "c1"]),
    )
    def convert(self, customer: str, named: dict[str, str], key: str | None) -> None:
        self.do(Tell(customer, "converted", {"customer": {"id": customer}, **named}, (), key))

    @rule(patch=patches)
    def patch(self, patch: Patch) -> None:
        self.do(patch)

    @rule(consent=consents, ago_ms=st.sampled_from([None, 0, MINUTE_MS, DAY_MS]))
    def state_consent(self, consent: Consent, ago_ms: int | None) -> None:
        at = None if ago_ms is None else text_of(self.now_ms - ago_ms)
        self.do(replace(consent, at=at))

    @rule(customer=customers, income=st.sampled_from([10.0, 3000.0]), granted=st.booleans())
    def load(self, customer: str, income: float, granted: bool) -> None:
        self.do(Load(customer, income, granted))

    @rule(passed_ms=passed, with_upkeep=st.booleans())
    def wait(self, passed_ms: int, with_upkeep: bool = False) -> None:
        """Let leases, holds, windows and keys run out."""
        for side in self.sides:
            side.pass_time(passed_ms)
            if with_upkeep:
                self.runner.run(side.keep_up())

    @rule(variant=variants)
    def publish(self, variant: str) -> None:
        self.variant = variant
        for side in self.sides:
            side.deploy(variant)

    @rule(customer=customers)
    def erase(self, customer: str) -> None:
        snapshots = [self.runner.run(side.snapshot(customer)) for side in self.sides]
        [(status, _)] = self.do(Erase(customer))
        if status == 200:
            self.check_gone(customer, snapshots[0])

    @precondition(lambda self: self.decision_ids)
    @rule(data=st.data())
    def explain(self, data: st.DataObject) -> None:
        customer, decision_id, strategy = data.draw(st.sampled_from(self.decision_ids[-8:]))
        [(status, body)] = self.do(Why(customer, decision_id))
        if strategy == VARIANTS[self.variant].version:
            assert status == 410 or body["reproduced"]

    @rule(data=st.data(), count=st.integers(2, 3), order=st.lists(st.integers(0, 2), min_size=4, max_size=12))
    def race(self, data: st.DataObject, count: int, order: list[int]) -> None:
        customer = data.draw(customers)
        self.do(*(self.any_operation(data, customer) for _ in range(count)), order=order)

    def any_operation(self, data: st.DataObject, customer: str) -> Operation:
        """Anything, about this customer."""
        token = st.sampled_from(self.mails[customer])
        opens = st.builds(Open, st.just(customer), token, readers)
        follows = st.builds(Follow, st.just(customer), token, followers)
        kinds = [asks, asks, patches, consents, st.just(Erase(customer)), opens, opens, follows]
        if any(each.customer == customer for each in self.shown):
            kinds.append(st.just("tell"))
        drawn = data.draw(data.draw(st.sampled_from(kinds)))
        if drawn == "tell":
            return self.told(data, data.draw(outcomes), data.draw(st.sampled_from([None, "r1"])), customer)
        return replace(drawn, customer=customer)

    def told(self, data: st.DataObject, outcome: str, key: str | None, customer: str | None = None) -> Tell:
        """A response to something that was shown, by token or by decision, now or dated back."""
        among = [each for each in self.shown if customer in (None, each.customer)]
        shown = data.draw(st.sampled_from(among[-8:]))
        by_decision = {"decision_id": shown.decision_id, "placement": shown.placement, "action": shown.action}
        named = data.draw(st.sampled_from([{"event_token": shown.token}, by_decision]))
        at_ms = data.draw(st.sampled_from([None, None, shown.at_ms, self.now_ms - MINUTE_MS]))
        at = None if at_ms is None else text_of(at_ms)
        return Tell(shown.customer, outcome, named, (shown.decision_id, shown.placement, shown.action), key, at)

    @property
    def now_ms(self) -> int:
        return self.sides[0].clock.now_ms

    def do(self, *operations: Operation, order: list[int] | None = None) -> list[Result]:
        """Do the operations on both sides, beside each other where there is an order; compare, then check."""
        lost_before = metrics.RACES_LOST._value.get()
        self.step += 1
        untouched = self.untouched(operations)
        done = [self.done_on(side, operations, order or []) for side in self.sides]
        self.tally.steps += 1
        self.tally.operations += len(operations)
        self.tally.races_lost += (metrics.RACES_LOST._value.get() - lost_before) / len(self.sides)
        assert done[0] == done[1], f"the twins answer differently: {done}"
        assert self.untouched(operations) == untouched, "a machine, or a link that was followed, changed something"
        keys = sorted({key for each in operations for key in touched(each)})
        records = self.new_records(keys)
        self.tally.records += len(records)
        views = self.views(keys)
        self.ledger.take(operations, done[0], records, views, variant=self.variant, now_ms=self.now_ms)
        self.ledger.check_blocks(self.blocks())
        self.tally.openings += sum(isinstance(each, Open | Follow) for each in operations)
        self.tally.claims.update(each["claim"] for each in records if "claim" in each)
        for operation, result in zip(operations, done[0], strict=True):
            self.remember(operation, result)
        return done[0]

    def done_on(self, side: Side, operations: tuple[Operation, ...], order: list[int]) -> list[Result]:
        self.dice.seed(1000 * self.step + self.seed)
        self.wall.clock = side.clock
        if len(operations) == 1:
            results = [self.runner.run(operations[0].on(side))]
        else:
            results = self.runner.run(side.turns.interleaved([each.on(side) for each in operations], order))
        self.runner.run(side.restocker.settle())
        return results

    def new_records(self, keys: list[str]) -> list[dict[str, Any]]:
        """What was logged in this step, the same on both sides."""
        partitions = {partition_of(key): key for key in keys}.values()
        logged = [[entry for key in partitions for entry in self.runner.run(side.news(key))] for side in self.sides]
        told = [[facts_of(entry) for entry in entries] for entries in logged]
        assert told[0] == told[1], "the twins log differently"
        return [body for _, _, body in told[0]]

    def views(self, keys: list[str]) -> dict[str, View]:
        """The customers as everybody may read them, the same on both sides; and as they are stored."""
        views = {}
        for key in keys:
            seen = [self.runner.run(side.call("GET", f"/v1/customers/{key}")) for side in self.sides]
            assert seen[0] == seen[1], "the twins tell different things of a customer"
            stored = [self.runner.run(side.snapshot(key)) for side in self.sides]
            facts = [(each.state, each.profile) if each.state_version else None for each in stored]
            assert facts[0] == facts[1], "the twins keep different states"
            status, body = seen[0]
            views[key] = body if status == 200 else {}
        return views

    def blocks(self) -> dict[str, list[Block]]:
        """What the partitions of these customers hold of each budget, the same on both sides."""
        found = [
            [{name: block for name, block in here.items() if block != Block()} for here in blocks]
            for blocks in (self.runner.run(side.store.blocks(PARTITIONS)) for side in self.sides)
        ]
        assert found[0] == found[1], f"the twins hold different budgets: {found}"
        blocks: dict[str, list[Block]] = {}
        for here in found[0]:
            for name, block in here.items():
                blocks.setdefault(name, []).append(block)
        return blocks

    def untouched(self, operations: tuple[Operation, ...]) -> Any:
        """What one operation may not change: for a machine and a link all but what mails showed, for a scanner all."""
        if len(operations) > 1:
            return None
        [operation] = operations
        if not isinstance(operation, Follow) and not (isinstance(operation, Open) and operation.by != "person"):
            return None
        stored = self.runner.run(self.sides[0].snapshot(operation.customer))
        renders = stored.state.renders if operation.by == "scanner" else []
        is_known = stored.state_version > 0
        state = replace(stored.state, renders=renders) if is_known else None
        return is_known, state, stored.profile, self.blocks()

    def remember(self, operation: Operation, result: Result) -> None:
        """Keep what later operations can name."""
        status, body = result
        if isinstance(operation, Follow):
            self.remember_followed(operation, body["location"])
        if isinstance(operation, Follow | Answer) and operation.down and operation.by != "scanner":
            self.kept.append(operation)
        if not isinstance(operation, Ask) or status != 200 or operation.dry_run or body["degraded"]:
            return
        if operation.key is not None:
            self.keyed.append(operation)
        self.decision_ids.append((operation.customer, body["decision_id"], body["versions"]["strategy"]))
        for each in body["placements"]:
            if each["event_token"] is not None:
                self.shown.append(
                    Shown(
                        operation.customer,
                        body["decision_id"],
                        each["placement"],
                        each["action"],
                        each["event_token"],
                        self.now_ms,
                    )
                )

    def remember_followed(self, followed: Follow, location: str) -> None:
        """Keep the event token that a mail's link brought along."""
        for token in parse_qs(urlsplit(location).query).get("nextbest", []):
            self.wall.clock = self.sides[0].clock
            named = named_by_token(self.sides[0].desk.service, token, "")
            about = (named["decision_id"], named["placement"], named["action"])
            self.shown.append(Shown(followed.customer, *about, token, self.now_ms))

    def check_gone(self, customer: str, before: Snapshot) -> None:
        """Nothing leads to the customer or opens what was sealed, neither by name nor by key."""
        for side in self.sides:
            found = self.runner.run(side.store.customers_of(partition_of(customer), [before.state.person_key]))
            assert found == [None]
            assert self.runner.run(side.snapshot(customer)).state_version == 0
        for text in self.sides[1].stored_bytes():
            assert customer.encode() not in text, "an erased customer is still named"
            assert before.state.sealing_key.encode() not in text, "an erased customer's key is still there"


def facts_of(entry: LogEntry) -> tuple[str, str, dict[str, Any]]:
    """Position, id and body of a record; versions of a state count differently on each side."""
    body = parsed(entry.record.body)
    body.get("snapshot", {}).pop("state_version", None)
    return entry.position, entry.record.record_id, body
