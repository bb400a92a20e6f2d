"""Placements: filled in the order asked, no action twice.

Pure. Each has one outcome, or, where its `count` is higher, several from the top down to the first `nothing`. Four
things can fill it: a render of the customer's lease, the silence of quiet hours, the message or nothing that this
channel already holds, or a fresh draw. Only a draw is a trial of the policy and carries a selection probability.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from decisioning.catalog.strategy import Mask, Placement
from decisioning.contact_policy import held_back_by
from decisioning.draws import arbitrated, at_random, explored, nothing
from decisioning.filling import Filling
from decisioning.interactions import ANSWERS, DAY_MS
from decisioning.renders import held, hushed, place_lease
from decisioning.request import NOTHING, Placed


def fill(filling: Filling) -> list[Placed]:
    """Outcomes in the order the placements were asked for, those of one placement by rank.

    Mandatory actions come first: neither a promise nor a deliberate silence keeps them from the customer.
    """
    placements = [filling.strategy.placements[name] for name in filling.request.placements]
    for placement in placements:
        while not filling.is_full(placement) and (placed := mandatory(filling, placement)) is not None:
            filling.place(placed)
    offers_open = place_lease(filling)
    for placement in placements:
        while not filling.is_full(placement):
            filling.place(
                hushed(filling, placement)
                or _settled(filling, placement, offers_open=offers_open)
                or drawn(filling, placement, offers_open=offers_open)
            )
    return [placed for placement in placements for placed in filling.placed_in(placement.name)]


def mandatory(filling: Filling, placement: Placement) -> Placed | None:
    """The mandatory action of this placement, drawn once and then held like any other."""
    if not placement.candidates.mask & filling.strategy.mandatory_mask:
        return None
    shown = held(filling, placement)
    if shown is not None and shown.action is not None and filling.is_mandatory(shown.action):
        return shown
    contenders, _ = contenders_for(filling, placement, filling.strategy.mandatory_mask, offers_open=True)
    if not contenders:
        return None
    winner = arbitrated(filling, placement, contenders, nothing_value=-np.inf, reasons=["mandatory"])
    if winner.outcome == NOTHING:
        return None
    _, dropped = contenders_for(filling, placement, filling.gated.all_reachable(), offers_open=True)
    _note(filling, placement, dropped)
    return winner


def _settled(filling: Filling, placement: Placement, *, offers_open: bool) -> Placed | None:
    """What the placement holds, unless it is silence and a service action has something to say."""
    shown = held(filling, placement)
    if shown is None or shown.outcome != NOTHING:
        return shown
    contenders, _ = contenders_for(filling, placement, filling.strategy.bypass_mask, offers_open=offers_open)
    spoken = arbitrated(filling, placement, contenders, placement.nothing_value, [])
    return shown if spoken.outcome == NOTHING else None


def drawn(filling: Filling, placement: Placement, *, offers_open: bool) -> Placed:
    """A fresh outcome: by the holdout, the random arm, exploration or arbitration; service actions only know the last.

    An answer after two lost races explores nothing: it may not get recorded, and then nobody learns from it.
    """
    strategy, standing = filling.strategy, filling.standing
    contenders, dropped = contenders_for(filling, placement, filling.gated.all_reachable(), offers_open=offers_open)
    _note(filling, placement, dropped)
    reasons = _circumstances(filling, offers_open=offers_open)
    if standing.holdout or standing.draws_at_random:
        exempt = arbitrated(filling, placement, contenders & strategy.bypass_mask, placement.nothing_value, reasons)
        if exempt.outcome != NOTHING:
            return exempt
        contenders &= ~strategy.bypass_mask
    if standing.holdout:
        filling.drop(placement.name, "holdout", contenders)
        return nothing(filling, placement, ["holdout", *reasons])
    if standing.draws_at_random:
        return at_random(filling, placement, contenders, reasons)
    exploration = strategy.exploration
    if exploration is not None and exploration.covers(placement.name) and filling.request.offers_allowed:
        return explored(filling, placement, exploration, contenders, reasons)
    return arbitrated(filling, placement, contenders, placement.nothing_value, reasons)


def contenders_for(
    filling: Filling, placement: Placement, among: Mask, *, offers_open: bool
) -> tuple[Mask, dict[str, Mask]]:
    """Those that passed every gate and may still stand here, beside what the answer shows already; and why the others
    may not. Only actions of `among` are asked about.
    """
    contenders = filling.gated.reachable(placement.candidates.mask & among)
    kept_out = {"placed_elsewhere": filling.used, "lease": filling.leased()}
    if not offers_open:
        kept_out["lease"] |= filling.strategy.offer_mask & ~filling.strategy.mandatory_mask
    if placement.one_per_group:
        kept_out["one_per_group"] = filling.groups_used()
    if filling.met:  # else the gate has asked already
        state, channel, now_ms = filling.snapshot.state, filling.request.channel, filling.moment.now_ms
        held = held_back_by(filling.met, contenders, filling.strategy, state, channel=channel, now_ms=now_ms)
        for mask in held.values():
            kept_out["contact_policy"] = kept_out.get("contact_policy", 0) | mask
    if filling.spent or not filling.request.offers_allowed:  # else the gate has asked already
        kept_out |= filling.withheld(contenders, filling.occasion())
    dropped = {}
    for reason, mask in kept_out.items():
        dropped[reason] = contenders & mask
        contenders &= ~mask
    return contenders, dropped


def _note(filling: Filling, placement: Placement, dropped: Mapping[str, Mask]) -> None:
    """Keep the drops of a draw: only what was drawn can say who did not get in."""
    for reason, mask in dropped.items():
        filling.drop(placement.name, reason, mask)


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
