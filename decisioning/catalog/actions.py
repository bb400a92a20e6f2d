"""Actions: from the files' trees to the parallel order that all masks and arrays follow.

An action's index is the position of its key among all keys, so neither the order of files nor that inside them can
change a decision.
"""

from __future__ import annotations

from collections.abc import Mapping as Names
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from decisioning.catalog.channels import check_channel
from decisioning.catalog.dates import window_of
from decisioning.catalog.expressions import Owner
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.outcomes import RESPONSE_OUTCOMES
from decisioning.catalog.strategy import Action, Channel, Field, Mask, Treatment
from decisioning.catalog.writing import Writer
from decisioning.catalog.yaml_text import Mapping

# How learning reads a response outcome unless the action says otherwise; what is not named here is neutral.
BEHAVIOUR = dict.fromkeys(RESPONSE_OUTCOMES, "neutral") | {
    "accepted": "positive",
    "converted": "positive",
    "rejected": "negative",
    "dismissed": "negative",
    "no_response": "negative",
}
WORTH = {"offer": "action_value", "message": "brand_value"}  # kind -> the entry that says what it is worth


@dataclass(frozen=True, slots=True)
class Draft:
    """An action as its author wrote it."""

    key: str
    node: Mapping

    @property
    def owner(self) -> Owner:
        """Whom its expressions speak for."""
        return Owner(self.key, self.node.value("purpose", ""))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What actions refer to."""

    channels: dict[str, Channel]
    fields: Names[str, Names[str, Field]]  # by placement
    channel_of: Names[str, str | None]  # by placement
    slots: Names[str, Sequence[str]]  # by placement: the names of its ranks
    policies: frozenset[str]
    purposes: tuple[str, ...]
    zone: tzinfo


def drafts_of(trees: Sequence[Mapping], faults: Faults) -> list[Draft]:
    """The actions of all files, by key; of two with the same key the first file's counts."""
    drafts: dict[str, Draft] = {}
    for tree in trees:
        group = f"{tree.value('issue', '')}/{tree.value('group', '')}"
        for name, node in tree.mapping("actions").named():
            draft = Draft(f"{group}/{name}", node)
            first = drafts.setdefault(draft.key, draft)
            if first is not draft:
                message = f"the action {draft.key} exists already, at {first.node.heading.where}"
                faults.add(node.heading, message, "Rename or remove one of them")
    return [drafts[key] for key in sorted(drafts)]


def keys_of(drafts: Sequence[Draft]) -> frozenset[str]:
    """The keys of all issues, groups and actions."""
    parts = [draft.key.split("/") for draft in drafts]
    return frozenset("/".join(each[:depth]) for each in parts for depth in (1, 2, 3))


def actions_of(drafts: Sequence[Draft], around: Surroundings, writer: Writer, faults: Faults) -> tuple[Action, ...]:
    """Compiled actions, each at its index."""
    return tuple(_action(index, draft, around, writer, faults) for index, draft in enumerate(drafts))


def _action(index: int, draft: Draft, around: Surroundings, writer: Writer, faults: Faults) -> Action:
    node = draft.node
    issue, group, name = draft.key.split("/")
    _check_references(node, around, faults)
    start_ms, end_ms = window_of(node, around.zone, faults)
    mandatory = node.value("mandatory", False)
    return Action(
        key=draft.key,
        index=index,
        issue=issue,
        group=group,
        name=name,
        kind=node.value("kind", "offer"),
        purpose=node.value("purpose", ""),
        worth=_worth(node, faults),
        lever=float(node.value("lever", 1.0)),
        mandatory=mandatory,
        bypasses=mandatory or node.value("purpose") == "service",
        start_ms=start_ms,
        end_ms=end_ms,
        policies=tuple(sorted(policy.value for policy in node.scalars("contact_policies"))),
        treatments=_treatments(draft, around, writer, faults),
        behaviour=_behaviour(node.mapping("behaviour"), faults),
        product=node.value("product"),
        where=node.heading.where,
    )


def _check_references(node: Mapping, around: Surroundings, faults: Faults) -> None:
    purpose = node.scalar("purpose")
    if purpose is not None and purpose.value not in around.purposes:
        faults.add(purpose, f"unknown purpose {purpose.value!r}", known(purpose.value, around.purposes))
    for policy in node.scalars("contact_policies"):
        if policy.value not in around.policies:
            faults.add(policy, f"unknown contact policy {policy.value!r}", known(policy.value, around.policies))


def _worth(node: Mapping, faults: Faults) -> float:
    kind = node.value("kind")
    if kind is None:
        return 0.0
    for other, entry in WORTH.items():
        if other != kind and entry in node.keys:
            faults.add(
                node.keys[entry], f"{entry} means nothing for kind {kind}", f"Use {WORTH[kind]}, or kind: {other}"
            )
    if WORTH[kind] not in node.keys:
        faults.add(
            node.heading, f"{WORTH[kind]!r} is missing here", f"Add {WORTH[kind]}: …, in the strategy's currency"
        )
    return float(node.value(WORTH[kind], 0.0))


def _behaviour(node: Mapping, faults: Faults) -> Names[str, str]:
    for outcome, key in node.keys.items():
        if outcome not in RESPONSE_OUTCOMES:
            faults.add(key, f"unknown response outcome {outcome!r}", known(outcome, RESPONSE_OUTCOMES))
    return BEHAVIOUR | {outcome: node.value(outcome) for outcome in node.entries}


def _treatments(draft: Draft, around: Surroundings, writer: Writer, faults: Faults) -> Names[str, Treatment]:
    node = draft.node.mapping("treatments")
    if "treatments" in draft.node.entries and not node.keys:
        faults.add(
            draft.node.heading, f"the action {draft.key} has no treatment", "Add content for at least one channel"
        )
    treatments = {}
    for channel, treatment in sorted(node.named()):
        check_channel(node.keys[channel], around.channels, faults)
        placements = _placements(channel, treatment, node, around, faults)
        declared = [around.fields[name] for name in placements]
        content = treatment.mapping("content")
        if not declared:
            writer.guess(
                content,
                [fields for name, fields in around.fields.items() if around.channel_of[name] == channel],
                draft.owner,
            )
        treatments[channel] = Treatment(
            draft.key, channel, placements, writer.treatment(content, declared, draft.owner)
        )
    return treatments


def _placements(
    channel: str, node: Mapping, treatments: Mapping, around: Surroundings, faults: Faults
) -> tuple[str, ...]:
    """The placements of one treatment that exist and belong to its channel."""
    found = []
    for placement in node.scalars("placements"):
        name = placement.value
        home = around.channel_of.get(name)
        if name not in around.fields:
            faults.add(placement, f"unknown placement {name!r}", known(name, around.fields))
        elif home == channel:
            found.append(name)
        elif home in around.channels and channel in around.channels:
            way_out = "move it there" if home in treatments.keys else f"add a treatment for {home}"
            message = f"the placement {name} belongs to the channel {home}, not to {channel}"
            faults.add(placement, message, f"Remove it here, and {way_out}")
    return tuple(sorted(found))


def hashes_of(actions: Sequence[Action]) -> NDArray[np.uint64]:
    """One number per action that depends on nothing but its key."""
    return np.array(
        [int.from_bytes(blake2b(each.key.encode(), digest_size=8).digest()) for each in actions], dtype=np.uint64
    )


def mask_of(actions: Sequence[Action]) -> Mask:
    """The set of these actions."""
    return sum(1 << action.index for action in actions)


def masks_under(actions: Sequence[Action]) -> dict[str, Mask]:
    """Issue, issue/group and issue/group/action -> the actions under it."""
    masks: dict[str, Mask] = {}
    for action in actions:
        for key in (action.issue, f"{action.issue}/{action.group}", action.key):
            masks[key] = masks.get(key, 0) | 1 << action.index
    return masks


def purpose_masks(actions: Sequence[Action], purposes: Sequence[str]) -> dict[str, Mask]:
    """Purpose -> its actions."""
    return {purpose: mask_of([each for each in actions if each.purpose == purpose]) for purpose in purposes}


def policy_masks(drafts: Sequence[Draft]) -> dict[str, Mask]:
    """Contact policy -> the actions that refer to it."""
    masks: dict[str, Mask] = {}
    for index, draft in enumerate(drafts):
        for policy in draft.node.scalars("contact_policies"):
            masks[policy.value] = masks.get(policy.value, 0) | 1 << index
    return masks
