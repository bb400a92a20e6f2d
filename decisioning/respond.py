"""Respond: what a customer did with an action, and what that changes.

Pure. A response is remembered for rules and contact policies, an answer ends the lease on its action, and every channel
then decides anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from decisioning.catalog.outcomes import UNCOUNTED_OUTCOMES
from decisioning.catalog.strategy import Action, Strategy
from decisioning.customer import Interaction, Snapshot, State
from decisioning.interactions import ANSWERS, append
from decisioning.lease import end_by_answer


@dataclass(frozen=True, slots=True)
class Response:
    """One dated fact about one action, with or without the decision that showed it."""

    response_id: str
    customer_key: str
    outcome: str
    action: str
    at_ms: int
    channel: str | None = None
    decision_id: str | None = None
    placement: str | None = None
    value: float | None = None  # realised, in the strategy's currency


def respond(response: Response, state: State) -> State:
    """The customer's state after the response."""
    after = replace(
        state,
        interactions=list(state.interactions),
        lease=end_by_answer(state.lease, response.action, response.outcome),
    )
    if response.outcome not in UNCOUNTED_OUTCOMES:
        append(after, Interaction(response.at_ms, response.outcome, response.action, response.channel or ""))
    if response.outcome in ANSWERS:
        after.holds = {}  # what a channel showed beside the old offer need not be right any more
    return after


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
    met = (each.action for each in reversed(snapshot.state.interactions) if each.action in keys)
    chosen = next(leased, None) or next(met, None)
    return next((action for action in selling if chosen in (None, action.key)), None)
