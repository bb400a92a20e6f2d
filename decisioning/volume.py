"""Volume: how much of what all customers share is left for this one.

Pure. Reads the quotas of the snapshot, which are the units that the customer's partition has at hand, and says what a
decision takes of them; the store takes it in the same step as the state, or the decision has lost a race. restocking.py
keeps the partitions supplied. Asked after contact policies, for what is drawn; what is leased was charged already, but
for budgets of a channel, which are charged when it is first rendered there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from decisioning.catalog.strategy import Mask, Share, Strategy, VolumeConstraint, indexes_of
from decisioning.customer import EXHAUSTED, PARTITION_COUNT, LeaseEntry
from decisioning.store.protocol import Movement

RETRY_MS = 5_000  # after a counter was found empty, before a partition asks it again
DAY_TTL_S = 3 * 86_400  # a day's counter is kept so long after its last use, for whoever wants to know how it ended


class Occasion(NamedTuple):
    """Where and when something is selected."""

    channel: str
    now_ms: int
    is_join: bool = False  # a leased offer's first render in a further channel: only what the channel limits is charged


@dataclass(frozen=True, slots=True)
class Charge:
    """What one selection takes of one budget."""

    budget: str
    units: int
    is_reserved: bool  # until the offer is answered or its lease ends


@dataclass(frozen=True, slots=True)
class Budget:
    """One counter of a strategy."""

    name: str
    constraint: VolumeConstraint
    most: int  # units of its dearest spend
    least: int  # and of its cheapest

    @property
    def ttl_s(self) -> int:
        """How long its counter is kept after its last use; 0: for ever."""
        return DAY_TTL_S if self.constraint.period == "day" else 0


class Due(NamedTuple):
    """A share that selections are charged to, and its budget."""

    share: Share
    budget: Budget


class Tariff(NamedTuple):
    """What selections on occasions alike are charged: in one channel on one day, first renders of leased offers apart.

    Made once, because names are dear to build where each action has a budget of its own.
    """

    due: Mapping[str, Due]  # by budget
    charged: Mapping[int, Sequence[tuple[VolumeConstraint, Charge]]]  # by action index


def withheld(
    candidates: Mask, strategy: Strategy, quotas: Mapping[str, int], occasion: Occasion, spent: Mapping[str, int]
) -> dict[str, Mask]:
    """Drop reason -> the candidates for which a budget has too few units at hand, beside what is spent already.

    `volume_constraint`: its counter is known to be empty; `volume_wait`: more may be on its way.
    """
    return _short(candidates, tariff_for(strategy, occasion).due.values(), quotas, spent)


def outspent(
    candidates: Mask, strategy: Strategy, quotas: Mapping[str, int], occasion: Occasion, spent: Mapping[str, int]
) -> dict[str, Mask]:
    """The same of candidates who passed while nothing was spent: only budgets that were spent of can stop them."""
    due = tariff_for(strategy, occasion).due
    return _short(candidates, [due[name] for name in spent if name in due], quotas, spent)


def _short(
    candidates: Mask, due: Iterable[Due], quotas: Mapping[str, int], spent: Mapping[str, int]
) -> dict[str, Mask]:
    waiting = empty = 0
    for share, budget in due:
        at_hand = quotas.get(budget.name, 0) - spent.get(budget.name, 0)
        if at_hand >= share.steps[0][0] or not share.mask & candidates:
            continue
        short = share.short_of(at_hand) & candidates
        if EXHAUSTED + budget.name in quotas:
            empty |= short
        else:
            waiting |= short
    found = {"volume_constraint": empty, "volume_wait": waiting & ~empty}
    return {reason: mask for reason, mask in found.items() if mask}


def charges(index: int, strategy: Strategy, occasion: Occasion) -> list[Charge]:
    """What selecting an action takes, budget by budget."""
    return [charge for _, charge in charged(index, strategy, occasion)]


def charged(index: int, strategy: Strategy, occasion: Occasion) -> Sequence[tuple[VolumeConstraint, Charge]]:
    """The same with the constraint that asks for it."""
    return tariff_for(strategy, occasion).charged.get(index, ())


def chargeable(strategy: Strategy, occasion: Occasion) -> Mask:
    """The actions that take anything when they are selected so."""
    mask = 0
    for each in tariff_for(strategy, occasion).due.values():
        mask |= each.share.mask
    return mask


def tariff_for(strategy: Strategy, occasion: Occasion) -> Tariff:
    """What a selection on this occasion is charged."""
    day = local_day(strategy, occasion.now_ms)
    return _tariff(strategy.volume_constraints, occasion.channel, day, occasion.is_join)


@lru_cache(maxsize=128)  # the channels of the strategies in force, today
def _tariff(constraints: tuple[VolumeConstraint, ...], channel: str, day: str, is_join: bool) -> Tariff:
    due: dict[str, Due] = {}
    charged_for: dict[int, list[tuple[VolumeConstraint, Charge]]] = {}
    for constraint in constraints:
        is_per_channel = constraint.scope == "channel" or constraint.channel is not None
        if constraint.channel not in (None, channel) or (is_join and not is_per_channel):
            continue
        for share in constraint.shares:
            name = _budget(constraint, share.key, channel, day if constraint.period == "day" else "")
            due[name] = Due(share, _as_budget(name, constraint, share))
            for units, mask in share.steps:
                charge = Charge(name, units, constraint.spend_on == "accepted")
                for index in indexes_of(mask).tolist():
                    charged_for.setdefault(index, []).append((constraint, charge))
    return Tariff(due, charged_for)


def movements_for(made: Sequence[Charge], entry: LeaseEntry | None) -> list[Movement]:
    """How charges leave the block; what is reserved is noted in the lease's entry. entry: None for a message."""
    moved = []
    for charge in made:
        if charge.is_reserved and entry is not None:
            entry.reserved = entry.reserved | {charge.budget: charge.units}
            moved.append(_of_entry("reserve", entry, charge.budget))
        else:
            moved.append(Movement("spend", charge.budget, charge.units))
    return moved


def settled(
    before: Sequence[LeaseEntry], after: Sequence[LeaseEntry], *, now_ms: int, kept: str = ""
) -> list[Movement]:
    """What becomes of the reservations of entries that ended before their time: kept for the action accepted, else
    released. Those whose time is over release themselves.
    """
    standing = {(entry.decision_id, entry.action) for entry in after}
    return [
        _of_entry("keep" if entry.action == kept else "release", entry, budget)
        for entry in before
        if entry.until_ms > now_ms and (entry.decision_id, entry.action) not in standing
        for budget in entry.reserved
    ]


def belated(action: str, strategy: Strategy, quotas: Mapping[str, int], occasion: Occasion) -> list[Movement]:
    """What accepting an offer takes whose reservation is over: spent anew where units are at hand, else an overrun."""
    index = strategy.action_index.get(action)
    made = [] if index is None else charges(index, strategy, occasion)
    return [
        Movement("spend" if quotas.get(each.budget, 0) >= each.units else "overrun", each.budget, each.units)
        for each in made
        if each.is_reserved
    ]


def overrun_of(moved: Sequence[Movement]) -> dict[str, int]:
    """Budget -> units that were spent although none were at hand."""
    return {each.budget: each.units for each in moved if each.kind == "overrun"}


def budgets_of(strategy: Strategy, *, now_ms: int, ahead_ms: int = 0) -> list[Budget]:
    """Every budget that selections can ask for now; with those of the next day when it begins within ahead_ms."""
    found: dict[str, Budget] = {}
    for constraint in strategy.volume_constraints:
        days = {_day_of(constraint, strategy, now_ms): None, _day_of(constraint, strategy, now_ms + ahead_ms): None}
        for share in constraint.shares:
            channels = _channels_of(constraint, strategy)
            for name in (_budget(constraint, share.key, channel, day) for day in days for channel in channels):
                found[name] = _as_budget(name, constraint, share)
    return list(found.values())


def is_low(budget: Budget, at_hand: int, left: Mapping[str, int]) -> bool:
    """True when a block should get more before somebody wants it: the dearest spend does not fit, or half is used up.

    left: what counters have left; one that was not asked yet may have all. A new block is 1 / (2 x partitions) of it;
    where that is less than one spend nobody stocks ahead, else the units would lie where nobody wants them: they are
    fetched one by one.
    """
    block = left.get(budget.name, budget.constraint.limit) // (2 * PARTITION_COUNT)
    return block >= budget.most and at_hand < max(budget.most, block // 2)


def may_be_met(
    drops: Iterable[Mapping[str, Mask]], strategy: Strategy, quotas: Mapping[str, int], occasion: Occasion
) -> bool:
    """True when budgets kept an action out whose counters may have what it takes.

    drops: of all stages of a decision. A budget that is used up keeps actions out of every decision from then on; to
    decide each of them twice would double what they cost, so its counter has to be due to be asked again.
    """
    waiting = kept_out = 0
    for stage in drops:
        waiting |= stage.get("volume_wait", 0)
        kept_out |= stage.get("volume_constraint", 0)
    if waiting or not kept_out:
        return waiting != 0
    return any(
        occasion.now_ms - quotas.get(EXHAUSTED + budget.name, occasion.now_ms) >= RETRY_MS
        for share, budget in tariff_for(strategy, occasion).due.values()
        if share.mask & kept_out
    )


def hoped(strategy: Strategy, quotas: Mapping[str, int], *, now_ms: int) -> dict[str, int]:
    """The quotas if every counter gave all that is asked, those aside that were found empty a moment ago."""
    hopes = dict(quotas)
    for budget in budgets_of(strategy, now_ms=now_ms):
        if now_ms - quotas.get(EXHAUSTED + budget.name, 0) >= RETRY_MS:
            hopes[budget.name] = budget.constraint.limit
            hopes.pop(EXHAUSTED + budget.name, None)
    return hopes


def missing(movements: Sequence[Movement], quotas: Mapping[str, int]) -> dict[str, int]:
    """Budget -> the units that movements need beyond what is at hand."""
    needed = _taken(movements)
    return {name: units - quotas.get(name, 0) for name, units in needed.items() if units > quotas.get(name, 0)}


def _taken(movements: Sequence[Movement]) -> dict[str, int]:
    """Budget -> the units that leave its block."""
    units: dict[str, int] = {}
    for each in movements:
        if each.kind in ("spend", "reserve"):
            units[each.budget] = units.get(each.budget, 0) + each.units
    return units


def sought(
    interest: Mask,
    strategy: Strategy,
    quotas: Mapping[str, int],
    occasion: Occasion,
    taken: Sequence[Movement],
    left: Mapping[str, int],
) -> list[Budget]:
    """The budgets of actions that somebody has shown interest in and that are low now, in one partition.

    quotas and taken: what the decision saw and what it took. A counter that was found empty is not asked again for a
    while.
    """
    gone = _taken(taken)
    return [
        budget
        for share, budget in tariff_for(strategy, occasion).due.values()
        if share.mask & interest
        and is_low(budget, quotas.get(budget.name, 0) - gone.get(budget.name, 0), left)
        and occasion.now_ms - quotas.get(EXHAUSTED + budget.name, 0) >= RETRY_MS
    ]


def unspent(strategy: Strategy, *, now_ms: int) -> dict[str, int]:
    """Quotas of a partition that has all of every budget: for personas and simulations, where nobody else asks."""
    return {budget.name: budget.constraint.limit for budget in budgets_of(strategy, now_ms=now_ms)}


def quotas_for(candidates: Mask, strategy: Strategy, quotas: Mapping[str, int], occasion: Occasion) -> dict[str, int]:
    """Those of the quotas that a decision among these candidates can have read."""
    due, found = tariff_for(strategy, occasion).due, {}
    for name, units in quotas.items():
        asked = due.get(name.removeprefix(EXHAUSTED))
        if asked is not None and asked.share.mask & candidates:
            found[name] = units
    return found


def day_of_budget(name: str) -> str:
    """The local day that a budget is for, as YYYY-MM-DD; empty for one without a day."""
    return name.partition("#")[2]


def local_day(strategy: Strategy, now_ms: int) -> str:
    """The day in the strategy's time zone, as YYYY-MM-DD."""
    return _local_day(strategy.timezone, now_ms // 60_000)


@lru_cache(maxsize=1_024)  # since 1972 every clock is whole minutes away from UTC, so that days begin with a minute
def _local_day(timezone: str, minute: int) -> str:
    return datetime.fromtimestamp(60 * minute, ZoneInfo(timezone)).date().isoformat()


def _as_budget(name: str, constraint: VolumeConstraint, share: Share) -> Budget:
    return Budget(name, constraint, most=share.steps[0][0], least=share.steps[-1][0])


def _channels_of(constraint: VolumeConstraint, strategy: Strategy) -> list[str]:
    """The channels that have a budget of their own; any one of them where they have not."""
    every = [constraint.channel] if constraint.channel is not None else list(strategy.channels)
    return every if constraint.scope == "channel" else every[:1]


def _day_of(constraint: VolumeConstraint, strategy: Strategy, now_ms: int) -> str:
    return local_day(strategy, now_ms) if constraint.period == "day" else ""


def _budget(constraint: VolumeConstraint, key: str, channel: str, day: str) -> str:
    """The name of a counter, `gift_cards:money@grow/cards#2026-03-01`: its unit where that is money, what has it of its
    own, and the day, where it has.

    A block keeps bare counts. Under one name they would change their worth when an author changes the unit.
    """
    own = channel if constraint.scope == "channel" else key
    unit = ":money" if constraint.unit == "money" else ""
    return constraint.name + unit + (f"@{own}" if own else "") + (f"#{day}" if day else "")


def _of_entry(kind: Literal["reserve", "keep", "release"], entry: LeaseEntry, budget: str) -> Movement:
    name = f"{entry.decision_id} {entry.action}"
    return Movement(kind, budget, entry.reserved[budget], name, entry.until_ms)
