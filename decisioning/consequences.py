"""Consequences: what an answer changes about the customer, and what it takes of budgets.

Pure. decide.py calls it when every placement is filled; the store commits both with the record, or neither.
"""

from __future__ import annotations

from decisioning.customer import Hold, LeaseEntry, State, copy_of
from decisioning.entering import enter
from decisioning.filling import Filling
from decisioning.interactions import append
from decisioning.request import OFFER
from decisioning.store.protocol import Movement
from decisioning.volume import charges, movements_for, settled


def next_state(filling: Filling) -> State | None:
    """What the customer's state becomes once this answer is committed; None where the answer only repeats.

    What ran out by time alone stays behind until something else changes: all who read it look at the time, and two
    channels that show the same lease at once do not get in each other's way.
    """
    now_ms, decision_id, before = filling.moment.now_ms, filling.decision_id, filling.snapshot.state
    channel = filling.request.channel
    trials = [placed for placed in filling.placed if placed.is_trial]
    entering = [entry.action for entry in filling.rendered if channel not in entry.channels]
    # Before the first draw there may be no record of somebody yet, and nobody may be stored: their keys must be written
    # with the record, even if it is of the silence of quiet hours, or nothing would lead from the one to the other.
    if before.draw_index and not (trials or entering or filling.renewed.ended):
        return None
    state = copy_of(before)
    state.lease = list(filling.renewed.entries)
    state.holds = {slot: hold for slot, hold in before.holds.items() if hold.until_ms > now_ms}
    state.interactions = list(before.interactions)
    state.draw_index += bool(trials)
    for action in entering:
        enter(state, action, channel)
    for placed in trials:
        if placed.outcome == OFFER and placed.action is not None:
            state.lease.append(LeaseEntry(placed.action, decision_id, now_ms, placed.valid_until_ms, [channel]))
        else:
            state.holds[placed.slot] = Hold(placed.action, decision_id, placed.valid_until_ms)
    for each in filling.met:
        append(state, each)
    return state


def moved(filling: Filling, state: State) -> list[Movement]:
    """What the answer takes of budgets, and what they get back; notes in the lease's entries what is reserved."""
    leased = {entry.action: entry for entry in state.lease}
    found = settled(filling.snapshot.state.lease, state.lease, now_ms=filling.moment.now_ms)
    for placed in filling.placed:
        if placed.is_trial and placed.action is not None:
            made = charges(filling.index_of(placed.action), filling.strategy, filling.occasion())
            found += movements_for(made, leased.get(placed.action))
    for entry in filling.rendered:
        if filling.request.channel not in entry.channels:
            made = charges(filling.index_of(entry.action), filling.strategy, filling.occasion(is_join=True))
            found += movements_for(made, leased[entry.action])
    return found
