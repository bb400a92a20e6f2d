"""Why: why a customer would or would not get an action now, in sentences, for the command and the agent's screen.

Decides as a serving process does and commits nothing. Each placement is asked alone: what another one shows at the same
time is no reason here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from api.deployed import Deployed
from decisioning.catalog.strategy import Action
from decisioning.customer import Snapshot
from decisioning.decide import decide, prepare
from decisioning.explain import explain
from decisioning.request import Request
from decisioning.sentences import account_of


def accounts(
    deployed: Deployed,
    snapshot: Snapshot,
    action: Action,
    places: Mapping[str, Sequence[str]],
    context: Mapping[str, Any],
    *,
    hidden: Collection[str] = (),
) -> Iterator[str]:
    """One account a channel where its placements agree, else one a placement.

    places: channel -> placements. hidden: the attribute paths whose values are shown as `masked`.
    """
    zone = ZoneInfo(deployed.strategy.timezone)
    for channel, names in places.items():
        entries = {name: _entry(deployed, snapshot, action, channel, name, context, hidden) for name in names}
        told = {name: account_of(entry, place=channel, zone=zone) for name, entry in entries.items()}
        if len(set(told.values())) == 1:
            yield told[names[0]]
        else:
            yield from (account_of(entry, place=name, zone=zone) for name, entry in entries.items())


def _entry(
    deployed: Deployed,
    snapshot: Snapshot,
    action: Action,
    channel: str,
    placement: str,
    context: Mapping[str, Any],
    hidden: Collection[str],
) -> dict[str, Any]:
    request = Request(snapshot.customer_key, channel, (placement,), context)
    decision = decide(request, snapshot, deployed.strategy, deployed.scorer, decision_id="why")
    filling = prepare(request, snapshot, deployed.strategy, deployed.scorer, decision_id="why")
    return next(each for each in explain(filling, decision, hidden=hidden) if each["action"] == action.key)
