"""The machine: random operations in any order, done on the memory twin and on a real server, compared and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from api import metrics
from api.instants import text_of
from decisioning.customer import Snapshot, partition_of
from decisioning.store.packing import parsed
from decisioning.store.protocol import Block, LogEntry
from tests.any_order.ledger import Ledger, View
from tests.any_order.operations import Ask, Browse, Consent, Erase, Load, Operation, Patch, Result, Shown, Tell, Why
from tests.any_order.sides import Side, Twins
from tests.any_order.town import CHANNELS, DAY_MS, HOUR_MS, LEASE_MS, MINUTE_MS, VARIANTS

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

    @initialize(seed=st.integers(0, 999), variant=variants)
    def begin(self, seed: int, variant: str) -> None:
        self.seed = seed
        self.publish(variant)
        for side in self.sides:
            self.runner.run(side.stock_up(PARTITIONS))
        for each in PEOPLE[:2]:
            self.do(Patch(each, GROWN_UP))

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
        kinds = [asks, asks, patches, consents, st.just(Erase(customer))]
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
        done = [self.done_on(side, operations, order or []) for side in self.sides]
        self.tally.steps += 1
        self.tally.operations += len(operations)
        self.tally.races_lost += (metrics.RACES_LOST._value.get() - lost_before) / len(self.sides)
        assert done[0] == done[1], f"the twins answer differently: {done}"
        keys = sorted({each.customer for each in operations})
        records = self.new_records(keys)
        self.tally.records += len(records)
        views = self.views(keys)
        self.ledger.take(operations, done[0], records, views, variant=self.variant, now_ms=self.now_ms)
        self.ledger.check_blocks(self.blocks())
        for operation, result in zip(operations, done[0], strict=True):
            self.remember(operation, result)
        return done[0]

    def done_on(self, side: Side, operations: tuple[Operation, ...], order: list[int]) -> list[Result]:
        self.dice.seed(1000 * self.step + self.seed)
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

    def remember(self, operation: Operation, result: Result) -> None:
        """Keep what later operations can name."""
        status, body = result
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
