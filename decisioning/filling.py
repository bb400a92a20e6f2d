"""Filling: one answer while its placements are being filled.

decide.py makes it, placement.py has it filled slot by slot, consequences.py reads what is to be committed. What stands
in it already counts for the next slot: actions and groups, interactions that limits count, units of budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decisioning.catalog.strategy import Mask, Placement, Strategy
from decisioning.customer import Interaction, LeaseEntry, Snapshot
from decisioning.eligibility import Gated
from decisioning.errors import ContentUnknown
from decisioning.experiments.assignment import Standing
from decisioning.interactions import JOINED
from decisioning.lease import Renewed, actions_of
from decisioning.moment import Moment
from decisioning.request import NOTHING, Placed, Request, slot_of
from decisioning.scoring import Appraisal, Scorer, appraise
from decisioning.volume import Occasion, chargeable, charges, outspent, withheld
from rules import EvaluationError


@dataclass(slots=True)
class Filling:
    """One answer while it is being filled."""

    request: Request
    snapshot: Snapshot
    strategy: Strategy
    scorer: Scorer
    moment: Moment
    standing: Standing
    gated: Gated
    renewed: Renewed
    decision_id: str
    language: str
    placed: list[Placed] = field(default_factory=list)  # in the order they were found
    by_placement: dict[str, list[Placed]] = field(default_factory=dict)  # the same, each from the top
    rendered: list[LeaseEntry] = field(default_factory=list)  # what of the lease stands among them
    met: list[Interaction] = field(default_factory=list)  # what the customer's interactions grow by
    spent: dict[str, int] = field(default_factory=dict)  # budget -> units that what stands in the answer takes
    used: Mask = 0  # the actions that stand in the answer
    drops: dict[str, dict[str, Mask]] = field(default_factory=dict)  # slot -> reason -> actions
    _appraisal: Appraisal | None = None

    @property
    def appraisal(self) -> Appraisal:
        """What ranks the contenders, asked for when somebody is ranked: by the first draw, or where silence is held and
        a service action may be worth more. Other renders have nothing to rank.
        """
        if self._appraisal is None:
            self._appraisal = appraise(self.gated.all_reachable(), self.moment, self.strategy, self.scorer)
        return self._appraisal

    def may_show(self, index: int) -> bool:
        """True when an action may be shown again here and now; what the holdout was shown before it began may not."""
        action = 1 << index
        if self.standing.holdout and not self.strategy.bypass_mask & action:
            return False
        return self.gated.allowed(action) != 0

    def place(self, placed: Placed) -> None:
        """Take one outcome into the answer, below what its placement has already."""
        beside = self.by_placement.setdefault(placed.placement, [])
        beside.append(placed)
        placed.rank = len(beside)
        self.placed.append(placed)
        if placed.action is not None:
            self.used |= 1 << self.strategy.action_index[placed.action]
            if placed.is_trial:
                self._meet("selected", placed.action)
                self._charge(placed.action, self.occasion())

    def place_leased(self, placed: Placed, entry: LeaseEntry) -> None:
        """Take a render of the lease into the answer."""
        self.place(placed)
        self.rendered.append(entry)
        if self.request.channel not in entry.channels:
            self._meet(JOINED, entry.action)
            self._charge(entry.action, self.occasion(is_join=True))

    def withheld(self, candidates: Mask, occasion: Occasion) -> dict[str, Mask]:
        """Drop reason -> the candidates that no budget can pay for, beside what stands in the answer already.

        An answer after two lost races may not get committed, and then it would not have paid.
        """
        if not self.request.offers_allowed:
            mask = candidates & chargeable(self.strategy, occasion)
            return {"volume_wait": mask} if mask else {}
        too_short = withheld if occasion.is_join else outspent  # what is drawn has passed the gate, which asked for all
        return too_short(candidates, self.strategy, self.snapshot.quotas, occasion, self.spent)

    def occasion(self, *, is_join: bool = False) -> Occasion:
        """What budgets are asked for: this channel, now."""
        return Occasion(self.request.channel, self.moment.now_ms, is_join)

    def _meet(self, outcome: str, action: str) -> None:
        self.met.append(Interaction(self.moment.now_ms, outcome, action, self.request.channel))

    def _charge(self, action: str, occasion: Occasion) -> None:
        for charge in charges(self.index_of(action), self.strategy, occasion):
            self.spent[charge.budget] = self.spent.get(charge.budget, 0) + charge.units

    def placed_in(self, placement: str) -> Sequence[Placed]:
        """What one placement has so far, from the top."""
        return self.by_placement.get(placement, ())

    def next_slot(self, placement: str) -> str:
        """The slot of a placement that is filled next."""
        return slot_of(placement, len(self.placed_in(placement)) + 1)

    def is_full(self, placement: Placement) -> bool:
        """True when the placement has all it may have, or nothing more was worth showing."""
        placed = self.by_placement.get(placement.name)
        return placed is not None and (len(placed) == placement.count or placed[-1].outcome == NOTHING)

    def index_of(self, action: str) -> int:
        """The index of an action that the strategy has."""
        return self.strategy.action_index[action]

    def is_mandatory(self, action: str) -> bool:
        """True for an action that speaks before any promise and any silence."""
        return bool(self.strategy.mandatory_mask >> self.index_of(action) & 1)

    def leased(self) -> Mask:
        """The actions that are promised already: they are rendered, and never drawn a second time."""
        return actions_of(self.renewed.entries, self.strategy)

    def is_waiting(self, placement: Placement) -> bool:
        """True when somebody was kept out of the placement's next slot only until a budget's block is restocked."""
        here = self.drops.get(self.next_slot(placement.name), {})
        waiting = self.gated.drops.get("volume_wait", 0) | here.get("volume_wait", 0)
        return bool(waiting & placement.candidates.mask)

    def groups_used(self) -> Mask:
        """All actions of the groups that stand in the answer already."""
        mask = 0
        for placed in self.placed:
            if placed.action is not None:
                mask |= self.strategy.masks_under[placed.action.rpartition("/")[0]]
        return mask

    def drop(self, placement: str, reason: str, mask: Mask) -> None:
        """Note which actions did not get into the next slot of a placement, and why."""
        if mask:
            drops = self.drops.setdefault(self.next_slot(placement), {})
            drops[reason] = drops.get(reason, 0) | mask

    def content(self, index: int) -> Mapping[str, Any] | None:
        """What this channel would show of an action, or None when a value it needs is missing."""
        treatment = self.strategy.actions[index].treatments[self.request.channel]
        try:
            return treatment.content.render(self.language, self.moment.activation)
        except (ContentUnknown, EvaluationError):
            return None
