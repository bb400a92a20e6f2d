"""Contact policies, experiments, the holdout, exploration: limits and shares that hold for customers as a whole."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from collections.abc import Mapping as Names

from decisioning.catalog.actions import mask_of
from decisioning.catalog.channels import check_channel
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.outcomes import REMEMBERED_OUTCOMES
from decisioning.catalog.strategy import Action, ContactPolicy, Experiment, Exploration, Holdout, Mask
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


def exploration_of(
    strategy: Mapping, placements: Collection[str], actions: Sequence[Action] | None, faults: Faults
) -> Exploration | None:
    """How draws explore, None when they do not. actions: None when not all of them could be read."""
    if "exploration" not in strategy.entries:
        return None
    node = strategy.mapping("exploration")
    actions_by_issue: dict[str, list[Action]] = {}
    for action in actions or ():
        actions_by_issue.setdefault(action.issue, []).append(action)
    covered = _among(node, "placements", placements, faults)
    issues = _among(node, "issues", None if actions is None else actions_by_issue, faults)
    tried = [each for name, found in actions_by_issue.items() if issues is None or name in issues for each in found]
    numbers = {name: node.value(name) for name in node.entries if name not in ("placements", "issues")}
    mask = mask_of([action for action in tried if not action.bypasses])
    return Exploration(mask, **numbers, placements=covered)


def _among(node: Mapping, name: str, names: Collection[str] | None, faults: Faults) -> frozenset[str] | None:
    """The words of a list, None when there is none; others than these names are faults. names: None when unknown."""
    if name not in node.entries:
        return None
    words = node.scalars(name)
    for word in words:
        if names is not None and word.value not in names:
            faults.add(word, f"unknown {name.removesuffix('s')} {word.value!r}", known(word.value, names))
    return frozenset(word.value for word in words)
