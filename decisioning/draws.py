"""Draws: one fresh outcome of a placement, by arbitration, by exploration, or at random.

Pure. A draw is a trial of the policy in force and carries the exact probability of its outcome, given what stands in
the answer already and the customer's arms. placement.py says which way a placement is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from decisioning.arbitration import Floats, Ints, arbitrate, priorities
from decisioning.catalog.strategy import Candidates, Exploration, Mask, Placement, members
from decisioning.experiments.assignment import draw
from decisioning.exploration import chosen, selection_probabilities
from decisioning.filling import Filling
from decisioning.request import MESSAGE, NOTHING, OFFER, Placed

WAIT_MS = 1_000  # how long an outcome holds that only waits: for units of a budget, or for others to finish
SALT = "exploration"  # keeps these draws apart from all others of the same person
NOTHING_HASH = np.uint64(int.from_bytes(blake2b(NOTHING.encode(), digest_size=8).digest()))


def arbitrated(
    filling: Filling, placement: Placement, contenders: Mask, nothing_value: float, reasons: list[str]
) -> Placed:
    """The best contender if it is worth more than nothing, else nothing; the reasons name margin and runner-up."""
    if not contenders:
        return nothing(filling, placement, ["no_candidate", *reasons])
    candidates, at = placement.candidates, placement.candidates.positions(contenders, len(filling.strategy.actions))
    index = candidates.action_index[at]
    priority = priority_of(filling.appraisal.response, filling, candidates, at)
    order = arbitrate(priority, filling.strategy.action_hash[index], person=filling.snapshot.state.assignment_key)
    for rank, best in enumerate(order):
        if not priority[best] > nothing_value:
            margin = nothing_value - priority[best]
            return nothing(
                filling, placement, [*_won("nothing_worth_more", margin, _key(filling, index[best])), *reasons]
            )
        content = filling.content(int(index[best]))
        if content is None:
            filling.drop(placement.name, "content_unknown", 1 << int(index[best]))
            continue
        following = order[rank + 1] if rank + 1 < order.size else None
        if following is None or priority[following] <= nothing_value:
            margin, runner_up = priority[best] - nothing_value, NOTHING
        else:
            margin, runner_up = priority[best] - priority[following], _key(filling, index[following])
        won = _won("won_arbitration", margin, runner_up)
        return _winner(filling, placement, int(at[best]), content, [*won, *reasons])
    return nothing(filling, placement, ["no_candidate", *reasons])


def explored(
    filling: Filling, placement: Placement, exploration: Exploration, contenders: Mask, reasons: list[str]
) -> Placed:
    """The winner of arbitration most of the time, now and then another one, to learn about it.

    Service and mandatory actions are no experiment: where one wins, it stays.
    """
    state = filling.snapshot.state
    contenders = _showable(filling, placement, contenders)
    best = arbitrated(filling, placement, contenders, placement.nothing_value, reasons)
    is_fixed = best.action is not None and filling.strategy.bypass_mask >> filling.index_of(best.action) & 1
    if is_fixed or not contenders:
        return best
    at, probabilities = chances(filling, placement, exploration, contenders)
    index = placement.candidates.action_index[at]
    choice = chosen(
        probabilities,
        np.append(filling.strategy.action_hash[index], NOTHING_HASH),
        person=state.assignment_key,
        draw_index=state.draw_index,
        position=len(filling.placed),
        salt=SALT,
    )
    action = None if choice == at.size else _key(filling, index[choice])
    probability = float(probabilities[choice])
    if action == best.action:
        return replace(best, selection_probability=probability)
    if action is None:
        tried = nothing(filling, placement, [], probability)
    else:
        tried = _winner(filling, placement, int(at[choice]), filling.content(int(index[choice])), [], probability)
    given_up = (best.priority or 0.0) - (tried.priority or 0.0)
    tried.reasons = ["explored", f"margin:{given_up:.4f}", f"instead_of:{best.action or NOTHING}", *reasons]
    return tried


def chances(filling: Filling, placement: Placement, exploration: Exploration, contenders: Mask) -> tuple[Ints, Floats]:
    """Positions of the contenders among the candidates; the probability of each and, last, of nothing."""
    strategy, appraisal, candidates = filling.strategy, filling.appraisal, placement.candidates
    at = candidates.positions(contenders, len(strategy.actions))
    index = candidates.action_index[at]
    probabilities = selection_probabilities(
        np.append(priority_of(appraisal.optimistic, filling, candidates, at), placement.nothing_value),
        explores=np.append(members(exploration.mask, len(strategy.actions))[index], True),
        launches=np.append(appraisal.launches[index], False),
        sacrifice=exploration.sacrifice,
        scale_min=exploration.scale_min,
        launch_share=exploration.launch_share,
    )
    return at, probabilities


def at_random(filling: Filling, placement: Placement, contenders: Mask, reasons: list[str]) -> Placed:
    """A uniformly random eligible action, drawn by hash of person, running number of draws and position."""
    candidates, state = placement.candidates, filling.snapshot.state
    at = candidates.positions(_showable(filling, placement, contenders), len(filling.strategy.actions))
    if not at.size:
        return nothing(filling, placement, ["no_candidate", *reasons])
    share = draw("random", state.assignment_key, state.draw_index, len(filling.placed))
    choice = int(at[int(share * at.size)])
    content = filling.content(int(candidates.action_index[choice]))
    return _winner(filling, placement, choice, content, ["random_arm", *reasons], 1.0 / at.size)


def nothing(filling: Filling, placement: Placement, reasons: list[str], probability: float = 1.0) -> Placed:
    """Silence, deliberate and scored."""
    return Placed(
        placement=placement.name,
        outcome=NOTHING,
        reasons=reasons,
        priority=placement.nothing_value,
        expected_value=placement.nothing_value,
        selection_probability=probability,
        valid_until_ms=_until_ms(filling, waits=filling.is_waiting(placement)),
    )


def priority_of(response: Floats, filling: Filling, candidates: Candidates, at: Ints) -> Floats:
    """Priority of the candidates at these positions; response is that of every action of the strategy."""
    index, appraisal = candidates.action_index[at], filling.appraisal
    return priorities(
        response[index],
        appraisal.worth[index],
        appraisal.context_weight[index],
        appraisal.lever[index],
        candidates.contact_cost[at],
    )


def _showable(filling: Filling, placement: Placement, contenders: Mask) -> Mask:
    """The contenders whose content is known.

    One that turned out unknown only after it was drawn would have had a share of the probability that the others are
    logged with. Content whose every expression has a default needs no look.
    """
    unsure = contenders & placement.candidates.unsure_mask
    if unsure:
        for index in np.flatnonzero(members(unsure, len(filling.strategy.actions))).tolist():
            if filling.content(index) is None:
                filling.drop(placement.name, "content_unknown", 1 << index)
                contenders &= ~(1 << index)
    return contenders


def _winner(
    filling: Filling,
    placement: Placement,
    at: int,
    content: Mapping[str, Any] | None,
    reasons: list[str],
    probability: float = 1.0,
) -> Placed:
    candidates, appraisal = placement.candidates, filling.appraisal
    index, is_message = int(candidates.action_index[at]), bool(candidates.is_message[at])
    uplift = None if is_message or appraisal.uplift is None else float(appraisal.uplift[index])
    return Placed(
        placement=placement.name,
        outcome=MESSAGE if is_message else OFFER,
        reasons=reasons,
        action=filling.strategy.actions[index].key,
        treatment=filling.request.channel,
        content=content,
        propensity=None if is_message else float(appraisal.propensity[index]),
        uplift=uplift,
        priority=float(priority_of(appraisal.response, filling, candidates, np.array([at]))[0]),
        expected_value=float(appraisal.response[index] * appraisal.worth[index] - candidates.contact_cost[at]),
        selection_probability=probability,
        valid_until_ms=_until_ms(filling),
    )


def _won(code: str, margin: float, runner_up: str) -> list[str]:
    return [code, f"margin:{margin:.4f}", f"runner_up:{runner_up}"]


def _until_ms(filling: Filling, *, waits: bool = False) -> int:
    lease_ms = filling.strategy.channels[filling.request.channel].lease_ms
    return filling.moment.now_ms + (WAIT_MS if waits or not filling.request.offers_allowed else lease_ms)


def _key(filling: Filling, index: np.int64) -> str:
    return filling.strategy.actions[int(index)].key
