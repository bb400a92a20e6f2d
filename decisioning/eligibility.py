"""Gates: all that can drop a candidate, whatever else the answer shows.

In this order: dates, consent, quiet hours, the rules (may they get it, does it make sense now, is it good for them),
contact policies, volume constraints. Pure. Sets of actions go in and come out as masks; every drop has its reason. A
rule that cannot be evaluated is `unknown`: it never passes and never reads as a quiet no. Nobody is asked about before
somebody wants to know: what is shown again takes the rules of one action, a draw those of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.consent import permitted
from decisioning.contact_policy import held_back
from decisioning.customer import Snapshot
from decisioning.moment import Moment
from decisioning.volume import Occasion, withheld


@dataclass(slots=True)
class Gated:
    """What the gates leave of the candidates of one answer. Each is asked about once, when it is first wanted."""

    candidates: Mask
    moment: Moment
    snapshot: Snapshot
    strategy: Strategy
    drops: dict[str, Mask] = field(default_factory=dict)  # reason -> those that a gate removed, of those asked about
    _ruled: Mask = 0  # whom the rules were asked about
    _allowed: Mask = 0
    _limited: Mask = 0  # whom the limits were asked about
    _reachable: Mask = 0

    def allowed(self, wanted: Mask) -> Mask:
        """Those of the candidates wanted that pass dates, consent, quiet hours and rules."""
        asked = wanted & self.candidates & ~self._ruled
        if asked:
            self._ruled |= asked
            self._allowed |= self._after_rules(asked)
        return wanted & self._allowed

    def reachable(self, wanted: Mask) -> Mask:
        """Those that pass contact policies and volume constraints as well."""
        asked = self.allowed(wanted) & ~self._limited
        if asked:
            self._limited |= asked
            self._reachable |= self._after_limits(asked)
        return wanted & self._reachable

    def all_reachable(self) -> Mask:
        """All candidates that pass every gate: those a draw has to choose from."""
        return self.reachable(self.candidates)

    def drops_of_all(self) -> Mapping[str, Mask]:
        """Reason -> the candidates that a gate removed, for whoever is to be told about every one of them."""
        self.reachable(self.candidates)
        return self.drops

    def _after_rules(self, left: Mask) -> Mask:
        """What dates, consent, quiet hours and the rules of each stage leave, in this order."""
        strategy, moment = self.strategy, self.moment
        left = self._keep(left, strategy.calendar.live(moment.now_ms), "not_live")
        left = self._keep(left, permitted(strategy, self.snapshot.state.consents, channel=moment.channel), "consent")
        if moment.quiet_until_ms is not None:
            left = self._keep(left, strategy.mandatory_mask, "quiet_hours")
        asked = strategy.gate_index.evaluate(moment.activation, left)
        for stage, (no, unknown) in zip(strategy.gates, asked, strict=True):
            if no | unknown:
                self.drop(stage.name, no)
                self.drop(f"{stage.name}_unknown", unknown)
                left ^= no | unknown
        return left

    def _after_limits(self, left: Mask) -> Mask:
        """What contact policies and then volume constraints leave."""
        strategy, snapshot, channel, now_ms = self.strategy, self.snapshot, self.moment.channel, self.moment.now_ms
        for mask in held_back(left, strategy, snapshot.state, channel=channel, now_ms=now_ms).values():
            left = self._keep(left, ~mask, "contact_policy")
        for reason, mask in withheld(left, strategy, snapshot.quotas, Occasion(channel, now_ms), spent={}).items():
            left = self._keep(left, ~mask, reason)
        return left

    def _keep(self, left: Mask, kept: Mask, reason: str) -> Mask:
        self.drop(reason, left & ~kept)
        return left & kept

    def drop(self, reason: str, mask: Mask) -> None:
        """Note who did not pass, and why."""
        if mask:
            self.drops[reason] = self.drops.get(reason, 0) | mask
