"""Ledger: what must be true after every step, kept in the plainest way from answers, records and customer views.

Slow and obvious. Nothing here reads the packed state: promises are checked by what callers and history get to see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decisioning.store.protocol import Block
from tests.any_order.operations import Answer, Ask, Browse, Erase, Operation, Replay, Result, Tell
from tests.any_order.post_book import PostBook
from tests.any_order.town import (
    DAY_MS,
    KINDS,
    MINUTE_MS,
    PRODUCTS,
    VARIANTS,
    actions_of,
    budgets_of,
    limits_of,
    quiet_until,
)
from tests.any_order.world import View, World, ms

VARIANT_OF = {bank.version: name for name, bank in VARIANTS.items()}
ENDING = ("accepted", "rejected", "converted")
ONCE_MS = 7 * DAY_MS


@dataclass
class Person:
    """Somebody between the first record and the erasure."""

    trial_count: int = 0
    met: list[tuple[int, str, str, bool]] = field(default_factory=list)  # selected or joined: time, action, channel
    seen_in: defaultdict[tuple[str, str], set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )  # draw -> channels


class Ledger:
    """Everything that happened so far."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}  # by person key
        self.decisions: dict[str, str] = {}  # decision id -> person key
        self.counted: dict[tuple[str, ...], int] = {}  # identity of a response -> when it was counted
        self.unsure: set[tuple[str, ...]] = set()  # identities that nobody here can tell whether they were counted
        self.views: defaultdict[str, View] = defaultdict(dict)
        self.spent: defaultdict[str, int] = defaultdict(int)  # units by budget, of those that selections spend
        self.machines: set[str] = set()  # decisions that were made for a mail's proxy, or for nobody knows whom
        self.claimed: set[str] = set()  # of these, what a person took up
        self.told_ms: dict[str, int] = {}  # when a response was counted, by its id
        self.told: set[tuple[str, ...]] = set()  # decision, placement, action and outcome of each
        self.gone: defaultdict[str, set[str]] = defaultdict(set)  # decisions before an erasure, by customer
        self.mails = PostBook()

    def take(
        self,
        operations: Sequence[Operation],
        results: Sequence[Result],
        records: Sequence[Mapping[str, Any]],
        views: Mapping[str, View],
        *,
        variant: str,
        now_ms: int,
    ) -> None:
        """Check one step: operations that ran one by one or beside each other, and what came of them."""
        before = {key: World(self.views[key]) for key in views}
        after = {key: World(view) for key, view in views.items()}
        fresh = [each for record in records if (each := self._take_logged(record, before.values(), variant))]
        alone = len(operations) == 1
        for operation, (status, body) in zip(operations, results, strict=True):
            if isinstance(operation, Ask) and status == 200:
                worlds = (
                    [before[operation.customer]] if alone else [before[operation.customer], after[operation.customer]]
                )
                self._check_answer(operation, body, worlds, fresh, variant=variant, now_ms=now_ms)
        self._check_responses(operations, results, now_ms=now_ms)
        self._check_record_count(operations, results, fresh)
        self._check_kept(operations)
        self.mails.take(operations, results, records, before, after, variant=variant, now_ms=now_ms)
        for key, view in views.items():
            self._check_promise(operations, before[key], after[key], variant=variant, now_ms=now_ms)
            self.views[key] = view

    def check_blocks(self, blocks: Mapping[str, Sequence[Block]]) -> None:
        """Partitions have spent exactly what was selected, and got no more of anything than there is."""
        for name, several in blocks.items():
            spent = sum(each.spent for each in several)
            assert spent == self.spent[name] or name.startswith("gifts"), f"{name}: {spent} were spent"
            assert all(min(each.at_hand, each.reserved, each.spent) >= 0 for each in several)
            received = sum(each.received - each.returned for each in several)
            assert received <= {"stock": 5, "gifts": 2, "mails": 3}[name.partition("@")[0]]

    def _take_logged(self, record: Mapping[str, Any], before: Collection[World], variant: str) -> str | None:
        """The next record of a partition; the id of a decision that was asked for, and not made for a mail."""
        if record["kind"] == "response":
            self._take_response(record, before, variant)
        elif record["kind"] == "decision":
            decision_id = self._take_record(record)
            return None if "client_class" in record else decision_id
        return None

    def _take_record(self, record: Mapping[str, Any]) -> str:
        """A decision that was committed: counted once, its trials with a chance and its renders without one."""
        decision_id, person = record["decision_id"], self.people.setdefault(record["person_key"], Person())
        assert decision_id not in self.decisions, "a decision was recorded twice"
        self.decisions[decision_id] = record["person_key"]
        assert record["draw_index"] == person.trial_count, "draws are numbered without a gap"
        is_for_machine = record.get("client_class") not in (None, "person")
        for each in record["placements"]:
            probability = each["selection_probability"]
            is_quiet = each["reasons"] == ["quiet_hours"]
            assert (probability is None) if each["lease_of"] or is_quiet else (0.0 < probability <= 1.0)
            if each["action"] is not None and not is_for_machine:
                self._take_placed(person, each, record)
        if is_for_machine:
            self.machines.add(decision_id)
        else:
            person.trial_count += any(each["selection_probability"] is not None for each in record["placements"])
        return str(decision_id)

    def _take_placed(self, person: Person, placed: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Something was shown: charged at its draw, and what a channel limits at its first render there."""
        action, channel, at_ms = placed["action"], record["channel"], record["at_ms"]
        seen_in = person.seen_in.setdefault((placed["lease_of"] or record["decision_id"], action), set())
        is_join = placed["lease_of"] is not None
        if is_join and (placed["outcome"] != "offer" or channel in seen_in):
            return
        seen_in.add(channel)
        self._charge(person, action, channel, at_ms, VARIANT_OF[record["versions"]["strategy"]], is_join=is_join)

    def _charge(self, person: Person, action: str, channel: str, at_ms: int, variant: str, *, is_join: bool) -> None:
        """Limits and budgets allow it, and count it."""
        self._check_limits(person, action, channel, at_ms, variant, is_join=is_join)
        for budget, limit in budgets_of(variant, action, channel, at_ms, is_join=is_join).items():
            self.spent[budget] += 1
            assert self.spent[budget] <= limit, f"{budget} is overspent"
        person.met.append((at_ms, action, channel, is_join))

    def _take_response(self, record: Mapping[str, Any], before: Collection[World], variant: str) -> None:
        """A response that was committed: once in seven days, and the first about a held choice may have claimed it."""
        response_id, at_ms, decision_id = record["response_id"], record["received_ms"], record["decision_id"]
        age_ms = at_ms - self.told_ms.get(response_id, -ONCE_MS * 2)
        assert age_ms > ONCE_MS - MINUTE_MS, "a response was recorded twice"
        self.told_ms[response_id] = at_ms
        self.told.add((decision_id, record["placement"], record["action"], record["outcome"]))
        if "claim" not in record:
            return
        assert decision_id in self.machines and decision_id not in self.claimed, "claimed twice, or what nobody held"
        self.claimed.add(decision_id)
        if record["claim"] == "leased":
            person, action = self.people[record["person_key"]], record["action"]
            person.seen_in[decision_id, action].add("email")
            self._charge(person, action, "email", at_ms, variant, is_join=False)
            if KINDS[action] == "offer":
                leases = [each.view.get("lease", ()) for each in before]
                rivals = [entry for lease in leases for entry in lease if ms(entry["until"]) > at_ms]
                assert not rivals or len(leases) > 1, "a claim competes with a promise"

    @staticmethod
    def _check_limits(person: Person, action: str, channel: str, at_ms: int, variant: str, *, is_join: bool) -> None:
        """No limit on selections held this one back."""
        for limit in limits_of(variant):
            if action in limit.actions and (limit.scope == "channel" or not is_join):
                times = [
                    at
                    for at, other, other_channel, joined in person.met
                    if limit.counts_together(action, channel, other, other_channel)
                    and (limit.scope == "channel" or not joined)
                ]
                assert not limit.holds(times, at_ms), f"selected past {limit}"

    def _check_answer(
        self,
        ask: Ask,
        answer: Mapping[str, Any],
        worlds: Sequence[World],
        fresh: Sequence[str],
        *,
        variant: str,
        now_ms: int,
    ) -> None:
        """Consent, rules and strategy permit everything that is shown; nothing is shown twice."""
        shown = [each["action"] for each in answer["placements"] if each["action"] is not None]
        is_repeat = not ask.dry_run and not answer["degraded"] and answer["decision_id"] not in fresh
        assert len(shown) == len(set(shown)), "an action stands twice in one answer"
        for action in shown:
            assert any(world.permits(action, ask.channel, variant) for world in worlds), "shown against consent"
            assert action in actions_of(variant), "shown after it left the strategy"
            if not is_repeat:
                said = [world.verdict(action, ask.context, now_ms) for world in worlds]
                assert True in said, f"{action} was shown where its rules say {said}"
        if ask.sending and not is_repeat and (morning := quiet_until(now_ms)) is not None:
            assert not shown, "sent at night"
            assert answer["degraded"] or ms(answer["valid_until"]) == morning.timestamp() * 1000
        offers = [each["action"] for each in answer["placements"] if each["outcome"] == "offer"]
        if answer["holdout"] and not is_repeat:
            assert not offers, "an offer for somebody held out"
        promised = worlds[0].promised(variant, now_ms)
        if offers and promised is not None and not is_repeat and len(worlds) == 1:
            assert promised in offers, f"{offers} compete with {promised}"

    def _check_promise(
        self, operations: Sequence[Operation], before: World, after: World, *, variant: str, now_ms: int
    ) -> None:
        """The first entry of the lease stays first until its time, an answer or a no."""
        first = next((each for each in before.view.get("lease", ()) if ms(each["until"]) > now_ms), None)
        if first is None or not after.view:
            return
        worlds = [before, after]
        if not all(world.stands(first["action"], variant, now_ms) for world in worlds):
            return
        if any(answered(first["action"], each) for each in operations):
            return
        assert after.view["lease"], "a promise was lost"
        assert after.view["lease"][0] == first, "the first offer changed while its lease lived"

    def _check_responses(self, operations: Sequence[Operation], results: Sequence[Result], *, now_ms: int) -> None:
        """A response is counted once in seven days; an erasure forgets the keys that callers chose."""
        told = [pair for each in zip(operations, results, strict=True) for pair in _told(*each)]
        erased = {each.customer for each in operations if isinstance(each, Erase)}
        for identity in [each for each in self.counted if each[0] == "key" and each[1] in erased]:
            del self.counted[identity]
        for identity, status in sorted(told, key=lambda each: each[1]):  # counted before repeated
            if identity is None:
                assert status == "counted"
            elif identity[0] == "key" and identity[1] in erased:
                self.unsure.add(identity)  # told before the erasure, or after it
            elif identity not in self.unsure:
                age_ms = now_ms - self.counted.get(identity, -ONCE_MS * 2)
                if abs(age_ms - ONCE_MS) > MINUTE_MS:
                    assert status == ("repeated" if age_ms < ONCE_MS else "counted"), "a response was counted wrongly"
                if status == "counted":
                    self.counted[identity] = now_ms

    def _check_kept(self, operations: Sequence[Operation]) -> None:
        """What was kept while the store was down is counted, but for those who are gone."""
        for operation in operations:
            if isinstance(operation, Erase):
                self.gone[operation.customer] |= self.decisions.keys()
            for each in operation.kept if isinstance(operation, Replay) else ():
                if isinstance(each, Answer) and each.about[0] not in self.gone[each.customer]:
                    assert (*each.about, each.outcome) in self.told, "what was kept is lost"

    def _check_record_count(
        self, operations: Sequence[Operation], results: Sequence[Result], fresh: Sequence[str]
    ) -> None:
        """Each decision that was answered has its record, and there is no other."""
        answered_ids = {
            body["decision_id"]
            for operation, (status, body) in zip(operations, results, strict=True)
            if isinstance(operation, Ask) and status == 200 and not operation.dry_run and not body["degraded"]
        }
        assert set(fresh) <= answered_ids, "a record without an answer"
        assert answered_ids <= self.decisions.keys(), "an answer without a record"


def _told(operation: Operation, result: Result) -> list[tuple[tuple[str, ...] | None, str]]:
    """Identity and status of the responses that an operation told."""
    status, body = result
    if status != 200:
        return []
    if isinstance(operation, Tell):
        return [(operation.identity, body["status"])]
    if isinstance(operation, Answer) and not operation.down:
        return [(operation.identity, body["status"])]
    if isinstance(operation, Browse):
        identities = [("key", operation.customer, key) for key in operation.keys]
        return [(identity, each["status"]) for identity, each in zip(identities, body["responses"], strict=True)]
    return []


def answered(action: str, operation: Operation) -> bool:
    """Whether this may have ended the promise of the action."""
    if isinstance(operation, Erase):
        return True
    if isinstance(operation, Replay):
        return any(answered(action, each) for each in operation.kept)
    if isinstance(operation, Answer):
        return operation.outcome in ENDING and operation.about[2] == action
    if not isinstance(operation, Tell) or operation.outcome not in ENDING:
        return False
    named = operation.named.get("action") or PRODUCTS.get(operation.named.get("product", ""))
    return named in (None, action)
