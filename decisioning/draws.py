"""Draws: one fresh outcome of a placement, by arbitration, by exploration, or at random.

Pure. A draw is a trial of the policy in force and carries the exact probability of its outcome, given what stands in
the answer already and the customer's arms. placement.py says which way a placement is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from numpy.typing import NDArray

from decisioning.arbitration import Floats, Ints, best_first
from decisioning.catalog.strategy import Exploration, Mask, Placement, Strategy, indexes_of, members
from decisioning.experiments.assignment import draw
from decisioning.exploration import chosen, selection_probabilities
from decisioning.filling import Filling
from decisioning.request import MESSAGE, NOTHING, OFFER, Placed

WAIT_MS = 1_000  # how long an outcome holds that only waits: for units of a budget, or for others to finish
SALT = "exploration"  # keeps these draws apart from all others of the same person
# In place of an action's hash: *nothing* stands last in a row of contenders and is drawn like one.
NOTHING_HASH = int.from_bytes(blake2b(NOTHING.encode(), digest_size=8).digest())


def arbitrated(
    filling: Filling, placement: Placement, contenders: Mask, nothing_value: float, reasons: list[str]
) -> Placed:
    """The best contender if it is worth more than nothing, else nothing; the reasons name margin and runner-up."""
    return _best(filling, placement, indexes_of(contenders), nothing_value, reasons)


def _best(filling: Filling, placement: Placement, index: Ints, nothing_value: float, reasons: list[str]) -> Placed:
    if not index.size:
        return nothing(filling, placement, ["no_candidate", *reasons])
    strategy, priority = filling.strategy, filling.appraisal.priority[index]
    ranking = best_first(priority, strategy.action_hash[index], person=filling.snapshot.state.assignment_key)
    for at in ranking:
        best, worth = int(index[at]), priority[at]
        if not worth > nothing_value:
            won = _won("nothing_worth_more", nothing_value - worth, strategy.actions[best].key)
            return nothing(filling, placement, [*won, *reasons])
        content = filling.content(best)
        if content is None:
            filling.drop(placement.name, "content_unknown", 1 << best)
            continue
        following = next(ranking, None)
        if following is None or priority[following] <= nothing_value:
            won = _won("won_arbitration", worth - nothing_value, NOTHING)
        else:
            won = _won("won_arbitration", worth - priority[following], strategy.actions[index[following]].key)
        return _winner(filling, placement, best, content, [*won, *reasons])
    return nothing(filling, placement, ["no_candidate", *reasons])


def explored(
    filling: Filling, placement: Placement, exploration: Exploration, contenders: Mask, reasons: list[str]
) -> Placed:
    """The winner of arbitration most of the time, now and then another one, to learn about it.

    Service and mandatory actions are no experiment: where one wins, it stays.
    """
    state = filling.snapshot.state
    contenders = _showable(filling, placement, contenders)
    index = and_nothing(contenders, filling.strategy)
    best = _best(filling, placement, index[:-1], placement.nothing_value, reasons)
    is_fixed = best.action is not None and filling.strategy.bypass_mask >> filling.index_of(best.action) & 1
    if is_fixed or not contenders:
        return best
    probabilities = chances(filling, placement, exploration, index)
    choice = chosen(
        probabilities,
        _each(filling.strategy.action_hash, index, NOTHING_HASH),
        person=state.assignment_key,
        draw_index=state.draw_index,
        position=len(filling.placed),
        salt=SALT,
    )
    action = None if choice == index.size - 1 else filling.strategy.actions[index[choice]].key
    probability = float(probabilities[choice])
    if action == best.action:
        best.selection_probability = probability
        return best
    if action is None:
        tried = nothing(filling, placement, [], probability)
    else:
        tried = _winner(filling, placement, int(index[choice]), filling.content(int(index[choice])), [], probability)
    given_up = (best.priority or 0.0) - (tried.priority or 0.0)
    tried.reasons = ["explored", f"margin:{given_up:.4f}", f"instead_of:{best.action or NOTHING}", *reasons]
    return tried


def and_nothing(contenders: Mask, strategy: Strategy) -> Ints:
    """The contenders, ascending, and nothing, as if it were the action behind the last."""
    return indexes_of(contenders | 1 << len(strategy.actions))


def _each(of_actions: NDArray[Any], index: Ints, of_nothing: Any) -> NDArray[Any]:
    """One value for each index that `and_nothing` gives: the actions' own, and for nothing this one."""
    found = of_actions.take(index, mode="clip")
    found[-1] = of_nothing
    return found


def chances(filling: Filling, placement: Placement, exploration: Exploration, index: Ints) -> Floats:
    """The probability of each contender and, last, of nothing; index as `and_nothing` gives it."""
    appraisal = filling.appraisal
    return selection_probabilities(
        _each(appraisal.hope, index, placement.nothing_value),
        explores=_each(members(exploration.mask, appraisal.hope.size), index, True),
        launches=_each(appraisal.launches, index, False),
        sacrifice=exploration.sacrifice,
        scale_min=exploration.scale_min,
        launch_share=exploration.launch_share,
    )


def at_random(filling: Filling, placement: Placement, contenders: Mask, reasons: list[str]) -> Placed:
    """A uniformly random eligible action, drawn by hash of person, running number of draws and position."""
    state, index = filling.snapshot.state, indexes_of(_showable(filling, placement, contenders))
    if not index.size:
        return nothing(filling, placement, ["no_candidate", *reasons])
    share = draw("random", state.assignment_key, state.draw_index, len(filling.placed))
    choice = int(index[int(share * index.size)])
    return _winner(filling, placement, choice, filling.content(choice), ["random_arm", *reasons], 1.0 / index.size)


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


def _showable(filling: Filling, placement: Placement, contenders: Mask) -> Mask:
    """The contenders whose content is known.

    One that turned out unknown only after it was drawn would have had a share of the probability that the others are
    logged with. Content whose every expression has a default needs no look.
    """
    unsure = contenders & placement.candidates.unsure_mask
    if unsure:
        for index in indexes_of(unsure).tolist():
            if filling.content(index) is None:
                filling.drop(placement.name, "content_unknown", 1 << index)
                contenders &= ~(1 << index)
    return contenders


def _winner(
    filling: Filling,
    placement: Placement,
    index: int,
    content: Mapping[str, Any] | None,
    reasons: list[str],
    probability: float = 1.0,
) -> Placed:
    appraisal, action = filling.appraisal, filling.strategy.actions[index]
    is_message = action.kind == MESSAGE
    return Placed(
        placement=placement.name,
        outcome=MESSAGE if is_message else OFFER,
        reasons=reasons,
        action=action.key,
        treatment=filling.request.channel,
        content=content,
        propensity=None if is_message else float(appraisal.propensity[index]),
        uplift=None if is_message or appraisal.uplift is None else float(appraisal.uplift[index]),
        priority=float(appraisal.priority[index]),
        expected_value=appraisal.expected_value(index),
        selection_probability=probability,
        valid_until_ms=_until_ms(filling),
    )


def _won(code: str, margin: float, runner_up: str) -> list[str]:
    return [code, f"margin:{margin:.4f}", f"runner_up:{runner_up}"]


def _until_ms(filling: Filling, *, waits: bool = False) -> int:
    lease_ms = filling.strategy.channels[filling.request.channel].lease_ms
    return filling.moment.now_ms + (WAIT_MS if waits or not filling.request.offers_allowed else lease_ms)
