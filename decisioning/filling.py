"""Filling: one answer while its placements are being filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decisioning.catalog.strategy import Mask, Strategy
from decisioning.customer import Snapshot
from decisioning.eligibility import Gated
from decisioning.errors import ContentUnknown
from decisioning.experiments.assignment import Standing
from decisioning.lease import Renewed
from decisioning.moment import Moment
from decisioning.request import Placed, Request
from decisioning.scoring import Appraisal
from rules import EvaluationError


@dataclass(slots=True)
class Filling:
    """One answer while it is being filled."""

    request: Request
    snapshot: Snapshot
    strategy: Strategy
    moment: Moment
    standing: Standing
    gated: Gated
    renewed: Renewed
    appraisal: Appraisal
    decision_id: str
    language: str
    placed: dict[str, Placed] = field(default_factory=dict)
    used: Mask = 0
    drops: dict[str, dict[str, Mask]] = field(default_factory=dict)  # placement -> reason -> actions

    def place(self, placed: Placed) -> None:
        """Take one outcome into the answer."""
        self.placed[placed.placement] = placed
        if placed.action is not None:
            self.used |= 1 << self.strategy.action_index[placed.action]

    def index_of(self, action: str) -> int:
        """The index of an action that the strategy has."""
        return self.strategy.action_index[action]

    def groups_used(self) -> Mask:
        """All actions of the groups that stand in the answer already."""
        mask = 0
        for placed in self.placed.values():
            if placed.action is not None:
                mask |= self.strategy.masks_under[placed.action.rpartition("/")[0]]
        return mask

    def drop(self, placement: str, reason: str, mask: Mask) -> None:
        """Note which actions did not get into one placement, and why."""
        if mask:
            drops = self.drops.setdefault(placement, {})
            drops[reason] = drops.get(reason, 0) | mask

    def content(self, index: int) -> Mapping[str, Any] | None:
        """What this channel would show of an action, or None when a value it needs is missing."""
        treatment = self.strategy.actions[index].treatments[self.request.channel]
        try:
            return treatment.content.render(self.language, self.moment.activation)
        except (ContentUnknown, EvaluationError):
            return None
