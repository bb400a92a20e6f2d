"""Evidence: what stopped one action, in its author's words and with the facts it met.

Cold path, pure. Values are JSON: times in RFC 3339, attributes as the schema types them, `missing` where nothing is
known and `masked` where the reader may not see it. Counting is repeated here to name what was counted; the gates
themselves only keep masks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from decisioning.catalog.strategy import Action, ContactPolicy, Gate
from decisioning.consent import stated_about
from decisioning.contact_policy import counted_for, held_back, restraint_of, times_within, unknown_until_ms
from decisioning.customer import DayCount, Interaction, State
from decisioning.errors import ContentUnknown
from decisioning.filling import Filling
from decisioning.interactions import DAY_MS, JOINED, History, complete_since, is_under
from decisioning.records import as_json, instant
from decisioning.request import Placed
from decisioning.volume import charged
from rules import Duration, EvaluationError, Program, Timestamp

MISSING, MASKED = "missing", "masked"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Answers for one decision; filling is its prepared answer, placements what came of it, hidden the attribute paths
    to mask.
    """

    filling: Filling
    placements: Sequence[Placed]
    hidden: frozenset[str]

    def of(self, reason: str, action: Action, placed: Placed) -> dict[str, Any]:
        """What decided a drop reason, by the entries that docs/api.md lists."""
        for stage in self.filling.strategy.gates:
            if reason.removesuffix("_unknown") == stage.name:
                return self._rule(stage, action)
        match reason:
            case "not_live":
                return {"live": {"from": instant(action.start_ms), "until": instant(action.end_ms)}}
            case "consent":
                return {"consent": self._consent(action)}
            case "quiet_hours":
                return {"quiet": {"until": instant(self.filling.moment.quiet_until_ms)}}
            case "contact_policy":
                return {"contact_policies": self._contact_policies(action, placed)}
            case "volume_constraint" | "volume_wait":
                return {"volume": self._volume(action)}
            case "lease":
                entry = next(iter(self.filling.renewed.entries), None)
                return {"lease": {"action": entry.action, "until": instant(entry.until_ms)}} if entry else {}
            case "placed_elsewhere" | "one_per_group":
                return {"beside": self._beside(action, placed)}
            case "content_unknown":
                return self._content(action)
        return {}

    def _consent(self, action: Action) -> dict[str, Any]:
        asked = self.filling.moment.channel, action.purpose
        stated = stated_about(self.filling.snapshot.state.consents, *asked)
        found = {"channel": asked[0], "purpose": asked[1], "stated": stated is not None}
        if stated is None:
            return found
        return found | {"since": instant(stated.at_ms), "source": stated.source, "version": stated.version}

    def _contact_policies(self, action: Action, placed: Placed) -> list[dict[str, Any]]:
        state = self.filling.snapshot.state
        holding = self._holding(action, state)
        if not holding:  # a limit that this very answer reached
            state = replace(state, interactions=[*state.interactions, *self._met_beside(placed)])
            holding = self._holding(action, state)
        policies = self.filling.strategy.contact_policies
        return [self._policy(each, action, state) for each in policies if each.name in holding]

    def _holding(self, action: Action, state: State) -> Collection[str]:
        """The policies that hold an action back."""
        strategy, moment = self.filling.strategy, self.filling.moment
        return held_back(1 << action.index, strategy, state, channel=moment.channel, now_ms=moment.now_ms)

    def _met_beside(self, placed: Placed) -> list[Interaction]:
        """What the rest of the answer adds to the customer's interactions."""
        channel, now_ms = self.filling.moment.channel, self.filling.moment.now_ms
        joining = {entry.action for entry in self.filling.renewed.entries if channel not in entry.channels}
        return [
            Interaction(now_ms, "selected" if each.is_trial else JOINED, each.action, channel)
            for each in self.placements
            if each.action is not None and each.slot != placed.slot and (each.is_trial or each.action in joining)
        ]

    def _policy(self, policy: ContactPolicy, action: Action, state: State) -> dict[str, Any]:
        """A policy with what it counted, or since when it can count at all."""
        now_ms, channel = self.filling.moment.now_ms, self.filling.moment.channel
        spans = counted_for(policy, action.key, state, channel)
        found: dict[str, Any] = {
            "policy": policy.name,
            "where": policy.where,
            "scope": policy.scope,
            "channel": policy.channel,
            "outcomes": sorted(policy.outcomes),
            "limit": policy.limit,
            "window_days": policy.window_ms / DAY_MS,
            "hold_days": policy.hold_ms / DAY_MS,
        }
        restraint = restraint_of(policy, spans)
        if restraint is None or restraint.until_ms <= now_ms:
            until_ms = unknown_until_ms(policy, action.key, state, channel)
            return found | {"kept_since": instant(complete_since(state, policy.outcomes)), "until": instant(until_ms)}
        last, until = instant(restraint.last_ms), instant(restraint.until_ms)
        return found | {"count": times_within(policy, spans, restraint), "last": last, "until": until}

    def _volume(self, action: Action) -> list[dict[str, Any]]:
        """The budgets that have too little for the action; all it needs where only this very answer took too much."""
        filling = self.filling
        asked = [
            (constraint, charge, filling.snapshot.quotas.get(charge.budget, 0))
            for constraint, charge in charged(action.index, filling.strategy, filling.occasion())
        ]
        return [
            {
                "constraint": constraint.name,
                "where": constraint.where,
                "budget": charge.budget,
                "needed": constraint.amount(charge.units),
                "at_hand": constraint.amount(at_hand),
                "limit": constraint.amount(constraint.limit),
            }
            for constraint, charge, at_hand in [each for each in asked if each[2] < each[1].units] or asked
        ]

    def _beside(self, action: Action, placed: Placed) -> dict[str, str | None]:
        """The outcome of the same answer that keeps the action out: itself, else one of its group."""
        others = [each for each in self.placements if each.slot != placed.slot and each.action]
        same = [each for each in others if each.action == action.key]
        group = [each for each in others if each.action and is_under(each.action, f"{action.issue}/{action.group}")]
        first = (same + group)[0]
        return {"placement": first.placement, "action": first.action}

    def _content(self, action: Action) -> dict[str, Any]:
        content, moment = action.treatments[self.filling.moment.channel].content, self.filling.moment
        try:
            content.render(self.filling.language, moment.activation)
        except (ContentUnknown, EvaluationError) as error:
            return {"unknown_because": MASKED if self._saw_hidden(content.reads) else str(error)}
        return {}

    def _rule(self, stage: Gate, action: Action) -> dict[str, Any]:
        """The first rule of a stage that is not true, with the values and interactions it saw."""
        for rule in stage.rules[action.index]:
            for clause in rule.clauses:
                witness = Witness(self.filling)
                unknown: dict[str, Any] = {}
                try:
                    if clause({**self.filling.moment.activation, "history": witness}):
                        continue
                except EvaluationError as error:
                    unknown = {"unknown_because": MASKED if self._saw_hidden(clause.reads) else str(error)}
                found = {"rule": rule.text, "clause": clause.text, "where": rule.where, "values": self._values(clause)}
                return found | ({"history": witness.asked} if witness.asked else {}) | unknown
        return {}

    def _values(self, clause: Program) -> dict[str, Any]:
        """What the clause read, by path."""
        values: dict[str, Any] = {}
        for path in sorted(clause.reads):
            root, _, name = path.partition(".")
            known = self.filling.moment.activation.get(root)
            if name and isinstance(known, Mapping):
                values[path] = self._shown(path, known[name]) if name in known else MISSING
            elif isinstance(known, (str, Timestamp)):
                values[path] = as_json(known)
        return values

    def _shown(self, path: str, value: Any) -> Any:
        return MASKED if path in self.hidden else as_json(value)

    def _saw_hidden(self, reads: frozenset[str]) -> bool:
        """True when a hidden value is known, so that a message might repeat it."""
        behind = self.filling.strategy.attributes_behind(reads)
        return any(self.filling.moment.values(self.hidden & behind).keys() & self.hidden)


class Witness:
    """Stands in for a rule's `history` and notes what was asked, what it answered, and the interactions behind it."""

    def __init__(self, filling: Filling) -> None:
        self._history = History(filling.snapshot.state, channel=filling.moment.channel, now_ms=filling.moment.now_ms)
        self._now_ms = filling.moment.now_ms
        self.asked: list[dict[str, Any]] = []

    def count(self, outcome: str, scope: str, window: Duration) -> int:
        since_ms = self._now_ms - window.to_ms()
        rows = [each for each in self._rows(outcome, scope) if _latest_ms(each) > since_ms]
        self._note("count", outcome, scope, rows, window_days=window.to_ms() / DAY_MS)
        return self._history.count(outcome, scope, window)

    def days_since(self, outcome: str, scope: str) -> float:
        self._note("days_since", outcome, scope, self._rows(outcome, scope)[-1:])
        return self._history.days_since(outcome, scope)

    def last(self, outcome: str, scope: str) -> Timestamp:
        self._note("last", outcome, scope, self._rows(outcome, scope)[-1:])
        return self._history.last(outcome, scope)

    def _rows(self, outcome: str, scope: str) -> list[Interaction | DayCount]:
        return [*self._history.counted(outcome, scope), *self._history.matching(outcome, scope)]

    def _note(self, method: str, outcome: str, scope: str, counted: list[Interaction | DayCount], **more: Any) -> None:
        rows = [
            {"at": instant(_latest_ms(each)), "action": each.action, "channel": each.channel}
            | ({"times": each.times} if isinstance(each, DayCount) else {})
            for each in counted
        ]
        self.asked.append({"method": method, "outcome": outcome, "scope": scope, **more, "interactions": rows})


def _latest_ms(row: Interaction | DayCount) -> int:
    return row.last_ms if isinstance(row, DayCount) else row.at_ms
