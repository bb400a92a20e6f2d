"""Personas: tests a marketer writes.

Checked here, so that a typing error is not taken for a failed expectation; run elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from decisioning.catalog.actions import Surroundings
from decisioning.catalog.channels import check_channel
from decisioning.catalog.dates import moment_ms
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.schema import Schema
from decisioning.catalog.strategy import Action, Persona
from decisioning.catalog.yaml_text import Mapping, Scalar, plain
from decisioning.errors import InvalidAttribute


def personas_of(
    trees: Sequence[Mapping], schema: Schema, actions: Sequence[Action], around: Surroundings, faults: Faults
) -> tuple[Persona, ...]:
    """All personas, by file."""
    checker = _Checker(schema, {action.key: action for action in actions}, around, faults)
    return tuple(checker.persona(tree) for tree in trees)


@dataclass(frozen=True, slots=True)
class _Checker:
    schema: Schema
    actions: dict[str, Action]
    around: Surroundings
    faults: Faults

    def persona(self, tree: Mapping) -> Persona:
        for root in ("customer", "context"):
            self._check_attributes(root, tree.mapping(root))
        for consent in tree.mappings("consents"):
            check_channel(consent.scalar("channel"), self.around.channels, self.faults)
            self._check_known("purpose", consent.scalar("purpose"), self.around.purposes)
        for interaction in tree.mappings("history"):
            check_channel(interaction.scalar("channel"), self.around.channels, self.faults)
            self._check_known("action", interaction.scalar("action"), self.actions)
        check_channel(tree.scalar("channel"), self.around.channels, self.faults)
        self._check_placements(tree)
        for name, key in tree.mapping("propensities").keys.items():
            if name != "default":
                self._check_known("action", key, self.actions)
        for key in tree.mapping("expect_dropped").keys.values():
            self._check_known("action", key, self.actions)
        return Persona(tree.value("name", ""), tree.where, plain(tree), self._moment(tree))

    def _moment(self, tree: Mapping) -> int | None:
        """The moment it is met in. Who tests sending names one: by now it would come out by the time of day."""
        sending = tree.scalar("sending")
        if sending is not None and sending.value:
            channel = self.around.channels.get(tree.value("channel"))
            if channel is not None and channel.direction != "outbound":
                self.faults.add(sending, f"nothing is sent in the inbound channel {channel.name}", "Remove sending")
            if "at" not in tree.keys:
                way_out = "Add at: 2026-11-22T23:30:00Z, the moment of sending"
                self.faults.add(sending, "what may be sent depends on the time", way_out)
        return moment_ms(tree.scalar("at"), self.around.zone, self.faults)

    def _check_attributes(self, root: str, node: Mapping) -> None:
        names = [path.partition(".")[2] for path in self.schema.attributes if path.startswith(f"{root}.")]
        for name, value in node.entries.items():
            if name not in names:
                self.faults.add(node.keys[name], f"unknown attribute {root}.{name}", known(name, names))
                continue
            attribute = self.schema.attributes[f"{root}.{name}"]
            try:
                if attribute.type:
                    attribute.typed(plain(value))
            except InvalidAttribute as error:
                self.faults.add(value, str(error), "schema.yaml says what it may be")

    def _check_placements(self, tree: Mapping) -> None:
        channel = tree.value("channel")
        asked = tree.scalars("placements")
        for placement in asked:
            self._check_known("placement", placement, self.around.fields)
            home = self.around.channel_of.get(placement.value, channel)
            if home != channel:
                message = f"the placement {placement.value} belongs to the channel {home}, not to {channel}"
                self.faults.add(placement, message, "Ask for placements of one channel")
        expected = tree.mapping("expect")
        names = [slot for placement in asked for slot in self.around.slots.get(placement.value, [placement.value])]
        for name, node in expected.named():
            if name not in names:
                message = f"{name!r} is expected but not among the placements asked for"
                self.faults.add(expected.keys[name], message, known(name, names))
            self._check_expected(node)

    def _check_expected(self, node: Mapping) -> None:
        outcome, action = node.value("outcome"), node.scalar("action")
        if action is None:
            return
        self._check_known("action", action, self.actions)
        kind = self.actions[action.value].kind if action.value in self.actions else outcome
        if outcome is not None and kind != outcome:
            message = f"{action.value} is of kind {kind}, it cannot be the outcome {outcome}"
            self.faults.add(action, message, "Name another action, or leave it out")

    def _check_known(self, what: str, node: Scalar | None, names: Iterable[str]) -> None:
        names = list(names)
        if node is not None and node.value not in names:
            self.faults.add(node, f"unknown {what} {node.value!r}", known(str(node.value), names))
