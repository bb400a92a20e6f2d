"""Placements: filled in the order asked, no action twice, each with one outcome.

Pure. Three things can fill a placement: a render of the customer's lease, the message or nothing this channel already
holds, or a fresh draw. Only a draw is a trial of the policy and carries a selection probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.arbitration import arbitrate, priorities
from decisioning.catalog.strategy import Candidates, Mask, Placement
from decisioning.experiments.assignment import draw
from decisioning.filling import Filling
from decisioning.interactions import ANSWERS, DAY_MS
from decisioning.renders import held, place_lease
from decisioning.request import MESSAGE, NOTHING, OFFER, Placed
from decisioning.scoring import Appraisal


def fill(filling: Filling) -> list[Placed]:
    """Outcomes in the order the placements were asked for.

    Mandatory actions come first: neither a promise nor a deliberate silence keeps them from the customer.
    """
    placements = [filling.strategy.placements[name] for name in filling.request.placements]
    for placement in placements:
        if (placed := mandatory(filling, placement)) is not None:
            filling.place(placed)
    offers_open = place_lease(filling)
    for placement in placements:
        if placement.name not in filling.placed:
            filling.place(_settled(filling, placement) or drawn(filling, placement, offers_open=offers_open))
    return [filling.placed[placement.name] for placement in placements]


def mandatory(filling: Filling, placement: Placement) -> Placed | None:
    """The mandatory action of this placement, drawn once and then held like any other."""
    standing = filling.strategy.mandatory_mask
    shown = held(filling, placement)
    if shown is not None and shown.action is not None and standing >> filling.index_of(shown.action) & 1:
        return shown
    contenders = contenders_for(filling, placement, offers_open=True) & standing
    if not contenders:
        return None
    winner = arbitrated(filling, placement, contenders, nothing_value=-np.inf, reasons=["mandatory"])
    return None if winner.outcome == NOTHING else winner


def _settled(filling: Filling, placement: Placement) -> Placed | None:
    """What the placement holds, unless it is silence and a service action has something to say."""
    shown = held(filling, placement)
    if shown is None or shown.outcome != NOTHING:
        return shown
    service = contenders_for(filling, placement, offers_open=True) & filling.strategy.bypass_mask
    spoken = arbitrated(filling, placement, service, placement.nothing_value, [])
    return shown if spoken.outcome == NOTHING else None


def drawn(filling: Filling, placement: Placement, *, offers_open: bool) -> Placed:
    """A fresh outcome: by the holdout, the random arm, or arbitration; service actions bypass the first two."""
    strategy, standing = filling.strategy, filling.standing
    contenders = contenders_for(filling, placement, offers_open=offers_open)
    reasons = _circumstances(filling, offers_open=offers_open)
    if standing.holdout or standing.draws_at_random:
        exempt = arbitrated(filling, placement, contenders & strategy.bypass_mask, placement.nothing_value, reasons)
        if exempt.outcome != NOTHING:
            return exempt
        contenders &= ~strategy.bypass_mask
    if standing.holdout:
        filling.drop(placement.name, "holdout", contenders)
        return _nothing(filling, placement, ["holdout", *reasons])
    if standing.draws_at_random:
        return at_random(filling, placement, contenders, reasons)
    return arbitrated(filling, placement, contenders, placement.nothing_value, reasons)


def contenders_for(filling: Filling, placement: Placement, *, offers_open: bool) -> Mask:
    """The actions that passed every gate and may still stand here, beside what the answer shows already."""
    contenders = placement.candidates.mask & filling.appraisal.contenders
    kept_out = {"placed_elsewhere": filling.used}
    if not offers_open:
        kept_out["lease"] = filling.strategy.offer_mask & ~filling.strategy.bypass_mask
    if placement.one_per_group:
        kept_out["one_per_group"] = filling.groups_used()
    for reason, mask in kept_out.items():
        filling.drop(placement.name, reason, contenders & mask)
        contenders &= ~mask
    return contenders


def arbitrated(
    filling: Filling, placement: Placement, contenders: Mask, nothing_value: float, reasons: list[str]
) -> Placed:
    """The best contender if it is worth more than nothing, else nothing; the reasons name margin and runner-up."""
    candidates, chosen = placement.candidates, placement.candidates.positions(contenders, len(filling.strategy.actions))
    if chosen.size == 0:
        return _nothing(filling, placement, ["no_candidate", *reasons])
    index = candidates.action_index[chosen]
    priority = priority_of(filling.appraisal, candidates, chosen)
    order = arbitrate(priority, filling.strategy.action_hash[index], person=filling.snapshot.state.assignment_key)
    for rank, at in enumerate(order):
        if not priority[at] > nothing_value:
            return _nothing(
                filling,
                placement,
                [*_won("nothing_worth_more", nothing_value - priority[at], _key(filling, index[at])), *reasons],
            )
        content = filling.content(int(index[at]))
        if content is None:
            filling.drop(placement.name, "content_unknown", 1 << int(index[at]))
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
    """A uniformly random eligible action, drawn by hash of person, running number of draws and placement.

    Every contender is rendered first: one whose content is unknown must not take part, or the others' probability
    would not be what is logged.
    """
    candidates, state = placement.candidates, filling.snapshot.state
    chosen = candidates.positions(contenders, len(filling.strategy.actions))
    contents = {int(at): filling.content(int(candidates.action_index[at])) for at in chosen}
    for at, content in contents.items():
        if content is None:
            filling.drop(placement.name, "content_unknown", 1 << int(candidates.action_index[at]))
    showable = [(at, content) for at, content in contents.items() if content is not None]
    if not showable:
        return _nothing(filling, placement, ["no_candidate", *reasons])
    position = filling.request.placements.index(placement.name)
    share = draw("random", state.assignment_key, state.draw_index, position)
    at, content = showable[int(share * len(showable))]
    return _winner(filling, placement, at, content, ["random_arm", *reasons], 1.0 / len(showable))


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
    candidates, appraisal = placement.candidates, filling.appraisal
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
        propensity=None if is_message else float(appraisal.propensity[index]),
        priority=float(priority_of(appraisal, candidates, here)[0]),
        expected_value=float(appraisal.propensity[index] * appraisal.worth[index] - candidates.contact_cost[at]),
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


def priority_of(appraisal: Appraisal, candidates: Candidates, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    index = candidates.action_index[chosen]
    return priorities(
        appraisal.propensity[index],
        appraisal.worth[index],
        appraisal.context_weight[index],
        appraisal.lever[index],
        candidates.contact_cost[chosen],
    )


def _circumstances(filling: Filling, *, offers_open: bool) -> list[str]:
    """Reasons that any draw of this answer has: what ended, what was answered last, what is promised elsewhere."""
    reasons = list(filling.renewed.ended)
    for each in reversed(filling.snapshot.state.interactions):
        if each.at_ms <= filling.moment.now_ms - DAY_MS:
            break
        if each.outcome in ANSWERS:
            reasons.append(f"answered:{each.outcome}:{each.action}")
            break
    if not offers_open:
        reasons += [f"leased:{entry.action}" for entry in filling.renewed.entries[:1]]
    return reasons


def _key(filling: Filling, index: np.int64) -> str:
    return filling.strategy.actions[int(index)].key
