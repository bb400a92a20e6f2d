"""Respond: what a customer did with an action, and what that changes.

Pure. A response is remembered for rules and contact policies, an answer ends the lease on its action, and every channel
then decides anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from decisioning.catalog.outcomes import UNCOUNTED_OUTCOMES
from decisioning.catalog.strategy import Action, Strategy
from decisioning.customer import Interaction, Snapshot, State
from decisioning.interactions import ANSWERS, actions_met, append
from decisioning.lease import end_by_answer
from decisioning.store.decision_id import whereabouts_of
from decisioning.store.protocol import Movement
from decisioning.volume import Occasion, belated, settled

ENDING_OUTCOMES = frozenset({"accepted", "rejected", "converted"})
TAKING_OUTCOMES = frozenset({"accepted", "converted"})  # what budgets that spend on acceptance pay for
UNDATED = -1  # before all times that can be stated


@dataclass(frozen=True, slots=True)
class Response:
    """One dated fact about one action, with or without the decision that showed it."""

    response_id: str  # empty: made of the caller's key and the customer's own at the commit
    customer_key: str
    outcome: str
    action: str
    ends: frozenset[str]  # the actions whose lease it ends
    at_ms: int  # UNDATED: the store's time of the commit stands in
    channel: str | None = None
    decision_id: str | None = None
    placement: str | None = None
    person_key: str | None = None  # of the decision; another one at the commit means that the customer was erased
    caller_key: tuple[str, str] | None = None  # API key and idempotency key, which tell it from others
    meaning: str = ""  # what that key stands for: under it nothing else may come
    value: float | None = None  # realised, in the strategy's currency
    reason: str | None = None  # the caller's own code for why
    api_key: str | None = None  # of a user of the console, who answers for the customer: never against another answer


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


def answered_otherwise(response: Response, state: State) -> str | None:
    """What ended the offer since its decision, where that is another outcome; None while it stands, or for a repeat."""
    where = None if response.decision_id is None else whereabouts_of(response.decision_id)
    since = [
        each.outcome
        for each in state.interactions
        if each.action == response.action and each.outcome in ENDING_OUTCOMES and where and each.at_ms >= where.from_ms
    ]
    return None if not since or response.outcome in since else since[-1]


def movements_of(response: Response, snapshot: Snapshot, after: State, strategy: Strategy) -> list[Movement]:
    """What an answer does to the units that were reserved for the offers it ends.

    The first acceptance or conversion of an offer takes its units, whichever it is and whenever it comes: those that
    the lease reserved, or new ones when that is over. What comes of the same offer after it takes none.
    """
    before, now_ms = snapshot.state, snapshot.now_ms
    is_taking = response.outcome in TAKING_OUTCOMES
    settlement = settled(before.lease, after.lease, now_ms=now_ms, kept=response.action if is_taking else "")
    standing = {entry.decision_id for entry in after.lease if entry.action == response.action}
    was_leased = any(
        entry.action == response.action and entry.until_ms > now_ms and entry.decision_id not in standing
        for entry in before.lease
    )
    if not is_taking or was_leased or not _is_first(response, before):
        return settlement
    occasion = Occasion(response.channel or "", now_ms)
    return settlement + belated(response.action, strategy, snapshot.quotas, occasion)


def _is_first(response: Response, before: State) -> bool:
    """True when an offer stands behind the response that was neither accepted nor converted before."""
    offered_ms = _offered_ms(response, before)
    return offered_ms is not None and not any(
        each.action == response.action and each.outcome in TAKING_OUTCOMES and each.at_ms >= offered_ms
        for each in before.interactions
    )


def _offered_ms(response: Response, before: State) -> int | None:
    """When the offer was made that a response is about: by its decision, or else the last one before it; None: never,
    and then a conversion is nobody's doing.
    """
    if response.decision_id is not None:
        where = whereabouts_of(response.decision_id)
        return 0 if where is None else where.from_ms
    made = [each.at_ms for each in before.interactions if (each.outcome, each.action) == ("selected", response.action)]
    made += [each.last_ms for each in before.day_counts if (each.outcome, each.action) == ("selected", response.action)]
    return max((at_ms for at_ms in made if at_ms <= response.at_ms), default=None)


def ended_by(outcome: str, action: str, strategy: Strategy) -> frozenset[str]:
    """The actions whose lease this outcome ends; a conversion ends all that sell the same product."""
    if outcome not in ENDING_OUTCOMES:
        return frozenset()
    index = strategy.action_index.get(action)
    product = None if index is None else strategy.actions[index].product
    if outcome != "converted" or product is None:
        return frozenset({action})
    return frozenset(each.key for each in strategy.actions if each.product == product)


def response_record(
    response: Response,
    state: State,
    *,
    received_ms: int,
    overrun: Mapping[str, int] | None = None,
    claim: str | None = None,
    client_class: str | None = None,
) -> dict[str, object]:
    """The log record of a response; people appear by person_key alone.

    overrun: units that no budget could pay; claim: what became of a choice held for a mail's token; client_class: who
    opened the mail, where its opening is the response.
    """
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
        **({"overrun": overrun} if overrun else {}),
        **({"reason": response.reason} if response.reason else {}),
        **({"api_key": response.api_key} if response.api_key else {}),
        **({} if claim is None else {"claim": claim}),
        **({} if client_class is None else {"client_class": client_class}),
    }


def converted_action(product: str, snapshot: Snapshot, strategy: Strategy) -> Action | None:
    """The action a conversion of this product belongs to: the leased one, else the one last met, else the first; None:
    no such product.
    """
    selling = [action for action in strategy.actions if action.product == product]
    keys = {action.key for action in selling}
    live = (entry.action for entry in snapshot.state.lease if entry.until_ms > snapshot.now_ms)
    leased = (action for action in live if action in keys)
    met = (action for action in actions_met(snapshot.state) if action in keys)
    chosen = next(leased, None) or next(met, None)
    return next((action for action in selling if chosen in (None, action.key)), None)
