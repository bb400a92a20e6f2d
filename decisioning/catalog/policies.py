"""Contact policies, experiments and the holdout: limits and shares that hold for customers as a whole."""

from __future__ import annotations

import math
from collections.abc import Collection
from collections.abc import Mapping as Names

from decisioning.catalog.channels import check_channel
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.outcomes import REMEMBERED_OUTCOMES
from decisioning.catalog.strategy import ContactPolicy, Experiment, Holdout, Mask
from decisioning.catalog.yaml_text import Mapping

DAY_MS = 86_400_000
ARMS = ("full", "random")  # what a strategy can do for an arm: its full arbitration, or a random permitted action


def contact_policies_of(
    tree: Mapping, channels: Collection[str], masks: Names[str, Mask], faults: Faults
) -> tuple[ContactPolicy, ...]:
    """All policies by name; masks: policy -> the actions that refer to it."""
    return tuple(_policy(name, node, channels, masks.get(name, 0), faults) for name, node in sorted(tree.named()))


def check_reached(tree: Mapping, masks: Names[str, Mask], faults: Faults) -> None:
    """A policy nobody refers to protects nobody, whatever its author believes."""
    for name, key in tree.keys.items():
        if name not in masks:
            faults.add(
                key,
                f"no action refers to the contact policy {name!r}",
                "Name it under contact_policies of an action, or remove it",
            )


def _policy(name: str, node: Mapping, channels: Collection[str], mask: Mask, faults: Faults) -> ContactPolicy:
    check_channel(node.scalar("channel"), channels, faults)
    outcomes = node.scalars("outcomes")
    for outcome in outcomes:
        if outcome.value not in REMEMBERED_OUTCOMES:
            message = f"contact policies cannot count {outcome.value!r}"
            faults.add(outcome, message, known(outcome.value, REMEMBERED_OUTCOMES))
    return ContactPolicy(
        name=name,
        scope=node.value("scope", "action"),
        outcomes=frozenset(outcome.value for outcome in outcomes),
        limit=node.value("limit", 1),
        window_ms=round(node.value("window_days", 0) * DAY_MS),
        hold_ms=round(node.value("hold_days", 0) * DAY_MS),
        channel=node.value("channel"),
        mask=mask,
        where=node.heading.where,
    )


def experiments_of(tree: Mapping, faults: Faults) -> tuple[Experiment, ...]:
    """All experiments by name, with arms by name."""
    return tuple(_experiment(name, node, faults) for name, node in sorted(tree.named()))


def _experiment(name: str, node: Mapping, faults: Faults) -> Experiment:
    tree = node.mapping("arms")
    arms = {arm: float(tree.value(arm)) for arm in sorted(tree.entries)}
    for arm in tree.keys:
        if arm not in ARMS:
            faults.add(tree.keys[arm], f"unknown arm {arm!r}", known(arm, ARMS))
    is_complete = "arms" in node.entries and len(arms) == len(tree.keys)
    if is_complete and not math.isclose(sum(arms.values()), 1.0, abs_tol=1e-9):
        faults.add(node.keys["arms"], f"the shares of {name} sum to {sum(arms.values()):g}", "Make them sum to 1")
    return Experiment(name, node.value("salt", ""), arms)


def holdout_of(strategy: Mapping) -> Holdout | None:
    """The universal holdout, None when the strategy has none."""
    if "holdout" not in strategy.entries:
        return None
    node = strategy.mapping("holdout")
    return Holdout(float(node.value("share", 0.0)), node.value("salt", ""))
