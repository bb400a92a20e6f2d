"""Renders: what is shown again instead of being drawn: the customer's lease, and what a placement already holds.

Pure. A render is no trial of the policy: it names the decision whose draw it repeats and carries no probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from decisioning.catalog.strategy import Placement, Strategy
from decisioning.consent import is_granted
from decisioning.customer import Hold, LeaseEntry, Snapshot
from decisioning.entering import may_enter
from decisioning.errors import ContentUnknown
from decisioning.filling import Filling
from decisioning.interactions import is_under
from decisioning.moment import Moment
from decisioning.request import MESSAGE, NOTHING, OFFER, Placed, slot_of
from rules import EvaluationError


def place_lease(filling: Filling) -> bool:
    """Render the lease; True when further offers may stand beside it.

    The first entry goes to the first placement that can show it, one that already shows a message only if no other can,
    so that a page looks the same when it is loaded again. If none can, no other offer may appear: it would compete.
    Mandatory ones alone may, and come first, where their draw put them.
    """
    strategy, entries = filling.strategy, _binding(filling)
    if not entries:
        return filling.request.offers_allowed
    placements = [strategy.placements[name] for name in filling.request.placements]
    free_first = sorted(placements, key=lambda placement: not _has_room(filling, placement))
    is_first_shown = True
    for entry in sorted(entries, key=lambda each: not filling.is_mandatory(each.action)):
        is_mandatory = filling.is_mandatory(entry.action)
        if not (is_first_shown or is_mandatory):
            continue
        is_showable = filling.may_show(filling.index_of(entry.action)) and may_enter(filling, entry)
        wanted = placements if is_mandatory else free_first
        rendered = _render_entry(filling, entry, wanted) if is_showable else None
        if rendered is not None:
            filling.place_leased(rendered, entry)
        elif entry is entries[0]:
            is_first_shown = False
    return is_first_shown and filling.request.offers_allowed


def _binding(filling: Filling) -> list[LeaseEntry]:
    """The lease, without what no channel shows to the holdout: nothing can compete with that."""
    entries = filling.renewed.entries
    if not filling.standing.holdout:
        return entries
    return [each for each in entries if filling.strategy.bypass_mask >> filling.index_of(each.action) & 1]


def _render_entry(filling: Filling, entry: LeaseEntry, placements: Sequence[Placement]) -> Placed | None:
    for placement in placements:
        content = None if filling.is_full(placement) else _content_in(filling, placement, entry.action)
        if content is not None:
            if not filling.is_mandatory(entry.action):
                _keep_above(filling, placement, entry.action)
            return Placed(
                placement.name,
                OFFER,
                ["lease"],
                entry.action,
                filling.request.channel,
                content=content,
                lease_of=entry.decision_id,
                valid_until_ms=entry.until_ms,
            )
    return None


def _keep_above(filling: Filling, placement: Placement, action: str) -> None:
    """Let the messages stay that stood above this offer when the placement was filled before."""
    group = action.rpartition("/")[0]
    while (shown := held(filling, placement)) is not None and shown.action is not None:
        if not _has_room(filling, placement):
            break
        if placement.one_per_group and is_under(shown.action, group):
            break
        filling.place(shown)


def _has_room(filling: Filling, placement: Placement) -> bool:
    """True when an offer fits below the messages that the placement already shows."""
    above = len(filling.placed_in(placement.name))
    while (hold := _hold(filling, slot_of(placement.name, above + 1))) is not None and hold.action is not None:
        above += 1
    return above < placement.count and hold is None


def held(filling: Filling, placement: Placement) -> Placed | None:
    """The message or nothing that the placement's next slot already shows, while it lasts and its gates still pass."""
    hold = _hold(filling, filling.next_slot(placement.name))
    if hold is None:
        return None
    if hold.action is None:
        return Placed(placement.name, NOTHING, ["held"], lease_of=hold.decision_id, valid_until_ms=hold.until_ms)
    index = filling.strategy.action_index.get(hold.action)
    if index is None or not filling.may_show(index):
        return None
    # A mail token may hold an offer (opening.py): it stands back where another is leased, because it would compete.
    is_offer = bool(filling.strategy.offer_mask >> index & 1)
    if filling.renewed.entries and is_offer:
        return None
    content = _content_in(filling, placement, hold.action)
    if content is None:
        return None
    return Placed(
        placement.name,
        OFFER if is_offer else MESSAGE,
        ["held"],
        hold.action,
        filling.request.channel,
        content=content,
        lease_of=hold.decision_id,
        valid_until_ms=hold.until_ms,
    )


def hushed(filling: Filling, placement: Placement) -> Placed | None:
    """Nothing, while nothing may be sent. Nobody drew it, so it is neither held nor a trial; the end says when to ask
    again.
    """
    until_ms = filling.moment.quiet_until_ms
    return None if until_ms is None else Placed(placement.name, NOTHING, ["quiet_hours"], valid_until_ms=until_ms)


def _hold(filling: Filling, slot: str) -> Hold | None:
    hold = filling.snapshot.state.holds.get(slot)
    return hold if hold is not None and hold.until_ms > filling.moment.now_ms else None


def _content_in(filling: Filling, placement: Placement, action: str) -> Mapping[str, Any] | None:
    """An action's content, if it can stand in this placement beside what the answer shows already."""
    index = filling.index_of(action)
    taken = filling.used | (filling.groups_used() if placement.one_per_group else 0)
    if not (placement.candidates.mask & ~taken) >> index & 1:
        return None
    return filling.content(index)


def render_again(placed: Placed, moment: Moment, snapshot: Snapshot, strategy: Strategy) -> Placed:
    """A recorded outcome as it can be shown at this moment, or nothing with the reason why it cannot."""
    if placed.action is None:
        return placed
    index = strategy.action_index.get(placed.action)
    treatment = None if index is None else strategy.actions[index].treatments.get(moment.channel)
    if index is None or treatment is None:
        return _silent(placed, "withdrawn")
    purpose = strategy.actions[index].purpose
    if not is_granted(strategy, snapshot.state.consents, channel=moment.channel, purpose=purpose):
        return _silent(placed, "consent")
    if moment.quiet_until_ms is not None and not strategy.mandatory_mask >> index & 1:
        return replace(_silent(placed, "quiet_hours"), valid_until_ms=moment.quiet_until_ms)
    try:
        content = treatment.content.render(strategy.language_of(moment.attributes), moment.activation)
    except (ContentUnknown, EvaluationError):
        return _silent(placed, "content_unknown")
    return replace(placed, content=content)


def _silent(placed: Placed, reason: str) -> Placed:
    return Placed(
        placed.placement,
        NOTHING,
        [reason],
        rank=placed.rank,
        lease_of=placed.lease_of,
        valid_until_ms=placed.valid_until_ms,
    )
