"""The lease: the same offer in every channel, until it ends.

Each row of the table in docs/consistency.md is a story in cases/lease.json. What the table does not say is tested below
it, one claim a test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from decisioning.catalog.strategy import Strategy
from decisioning.customer import Consent, Interaction
from decisioning.decide import decide
from decisioning.interactions import DAY_MS
from decisioning.request import Decision, Request
from decisioning.respond import Response, ended_by, respond
from decisioning.scoring import StatedScorer
from tests.decisioning.bank import (
    ALERT,
    FILES,
    GOLD,
    LOAN,
    PROPENSITIES,
    SILVER,
    TIPS,
    ask,
    customer,
    later,
    shown,
    strategy,
)
from tests.decisioning.test_count import LIST, LISTED

CASES = json.loads((Path(__file__).parents[1] / "cases/lease.json").read_text())
PAGE = (Path(__file__).parents[2] / "docs/consistency.md").read_text()
NAMES = {"gold": GOLD, "silver": SILVER, "loan": LOAN, "tips": TIPS, "alert": ALERT}


def changed(path: str, *changes: tuple[str, str], files: Mapping[str, str] = FILES) -> dict[str, str]:
    """One file of the bank with some words replaced."""
    text = files[path]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return {path: text}


def limited(policy: str, *, messages: bool = False) -> dict[str, str]:
    """The bank with one more contact policy on its cards and, if so, on its message."""
    files = {"contact_policies.yaml": FILES["contact_policies.yaml"] + f"limit: {policy}\n"}
    files |= changed(
        "actions/cards.yaml",
        ("[fatigue]", "[fatigue, limit]"),
        ("50.0\n    purpose: marketing\n", "50.0\n    purpose: marketing\n    contact_policies: [limit]\n"),
    )
    if messages:
        files |= changed(
            "actions/brand.yaml", ("purpose: marketing\n", "purpose: marketing\n    contact_policies: [limit]\n")
        )
    return files


A_LIST = {**LISTED, "placements.yaml": FILES["placements.yaml"] + LIST.format(0.5, 3)}
SERVICE = changed("actions/cards.yaml", ("50.0\n    purpose: marketing", "50.0\n    purpose: service"))
VARIANTS = {
    "till three": changed(
        "actions/cards.yaml", ('["customer.age >= 18"]', '["customer.age >= 18", "now.getHours() < 15"]')
    ),
    "once by mail": changed(
        "actions/cards.yaml",
        ("suitability: [", 'suitability: [\'history.count("selected", "channel", duration("168h")) == 0\', '),
    ),
    "one mail a week": limited(
        "{scope: customer, channel: email, outcomes: [selected], limit: 1, window_days: 7, hold_days: 0}"
    ),
    "mail pressure": limited(
        "{scope: channel, outcomes: [impression], limit: 3, window_days: 7, hold_days: 0}", messages=True
    ),
    "mail budget": {
        "volume_constraints.yaml": "mails: {limit: 10, unit: number, scope: channel, channel: email, period: total, "
        "spend_on: selected}\n",
    }
    | changed(
        "actions/cards.yaml",
        ("[fatigue]", "[fatigue]\n    volume_constraints: {mails: 1}"),
        ("50.0\n    purpose: marketing\n", "50.0\n    purpose: marketing\n    volume_constraints: {mails: 1}\n"),
    ),
    "quiet afternoons": changed("channels.yaml", ("email: {", 'email: {quiet_hours: ["12:00", "20:00"], ')),
    "rests after an answer": limited(
        "{scope: action, outcomes: [accepted, rejected, converted], limit: 1, window_days: 30, hold_days: 30}"
    ),
    "without gold": changed("actions/cards.yaml", ("  gold:", "  platinum:"), ("100.0", "1.0")),
    "gold is over": changed("actions/cards.yaml", ("    product: P-GOLD", "    product: P-GOLD\n    end: 2026-09-20")),
    "everybody in the holdout": {
        "strategy.yaml": FILES["strategy.yaml"] + 'holdout: {share: 1.0, salt: "x", gets: nothing}\n'
    },
    "silver is mandatory": changed(
        "actions/cards.yaml",
        ("50.0\n", "50.0\n    mandatory: true\n    applicability: [customer.suspicious]\n"),
    ),
    "silver is service": SERVICE,
    "service in the holdout": SERVICE
    | {"strategy.yaml": FILES["strategy.yaml"] + 'holdout: {share: 1.0, salt: "x", gets: nothing}\n'},
    "a list": A_LIST,
    "a list of limited cards": A_LIST
    | changed(
        "actions/cards.yaml",
        ("50.0\n    purpose: marketing\n", "50.0\n    purpose: marketing\n    contact_policies: [fatigue]\n"),
        files=LISTED,
    ),
}


class Story:
    """A customer, and what happens: each event is an object with one verb and its details."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        self.bank = self.strategy(case.get("strategy"))
        history = [(days, outcome, NAMES[action], channel) for days, outcome, action, channel in case.get("did", ())]
        self.snapshot = customer(history=history)
        self.units(case.get("units"))
        self.number = 0

    def strategy(self, variant: str | None) -> Strategy:
        return strategy(VARIANTS[variant] if variant else {})

    def units(self, at_hand: int | None) -> None:
        self.snapshot.quotas = {} if at_hand is None else {"mails@email": at_hand}

    def happens(self, event: Mapping[str, Any]) -> None:
        """Take one event; those that ask check what is shown."""
        match event:
            case {"asks": names}:
                self.asks(names, event)
            case {"learns": attributes}:
                for name, value in attributes.items():
                    known = self.snapshot.profile.sources["core"].attributes
                    known.pop(name) if value is None else known.__setitem__(name, value)
            case {"consents": [channel, purpose, granted]}:
                self.snapshot.state.consents = [Consent(channel, purpose, granted, 0, 1)]
            case {"answers": outcome, "to": action}:
                at_ms = self.snapshot.now_ms - event.get("days_ago", 0) * DAY_MS
                ends = ended_by(outcome, NAMES[action], self.bank)
                told = Response("r", "C-1", outcome, NAMES[action], ends, at_ms, "web")
                self.snapshot.state = respond(told, self.snapshot.state)
            case {"publishes": variant}:
                self.bank = self.strategy(variant)
            case {"minutes": minutes}:
                self.snapshot.now_ms += minutes * 60_000
            case {"units": at_hand}:
                self.units(at_hand)

    def asks(self, names: list[str], event: Mapping[str, Any]) -> None:
        self.number += 1
        decision = self.decided(names, event)
        for key, found in told_by(decision).items():
            if key in event:
                wanted = event[key]
                assert found == wanted or (key == "reasons" and set(wanted) <= set(found)), (key, found, wanted)
        if not event.get("lost"):
            self.snapshot = later(self.snapshot, decision)

    def decided(self, names: list[str], event: Mapping[str, Any]) -> Decision:
        chances = {NAMES.get(name, name): chance for name, chance in event.get("chances", PROPENSITIES).items()}
        is_lost, is_sent = event.get("lost", False), event.get("sending", False)
        request = Request(
            "C-1",
            names[0].split(".")[0],
            tuple(names),
            event.get("context", {}),
            sending=is_sent,
            offers_allowed=not is_lost,
        )
        return decide(
            request, self.snapshot, self.bank, StatedScorer(self.bank, chances), decision_id=f"d{self.number}"
        )


def told_by(decision: Decision) -> dict[str, Any]:
    """What a case may expect of an answer, in its short names."""
    short = {key: name for name, key in NAMES.items()}
    reasons = [reason for placed in decision.placements for reason in placed.reasons]
    for key, name in short.items():
        reasons = [reason.replace(key, name) for reason in reasons]
    return {
        "shows": [[placed.outcome, short.get(placed.action)] for placed in decision.placements],
        "reasons": reasons,
        "lease": [short.get(entry.action) for entry in decision.state.lease],
        "changes": decision.changes_state,
    }


@pytest.mark.parametrize("case", CASES, ids=[case["note"] for case in CASES])
def test_every_channel_shows_what_the_table_says(case):
    story = Story(case)
    for event in case["story"]:
        story.happens(event)


def test_every_row_of_the_table_has_a_story_and_every_story_a_row():
    table = PAGE.partition("| when |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([^-|][^|]*) \|", table, flags=re.M)

    assert {case["row"] for case in CASES} == set(rows)


@pytest.fixture(scope="module")
def bank():
    return strategy()


def answer(outcome, action, *, at_ms):
    return Response("r1", "C-1", outcome, action, ended_by(outcome, action, strategy()), at_ms, "web")


def leased(bank, **attributes):
    """A customer who was offered gold on the web a minute ago."""
    before = customer(**attributes)
    return later(before, ask(bank, before))


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "converted"])
def test_an_answer_ends_it_in_every_channel(bank, outcome):
    after = leased(bank)
    answered = replace(after, state=respond(answer(outcome, GOLD, at_ms=after.now_ms), after.state))

    assert answered.state.lease == []
    assert answered.state.holds == {}


def test_an_impression_leaves_the_lease(bank):
    after = leased(bank)

    state = respond(answer("impression", GOLD, at_ms=after.now_ms), after.state)

    assert state.lease == after.state.lease
    assert state.interactions[-1].outcome == "impression"


def test_further_offers_stand_beside_the_first_in_order(bank):
    after = leased(bank)

    both = ask(bank, after, "web.hero", "web.tile", decision_id="d2")
    assert shown(both) == [("offer", GOLD), ("offer", SILVER)]
    assert [(entry.action, entry.decision_id) for entry in both.state.lease] == [(GOLD, "d1"), (SILVER, "d2")]

    again = ask(bank, later(after, both), "web.tile", "web.hero", decision_id="d3")
    assert shown(again) == [("offer", GOLD), ("offer", SILVER)]


def test_what_is_shown_again_drops_nobody(bank):
    after = leased(bank)
    beside = ask(bank, after, "web.hero", "web.tile", propensities={"default": 0.0}, decision_id="d2")
    again = ask(bank, later(after, beside), "web.hero", "web.tile", decision_id="d3")

    assert shown(again) == [("offer", GOLD), ("message", TIPS)]
    assert list(beside.placement_drops) == ["web.tile"] and again.placement_drops == {}


def test_a_message_holds_in_its_placement_and_yields_to_an_offer(bank):
    before = customer()
    message = ask(bank, before, "web.hero", propensities={"default": 0.0})
    assert shown(message) == [("message", TIPS)]

    after = later(before, message)
    assert ask(bank, after, "web.hero", decision_id="d2").placements[0].reasons == ["held"]

    mailed = ask(bank, after, "email.hero", decision_id="d3")
    assert shown(mailed) == [("offer", GOLD)]
    assert shown(ask(bank, later(after, mailed), "web.hero", decision_id="d4")) == [("offer", GOLD)]


def test_a_page_looks_the_same_when_it_is_loaded_again(bank):
    precious_tips = strategy({"actions/brand.yaml": FILES["actions/brand.yaml"].replace("0.8", "30.0")})

    first = ask(precious_tips, customer(), "web.hero", "web.tile")
    assert shown(first) == [("message", TIPS), ("offer", GOLD)]

    again = ask(precious_tips, later(customer(), first), "web.hero", "web.tile", decision_id="d2")
    assert shown(again) == shown(first)


def test_nothing_holds_as_a_message_does(bank):
    before = customer(consents=[("web", "marketing", False)])
    silent = ask(bank, before)
    permitted = later(before, silent)
    permitted.state.consents.clear()

    assert ask(bank, permitted, decision_id="d2").placements[0].reasons == ["held"]


def test_offers_that_are_not_allowed_leave_messages_and_what_is_leased(bank):
    from decisioning.decide import decide
    from decisioning.request import Request
    from decisioning.scoring import StatedScorer

    scorer = StatedScorer(bank, {"default": 0.5})
    request = Request("C-1", "web", ("web.hero", "web.tile"), {}, offers_allowed=False)

    assert shown(decide(request, customer(), bank, scorer, decision_id="d2")) == [("message", TIPS), ("nothing", None)]
    assert shown(decide(request, leased(bank), bank, scorer, decision_id="d2")) == [("offer", GOLD), ("message", TIPS)]


def test_a_held_message_is_gated_by_its_own_rules(bank):
    strict = strategy(
        {
            "actions/brand.yaml": FILES["actions/brand.yaml"].replace(
                "    treatments:", '    eligibility: ["customer.tier == \\"classic\\""]\n    treatments:'
            )
        }
    )
    before = customer()
    message = ask(strict, before, propensities={"default": 0.0})
    after = later(before, message)
    assert shown(ask(strict, after, propensities={"default": 0.0}, decision_id="d2")) == [("message", TIPS)]

    after.profile.sources["crm"].attributes["tier"] = "gold"
    assert shown(ask(strict, after, propensities={"default": 0.0}, decision_id="d3")) == [("nothing", None)]


def test_a_held_message_is_held_whoever_else_is_not_allowed(bank):
    before = customer(age=17)
    first = ask(bank, before)
    assert shown(first) == [("message", TIPS)]

    assert ask(bank, later(before, first), decision_id="d2").placements[0].reasons == ["held"]


def test_consent_withdrawn_in_any_way_silences_a_held_message(bank):
    before = customer()
    after = later(before, ask(bank, before, propensities={"default": 0.0}))
    after.state.consents = customer(consents=[("web", "marketing", False)]).state.consents

    assert shown(ask(bank, after, propensities={"default": 0.0}, decision_id="d2")) == [("nothing", None)]


def test_a_service_message_speaks_through_a_held_silence(bank):
    before = customer(consents=[("web", "marketing", False)])
    silent = later(before, ask(bank, before))
    silent.profile.sources["core"].attributes["suspicious"] = True

    assert shown(ask(bank, silent, decision_id="d2")) == [("message", ALERT)]


def test_a_held_silence_asks_no_model_while_no_service_action_may_speak(bank):
    class Unasked(StatedScorer):
        def scores(self, values: Mapping[str, Any]) -> Any:
            pytest.fail("there is nobody to rank")

    before = customer(consents=[("web", "marketing", False)])
    silent = later(before, ask(bank, before))
    silent.state.consents = customer().state.consents

    again = ask(bank, silent, scorer=Unasked(bank, PROPENSITIES), decision_id="d2")
    assert shown(again) == [("nothing", None)]
    assert again.placements[0].reasons == ["held"]


def test_a_mandatory_action_speaks_through_lease_and_hold_and_is_drawn_once():
    urgent = strategy(
        {
            "actions/safety.yaml": FILES["actions/safety.yaml"].replace(
                "    purpose:", "    mandatory: true\n    purpose:"
            )
        }
    )
    promised = leased(urgent)
    promised.profile.sources["core"].attributes["suspicious"] = True

    first = ask(urgent, promised, "web.hero", "web.tile", decision_id="d2")
    assert shown(first) == [("message", ALERT), ("offer", GOLD)]
    assert "mandatory" in first.placements[0].reasons

    again = ask(urgent, later(promised, first), "web.hero", "web.tile", decision_id="d3")
    assert shown(again) == shown(first)
    assert again.placements[0].reasons == ["held"]


def test_an_offer_that_speaks_beside_a_promise_is_promised_once_and_charged_once():
    urgent = strategy(changed("actions/cards.yaml", ("50.0\n", "50.0\n    mandatory: true\n")))
    elsewhere = {"default": 0.1, LOAN: 0.9}
    before = ask(urgent, customer(), propensities=elsewhere, context={"page": "loans"})
    first = ask(urgent, later(customer(), before), "email.hero", decision_id="d2")

    again = ask(urgent, later(customer(), first), "email.hero", decision_id="d3")

    assert shown(first) == shown(again) == [("offer", SILVER)]
    assert again.placements[0].reasons == ["lease"] and not again.changes_state
    assert [entry.action for entry in first.state.lease].count(SILVER) == 1


def test_what_stood_beside_a_mandatory_offer_stays_when_the_page_is_loaded_again():
    text = FILES["actions/cards.yaml"].replace("  silver:\n", "  silver:\n    mandatory: true\n")
    urgent = strategy({"actions/cards.yaml": text})
    first = ask(urgent, customer(), "web.hero", "web.tile")

    again = ask(urgent, later(customer(), first), "web.hero", "web.tile", decision_id="d2")

    assert shown(first) == shown(again) == [("offer", SILVER), ("offer", GOLD)]


def test_one_per_group_holds_for_renders_too():
    sparing = strategy(
        {
            "placements.yaml": FILES["placements.yaml"].replace(
                "web.tile: {channel: web,", "web.tile: {channel: web, one_per_group: true,"
            )
        }
    )
    apart = ask(sparing, customer(), "web.tile", "web.hero")
    assert shown(apart) == [("offer", GOLD), ("offer", SILVER)]

    together = ask(sparing, later(customer(), apart), "web.hero", "web.tile", decision_id="d2")

    groups = [key.rpartition("/")[0] for _, key in shown(together) if key]
    assert len(groups) == len(set(groups))


def test_a_late_answer_leaves_what_was_promised_after_it(bank):
    after = leased(bank)

    state = respond(answer("converted", GOLD, at_ms=after.now_ms - 30 * DAY_MS), after.state)

    assert [entry.action for entry in state.lease] == [GOLD]


def test_a_conversion_ends_every_promise_of_the_same_product():
    both = strategy(
        {
            "actions/cards.yaml": FILES["actions/cards.yaml"].replace(
                "    action_value: 50.0", "    action_value: 50.0\n    product: P-GOLD"
            )
        }
    )

    assert ended_by("converted", GOLD, both) == {GOLD, SILVER}
    assert ended_by("accepted", GOLD, both) == {GOLD}
    assert ended_by("clicked", GOLD, both) == frozenset()


def test_a_policy_that_cannot_know_holds_back(bank):
    worn = customer()
    worn.state.complete_since_ms = worn.now_ms - DAY_MS
    worn.state.interactions.append(Interaction(worn.now_ms, "impression", TIPS, "web"))

    decision = ask(bank, worn)

    assert decision.drops["contact_policy"] >> bank.action_index[GOLD] & 1
