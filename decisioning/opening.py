"""Opening: what a mail shows when somebody, or some machine, fetches its picture.

Pure, beside decide.py and made of the same parts. A person's opening is an ordinary decision. A machine, or a client
that cannot be told, is shown the live lease, else what its token holds already, else a draw that is held for this token
alone: nothing is leased, charged, counted or taught until a person answers (`claim.py`). A scanner never gets here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from decisioning.catalog.strategy import Strategy
from decisioning.customer import Hold, Render, Snapshot, State
from decisioning.decide import decide, filled, prepare
from decisioning.request import Decision, Placed, Request
from decisioning.scoring import Scorer

ClientClass = Literal["person", "proxy", "scanner", "unknown"]
PERSON: Final = "person"
PROXY: Final = "proxy"
SCANNER: Final = "scanner"
UNKNOWN: Final = "unknown"
RENDER_COUNT_MAX = 16  # mails of one customer whose links know what was shown last: a month of anybody's, 0.7 KB


@dataclass(frozen=True, slots=True)
class Opening:
    """What a token shows now."""

    decision: Decision
    render: Render
    is_repeat: bool  # the token showed it before, and nothing is to be written

    @property
    def placed(self) -> Placed:
        """The outcome of the token's placement."""
        return self.decision.placements[0]


def open_by_person(
    request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, token_id: str, decision_id: str
) -> Opening:
    """Decide as for any other channel, and note what the token shows. The request names the token's placement alone."""
    decision = decide(request, snapshot, strategy, scorer, decision_id=decision_id)
    render = _render(token_id, decision, held=False)
    return Opening(_noted(decision, snapshot.state, decision.state, render), render, is_repeat=False)


def open_by_machine(
    request: Request, snapshot: Snapshot, strategy: Strategy, scorer: Scorer, *, token_id: str, decision_id: str
) -> Opening:
    """Show the lease or a choice held for this token; the customer's next state differs in the token's render only."""
    before = render_of(snapshot.state, token_id)
    held = _holding(snapshot, before)
    decision = filled(prepare(request, held, strategy, scorer, decision_id=decision_id))
    placed = decision.placements[0]
    if before is not None and not placed.is_trial and _shows(before, placed):
        return Opening(decision, before, is_repeat=True)
    render = _render(token_id, decision, held=placed.is_trial)
    return Opening(_noted(decision, snapshot.state, snapshot.state, render), render, is_repeat=False)


def seen_by_machine(snapshot: Snapshot, token_id: str) -> Snapshot:
    """The customer as a machine's decision sees it: what its record has to hold to be decided again."""
    return _holding(snapshot, render_of(snapshot.state, token_id))


def render_of(state: State, token_id: str) -> Render | None:
    """What a token showed last, to anybody but a scanner."""
    return next((each for each in state.renders if each.token_id == token_id), None)


def with_render(renders: Sequence[Render], render: Render) -> list[Render]:
    """The renders with this one as its token's last; past the bound the oldest makes room."""
    others = [each for each in renders if each.token_id != render.token_id]
    return [*others, render][-RENDER_COUNT_MAX:]


def _holding(snapshot: Snapshot, before: Render | None) -> Snapshot:
    """The customer with a token's held choice as what its placement holds, while it lasts."""
    if before is None or not before.held or before.until_ms <= snapshot.now_ms:
        return snapshot
    hold = Hold(before.action, before.decision_id, before.until_ms)
    state = replace(snapshot.state, holds={**snapshot.state.holds, before.placement: hold})
    return replace(snapshot, state=state)


def _render(token_id: str, decision: Decision, *, held: bool) -> Render:
    placed = decision.placements[0]
    shown = placed.placement, decision.decision_id, placed.action, decision.at_ms, placed.valid_until_ms
    return Render(token_id, *shown, held)


def _shows(render: Render, placed: Placed) -> bool:
    return (render.placement, render.action, render.until_ms) == (
        placed.placement,
        placed.action,
        placed.valid_until_ms,
    )


def _noted(decision: Decision, before: State, after: State, render: Render) -> Decision:
    state = replace(after, renders=with_render(before.renders, render))
    return replace(decision, state=state, changes_state=True)
