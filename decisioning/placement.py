"""Placements: filled in the order asked, no action twice, each with one outcome.

Pure. Three things can fill a placement: a render of the customer's lease, the message or nothing this channel already
holds, or a fresh draw. Only a draw is a trial of the policy and carries a selection probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.arbitration import arbitrate, priorities
from decisioning.catalog.strategy import Candidates, Mask, Placement, Strategy
from decisioning.customer import Hold, LeaseEntry, Snapshot
from decisioning.eligibility import Gated
from decisioning.errors import ContentUnknown
from decisioning.experiments.assignment import Standing, draw
from decisioning.interactions import ANSWERS, DAY_MS
from decisioning.lease import Renewed, showable
from decisioning.moment import Moment
from decisioning.request import MESSAGE, NOTHING, OFFER, Placed, Request
from rules import EvaluationError

ALL: Mask = -1  # every bit set


@dataclass(slots=True)
class Scores:
    """Numbers per action of the strategy, computed in one call for every action that is still in the running."""

    propensity: NDArray[np.float64]  # 1 for messages
    context_weight: NDArray[np.float64]
    contenders: Mask


@dataclass(slots=True)
class Filling:
    """One answer while it is being filled."""

    request: Request
    snapshot: Snapshot
    strategy: Strategy
    moment: Moment
    standing: Standing
    gated: Gated
    renewed: Renewed
    scores: Scores
    decision_id: str
    language: str
    placed: dict[str, Placed] = field(default_factory=dict)
    used: Mask = 0
    drops: dict[str, Mask] = field(default_factory=dict)

    def place(self, placed: Placed) -> None:
        """Take one outcome into the answer."""
        self.placed[placed.placement] = placed
        if placed.action is not None:
            self.used |= 1 << self.strategy.action_index[placed.action]

    def drop(self, reason: str, index: int) -> None:
        """Note that an action left for a reason only this answer knows."""
        self.drops[reason] = self.drops.get(reason, 0) | 1 << index


def fill(filling: Filling) -> list[Placed]:
    """Outcomes in the order the placements were asked for."""
    offers_open = place_lease(filling)
    for name in filling.request.placements:
        if name not in filling.placed:
            placement = filling.strategy.placements[name]
            filling.place(held(filling, placement) or drawn(filling, placement, offers_open=offers_open))
    return [filling.placed[name] for name in filling.request.placements]


def place_lease(filling: Filling) -> bool:
    """Render the lease; True when further offers may stand beside it.

    The first entry goes to the first placement that can show it, one that already shows a message only if no other can,
    so that a page looks the same when it is loaded again. If none can, no other offer may appear: it would compete.
    """
    free_first = sorted(filling.request.placements, key=lambda name: _hold(filling, name) is not None)
    shown = showable(filling.renewed.entries, filling.gated.allowed, filling.strategy)
    for position, entry in enumerate(filling.renewed.entries):
        rendered = (
            _render_entry(filling, entry, free_first)
            if shown >> filling.strategy.action_index[entry.action] & 1
            else None
        )
        if rendered is not None:
            filling.place(rendered)
        elif position == 0:
            return False
    return filling.request.offers_allowed


def _render_entry(filling: Filling, entry: LeaseEntry, names: Sequence[str]) -> Placed | None:
    index = filling.strategy.action_index[entry.action]
    for name in names:
        placement = filling.strategy.placements[name]
        if name in filling.placed or not placement.candidates.mask >> index & 1:
            continue
        content = render(filling, placement, index)
        if content is not None:
            return Placed(
                name,
                OFFER,
                ["lease"],
                entry.action,
                filling.request.channel,
                content=content,
                lease_of=entry.decision_id,
                valid_until_ms=entry.until_ms,
            )
    return None


def held(filling: Filling, placement: Placement) -> Placed | None:
    """The message or nothing that this placement already shows, while it lasts and its gates still pass."""
    hold = _hold(filling, placement.name)
    if hold is None:
        return None
    if hold.action is None:
        return Placed(placement.name, NOTHING, ["held"], lease_of=hold.decision_id, valid_until_ms=hold.until_ms)
    index = filling.strategy.action_index.get(hold.action, -1)
    if index < 0 or not filling.gated.allowed & placement.candidates.mask & ~filling.used >> index & 1:
        return None
    content = render(filling, placement, index)
    if content is None:
        return None
    return Placed(
        placement.name,
        MESSAGE,
        ["held"],
        hold.action,
        filling.request.channel,
        content=content,
        lease_of=hold.decision_id,
        valid_until_ms=hold.until_ms,
    )


def _hold(filling: Filling, name: str) -> Hold | None:
    hold = filling.snapshot.state.holds.get(name)
    return hold if hold is not None and hold.until_ms > filling.moment.now_ms else None


def drawn(filling: Filling, placement: Placement, *, offers_open: bool) -> Placed:
    """A fresh outcome: mandatory first, then the holdout, the random arm, or arbitration."""
    strategy, standing = filling.strategy, filling.standing
    contenders = placement.candidates.mask & filling.scores.contenders & ~filling.used
    if not offers_open:
        _note(filling, "lease", contenders & strategy.offer_mask)
        contenders &= ~strategy.offer_mask
    if placement.one_per_group:
        contenders &= ~_groups_used(filling)
    mandatory = contenders & strategy.mandatory_mask
    if mandatory:
        winner = arbitrated(filling, placement, mandatory, nothing_value=-np.inf, reasons=["mandatory"])
        if winner.outcome != NOTHING:
            return winner
    reasons = [*filling.renewed.ended, *_last_answer(filling)]
    if not offers_open:
        reasons += [f"leased:{entry.action}" for entry in filling.renewed.entries[:1]]
    if standing.holdout or standing.draws_at_random:
        exempt = arbitrated(filling, placement, contenders & strategy.bypass_mask, placement.nothing_value, reasons)
        if exempt.outcome != NOTHING:
            return exempt
        contenders &= ~strategy.bypass_mask
    if standing.holdout:
        _note(filling, "holdout", contenders)
        return _nothing(filling, placement, ["holdout", *reasons])
    if standing.draws_at_random:
        return at_random(filling, placement, contenders, reasons)
    return arbitrated(filling, placement, contenders, placement.nothing_value, reasons)


def arbitrated(
    filling: Filling, placement: Placement, contenders: Mask, nothing_value: float, reasons: list[str]
) -> Placed:
    """The best contender if it is worth more than nothing, else nothing; the reasons name margin and runner-up."""
    candidates, chosen = placement.candidates, positions_of(placement.candidates, contenders, filling.strategy)
    if chosen.size == 0:
        return _nothing(filling, placement, ["no_candidate", *reasons])
    index = candidates.action_index[chosen]
    priority = priority_of(filling.scores, candidates, chosen)
    order = arbitrate(priority, filling.strategy.action_hash[index], person=filling.snapshot.state.assignment_key)
    for rank, at in enumerate(order):
        if priority[at] <= nothing_value:
            return _nothing(
                filling,
                placement,
                [*_won("nothing_worth_more", nothing_value - priority[at], _key(filling, index[at])), *reasons],
            )
        content = render(filling, placement, int(index[at]))
        if content is None:
            filling.drop("content_unknown", int(index[at]))
            continue
        following = order[rank + 1] if rank + 1 < order.size else None
        if following is None or priority[following] <= nothing_value:
            margin, runner_up = priority[at] - nothing_value, NOTHING
        else:
            margin, runner_up = priority[at] - priority[following], _key(filling, index[following])
        return _winner(
            filling, placement, int(chosen[at]), content, [*_won("won_arbitration", margin, runner_up), *reasons]
        )
    return _nothing(filling, placement, ["no_candidate", *reasons])


def at_random(filling: Filling, placement: Placement, contenders: Mask, reasons: list[str]) -> Placed:
    """A uniformly random eligible action, drawn by hash of person, running number of draws and placement."""
    chosen = positions_of(placement.candidates, contenders, filling.strategy)
    state = filling.snapshot.state
    position = filling.request.placements.index(placement.name)
    while chosen.size:
        at = int(draw("random", state.assignment_key, state.draw_index, position) * chosen.size)
        content = render(filling, placement, int(placement.candidates.action_index[chosen[at]]))
        if content is not None:
            return _winner(filling, placement, int(chosen[at]), content, ["random_arm", *reasons], 1.0 / chosen.size)
        filling.drop("content_unknown", int(placement.candidates.action_index[chosen[at]]))
        chosen = np.delete(chosen, at)
    return _nothing(filling, placement, ["no_candidate", *reasons])


def _won(code: str, margin: float, runner_up: str) -> list[str]:
    return [code, f"margin:{margin:.4f}", f"runner_up:{runner_up}"]


def _winner(
    filling: Filling,
    placement: Placement,
    at: int,
    content: Mapping[str, Any],
    reasons: list[str],
    probability: float = 1.0,
) -> Placed:
    candidates, scores = placement.candidates, filling.scores
    index = int(candidates.action_index[at])
    here = np.array([at])
    is_message = bool(candidates.is_message[at])
    return Placed(
        placement=placement.name,
        outcome=MESSAGE if is_message else OFFER,
        reasons=reasons,
        action=filling.strategy.actions[index].key,
        treatment=filling.request.channel,
        content=content,
        propensity=None if is_message else float(scores.propensity[index]),
        priority=float(priority_of(scores, candidates, here)[0]),
        expected_value=float(scores.propensity[index] * candidates.worth[at] - candidates.contact_cost[at]),
        selection_probability=probability,
        valid_until_ms=filling.moment.now_ms + filling.strategy.channels[filling.request.channel].lease_ms,
    )


def _nothing(filling: Filling, placement: Placement, reasons: list[str]) -> Placed:
    return Placed(
        placement=placement.name,
        outcome=NOTHING,
        reasons=reasons,
        priority=placement.nothing_value,
        expected_value=placement.nothing_value,
        selection_probability=1.0,
        valid_until_ms=filling.moment.now_ms + filling.strategy.channels[filling.request.channel].lease_ms,
    )


def priority_of(scores: Scores, candidates: Candidates, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    index = candidates.action_index[chosen]
    return priorities(
        scores.propensity[index],
        candidates.worth[chosen],
        scores.context_weight[index],
        candidates.lever[chosen],
        candidates.contact_cost[chosen],
    )


def positions_of(candidates: Candidates, mask: Mask, strategy: Strategy) -> NDArray[np.int64]:
    """Positions among the candidates whose action is in the mask."""
    if not mask:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(bits(mask, len(strategy.actions))[candidates.action_index])


def bits(mask: Mask, count: int) -> NDArray[np.bool_]:
    """A set of actions as bool[count]."""
    raw = np.frombuffer(mask.to_bytes((count + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(raw, count=count, bitorder="little").astype(np.bool_)


def _groups_used(filling: Filling) -> Mask:
    mask = 0
    for placed in filling.placed.values():
        if placed.action is not None:
            mask |= filling.strategy.masks_under[placed.action.rsplit("/", 1)[0]]
    return mask


def render(filling: Filling, placement: Placement, index: int) -> Mapping[str, Any] | None:
    """What the placement would show of an action, or None when a value it needs is missing."""
    treatment = filling.strategy.actions[index].treatments[filling.request.channel]
    try:
        return treatment.content.render(filling.language, filling.moment.activation)
    except (ContentUnknown, EvaluationError):
        return None


def _last_answer(filling: Filling) -> list[str]:
    """What the customer last answered, while it is fresh: why a channel shows something else than before."""
    for each in reversed(filling.snapshot.state.interactions):
        if each.at_ms <= filling.moment.now_ms - DAY_MS:
            break
        if each.outcome in ANSWERS:
            return [f"answered:{each.outcome}:{each.action}"]
    return []


def _note(filling: Filling, reason: str, mask: Mask) -> None:
    if mask:
        filling.drops[reason] = filling.drops.get(reason, 0) | mask


def _key(filling: Filling, index: np.int64) -> str:
    return filling.strategy.actions[int(index)].key


def hold_of(placed: Placed, decision_id: str) -> Hold:
    """What the customer's state remembers of a message or nothing."""
    return Hold(placed.outcome, placed.action, decision_id, placed.valid_until_ms)
