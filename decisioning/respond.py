"""Respond: what a customer did with an action, and what that changes.

Pure. A response is remembered for rules and contact policies, an answer ends the lease on its action, and every channel
then decides anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from decisioning.catalog.outcomes import UNCOUNTED_OUTCOMES
from decisioning.catalog.strategy import Action, Strategy
from decisioning.customer import Interaction, Snapshot, State
from decisioning.interactions import ANSWERS, actions_met, append
from decisioning.lease import end_by_answer

ENDING_OUTCOMES = frozenset({"accepted", "rejected", "converted"})


@dataclass(frozen=True, slots=True)
class Response:
    """One dated fact about one action, with or without the decision that showed it."""

    response_id: str
    customer_key: str
    outcome: str
    action: str
    ends: frozenset[str]  # the actions whose lease it ends
    at_ms: int  # 0: not stated, the store's time of the commit stands in
    channel: str | None = None
    decision_id: str | None = None
    placement: str | None = None
    person_key: str | None = None  # of the decision; another one at the commit means that the customer was erased
    value: float | None = None  # realised, in the strategy's currency


def respond(response: Response, state: State) -> State:
    """The customer's state after the response."""
    after = replace(
        state,
        interactions=list(state.interactions),
        lease=end_by_answer(state.lease, response.ends, at_ms=response.at_ms),
    )
    if response.outcome not in UNCOUNTED_OUTCOMES:
        append(after, Interaction(response.at_ms, response.outcome, response.action, response.channel or ""))
    if response.outcome in ANSWERS:
        after.holds = {}  # what a channel showed beside the old offer need not be right any more
    return after


def ended_by(outcome: str, action: str, strategy: Strategy) -> frozenset[str]:
    """The actions whose lease this outcome ends; a conversion ends all that sell the same product."""
    if outcome not in ENDING_OUTCOMES:
        return frozenset()
    index = strategy.action_index.get(action)
    product = None if index is None else strategy.actions[index].product
    if outcome != "converted" or product is None:
        return frozenset({action})
    return frozenset(each.key for each in strategy.actions if each.product == product)


def record_of(response: Response, state: State, *, received_ms: int) -> dict[str, object]:
    """The log record of a response; people appear by person_key alone."""
    return {
        "kind": "response",
        "response_id": response.response_id,
        "decision_id": response.decision_id,
        "placement": response.placement,
        "at_ms": response.at_ms,
        "received_ms": received_ms,
        "person_key": state.person_key,
        "action": response.action,
        "channel": response.channel,
        "outcome": response.outcome,
        "value": response.value,
    }


def converted_action(product: str, snapshot: Snapshot, strategy: Strategy) -> Action | None:
    """The action a conversion of this product belongs to: the leased one, else the one last met, else the first; None:
    no such product.
    """
    selling = [action for action in strategy.actions if action.product == product]
    keys = {action.key for action in selling}
    leased = (entry.action for entry in snapshot.state.lease if entry.action in keys)
    met = (action for action in actions_met(snapshot.state) if action in keys)
    chosen = next(leased, None) or next(met, None)
    return next((action for action in selling if chosen in (None, action.key)), None)
