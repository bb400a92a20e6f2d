"""Volume constraints: budgets over all customers, and what one spend of each action takes from them.

Money is counted in thousandths, so that no sum on a counter is rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Mapping as Names
from decimal import Decimal

from decisioning.catalog.actions import Draft
from decisioning.catalog.channels import check_channel
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.layout import KEY_DEPTH
from decisioning.catalog.strategy import Share, VolumeConstraint
from decisioning.catalog.yaml_text import Mapping, Scalar

UNITS = {"money": 1_000, "number": 1}  # units of the counter in one of what the author writes

Spends = Names[int, int]  # action index -> units of one spend


def volume_constraints_of(
    tree: Mapping, drafts: Sequence[Draft], channels: Collection[str], faults: Faults, *, has_all_actions: bool
) -> tuple[VolumeConstraint, ...]:
    """All constraints by name; what actions say of them is checked here too."""
    for draft in drafts:
        for name, key in draft.node.mapping("volume_constraints").keys.items():
            if name not in tree.keys:
                faults.add(key, f"unknown volume constraint {name!r}", known(name, tree.keys))
    found = []
    for name, node in sorted(tree.named()):
        named = [draft for draft in drafts if name in draft.node.mapping("volume_constraints").keys]
        if not named and has_all_actions:
            way_out = "Name it under volume_constraints of an action, or remove it"
            faults.add(node.heading, f"no action refers to the volume constraint {name!r}", way_out)
        found.append(_constraint(name, node, drafts, channels, faults))
    return tuple(found)


def _constraint(
    name: str, node: Mapping, drafts: Sequence[Draft], channels: Collection[str], faults: Faults
) -> VolumeConstraint:
    check_channel(node.scalar("channel"), channels, faults)
    unit, scope, spend_on = (node.value(each, "") for each in ("unit", "scope", "spend_on"))
    limit = _units(node.scalar("limit"), unit, faults)
    spends: dict[int, int] = {}
    for index, draft in enumerate(drafts):
        amount = draft.node.mapping("volume_constraints").scalar(name)
        if amount is None:
            continue
        spends[index] = _units(amount, unit, faults)
        if spends[index] > limit > 0:
            faults.add(amount, f"one spend of {amount.value} is more than the limit of {name}", "Raise the limit")
        if spend_on == "accepted" and draft.node.value("kind") == "message":
            message = f"{name} spends when an offer is accepted, and a message cannot be"
            faults.add(amount, message, "Use a constraint with spend_on: selected")
    return VolumeConstraint(
        name=name,
        limit=limit,
        unit=unit,
        scope=scope,
        period=node.value("period", ""),
        spend_on=spend_on,
        channel=node.value("channel"),
        mask=sum(1 << index for index in spends),
        shares=tuple(_shares(scope, spends, drafts)),
        where=node.heading.where,
    )


def _units(amount: Scalar | None, unit: str, faults: Faults) -> int:
    """An amount in units of the counter; what is no whole number of them is a fault."""
    if amount is None or unit not in UNITS:
        return 0
    units = Decimal(str(amount.value)) * UNITS[unit]
    if units != int(units):
        way_out = "Write a whole number" if unit == "number" else "Write at most three decimals"
        faults.add(amount, f"{amount.value} is no amount of unit {unit}", way_out)
    return int(units)


def _shares(scope: str, spends: Spends, drafts: Sequence[Draft]) -> Iterable[Share]:
    by_key: dict[str, dict[int, int]] = {}  # key -> units -> actions
    for index, units in spends.items():
        depth = KEY_DEPTH.get(scope, 0)
        masks = by_key.setdefault("/".join(drafts[index].key.split("/")[:depth]), {})
        masks[units] = masks.get(units, 0) | 1 << index
    for key, masks in sorted(by_key.items()):
        yield Share(key, sum(masks.values()), tuple(sorted(masks.items(), reverse=True)))
