"""Opening: who fetches a mail decides what it costs; the cases are sequences of one customer's openings and answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from decisioning.claim import claim
from decisioning.customer import Consent, Interaction, Render, Snapshot, State
from decisioning.decide import decide
from decisioning.learning.labels import trials_of
from decisioning.opening import (
    RENDER_COUNT_MAX,
    Opening,
    open_by_machine,
    open_by_person,
    render_of,
    seen_by_machine,
    with_render,
)
from decisioning.records import Versions, decision_record, open_record, replay
from decisioning.request import Decision, Request
from decisioning.respond import Response, ended_by, respond
from decisioning.scoring import StatedScorer
from decisioning.store.packing import parsed
from tests.decisioning.bank import GOLD, LOAN, NOW_MS, SILVER, TIPS, customer, strategy

CASES = json.loads((Path(__file__).parents[1] / "cases" / "opening.json").read_text())
ACTIONS = {"gold": GOLD, "silver": SILVER, "loan": LOAN, "tips": TIPS}
BANK = strategy()
MAIL = Request("C-1", "email", ("email.hero",))


class Story:
    """One customer on their way through a case."""

    def __init__(self) -> None:
        self.snapshot = customer()
        self.decision_count = 0
        self.opened: dict[str, Opening] = {}  # by token

    def do(self, step: dict[str, Any]) -> dict[str, Any]:
        """What came of one step."""
        self._before(step)
        scorer = StatedScorer(BANK, {"default": 0.1, GOLD: 0.2, ACTIONS.get(step.get("favour", ""), GOLD): 0.9})
        self.decision_count += 1
        names = {"decision_id": f"d{self.decision_count}"}
        if "open" in step:
            token = step.get("token", "token")
            opens = open_by_person if step["open"] == "person" else open_by_machine
            self.opened[token] = opens(MAIL, self.snapshot, BANK, scorer, token_id=token, **names)
            return self._decided(self.opened[token].decision, is_repeat=self.opened[token].is_repeat)
        if "ask" in step:
            request = Request("C-1", step["ask"].split(".")[0], (step["ask"],), step.get("context", {}))
            return self._decided(decide(request, self.snapshot, BANK, scorer, **names), is_repeat=False)
        return self._answered(step["answer"])

    def _before(self, step: dict[str, Any]) -> None:
        state, now_ms = self.snapshot.state, self.snapshot.now_ms + int(step.get("after_minutes", 1) * 60_000)
        if "withdraw" in step:
            state = replace(state, consents=[Consent("email", step["withdraw"], False, now_ms, 1)])
        met = [Interaction(now_ms, "selected", SILVER, "web")] * step.get("met_elsewhere", 0)
        state = replace(state, interactions=[*state.interactions, *met])
        self.snapshot = replace(self.snapshot, state=state, now_ms=now_ms)

    def _decided(self, decision: Decision, *, is_repeat: bool) -> dict[str, Any]:
        placed = decision.placements[0]
        if not is_repeat:
            self.snapshot = replace(self.snapshot, state=decision.state)
        return {"shows": placed.action, "reasons": placed.reasons, "repeats": is_repeat, **self._stands()}

    def _answered(self, outcome: str) -> dict[str, Any]:
        shown = self.opened["token"].render
        ends = ended_by(outcome, shown.action or "", BANK)
        response = Response("r", "C-1", outcome, shown.action or "", ends, self.snapshot.now_ms, "email",
                            shown.decision_id, shown.placement)  # fmt: skip
        claimed = claim(response, self.snapshot, BANK)
        state = self.snapshot.state if claimed is None else claimed.state
        self.snapshot = replace(self.snapshot, state=respond(response, state))
        return {"claim": claimed.verdict if claimed else None, **self._stands()}

    def _stands(self) -> dict[str, Any]:
        state = self.snapshot.state
        render = render_of(state, "token" if "other" not in self.opened else "other")
        return {
            "leased": [each.action for each in state.lease if each.until_ms > self.snapshot.now_ms],
            "met": [each.outcome for each in state.interactions],
            "held": render.action if render is not None and render.held else None,
        }


@pytest.mark.parametrize("case", CASES, ids=[case["note"] for case in CASES])
def test_an_opening_costs_what_the_case_says(case: dict[str, Any]) -> None:
    story = Story()

    for step in case["steps"]:
        came = story.do(step)
        for name in ("shows", "reasons", "repeats", "leased", "met", "held", "claim"):
            if name in step:
                assert came[name] == _expected(name, step[name]), (step, came)


def _expected(name: str, value: Any) -> Any:
    if name == "leased":
        return [ACTIONS[each] for each in value]
    return ACTIONS.get(value, value) if name in ("shows", "held") else value


@pytest.mark.parametrize("before", [None, "gold"])
def test_what_a_machine_was_shown_is_decided_again_from_its_record_and_teaches_nothing(before: str | None) -> None:
    snapshot = replace(customer(), state=replace(customer().state, sealing_key="A" * 43 + "="))
    if before is not None:  # held, and by now kept back by a rule: the draw is a new one
        held = Render("t", "email.hero", "d0", GOLD, NOW_MS - 1, NOW_MS + 60_000, held=True)
        snapshot = replace(customer(income=10.0), state=replace(snapshot.state, renders=[held]))
    scorer = StatedScorer(BANK, {"default": 0.1, GOLD: 0.2})
    opening = open_by_machine(MAIL, snapshot, BANK, scorer, token_id="t", decision_id="d1")
    seen = seen_by_machine(snapshot, "t")

    packed = decision_record(
        opening.decision, MAIL, seen, BANK, Versions(BANK.version, "stated"), key_id="mail", client_class="proxy"
    )

    body = parsed(packed)
    again = replay(open_record(body, snapshot.state.sealing_key, BANK), BANK, scorer)
    assert again.placements[0].action == opening.placed.action == (SILVER if before else GOLD)
    assert again.placements[0].reasons == opening.placed.reasons
    assert "renders" not in body["snapshot"]["state"]
    assert body["client_class"] == "proxy"
    assert list(trials_of(body)) == []
    assert len(list(trials_of({**body, "client_class": "person"}))) == 1


def test_renders_are_kept_under_a_bound_and_one_a_token() -> None:
    renders: list[Render] = []
    for number in range(RENDER_COUNT_MAX + 3):
        renders = with_render(renders, Render(f"t{number}", "email.hero", "d", None, number, number, held=False))

    renders = with_render(renders, Render("t5", "email.hero", "again", None, 99, 99, held=False))

    assert [each.token_id for each in renders] == [*(f"t{number}" for number in (3, 4, *range(6, 19))), "t5"]
    assert render_of(State("p", "a", "", renders=renders), "t5").decision_id == "again"  # type: ignore[union-attr]


def test_the_snapshot_is_left_as_it_was() -> None:
    snapshot: Snapshot = customer()
    before = replace(snapshot.state)

    open_by_machine(MAIL, snapshot, BANK, StatedScorer(BANK, {"default": 0.1}), token_id="t", decision_id="d1")

    assert snapshot.state == before
