"""Placements: the fields they declare, what they show of nothing and in trouble, and who may fill them."""

from __future__ import annotations

from collections.abc import Mapping as Names
from collections.abc import Sequence

import numpy as np

from decisioning.catalog.actions import Surroundings, mask_of
from decisioning.catalog.channels import check_channel
from decisioning.catalog.content import Content
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.pictures import picture_of
from decisioning.catalog.strategy import Action, Candidates, Channel, Field, Placement
from decisioning.catalog.writing import Writer
from decisioning.catalog.yaml_text import Mapping

WHITE = "#FFFFFF"  # what a mail is, where nobody says otherwise


def fields_of(tree: Mapping, faults: Faults) -> dict[str, dict[str, Field]]:
    """The declared content fields of every placement."""
    return {
        placement: {name: _field(name, node, faults) for name, node in body.mapping("fields").named()}
        for placement, body in tree.named()
    }


def _field(name: str, node: Mapping, faults: Faults) -> Field:
    kind = node.value("type", "text")
    if "size" in node.keys and kind != "image":
        faults.add(node.keys["size"], f"size means nothing for the type {kind}", "Only image has it")
    if "max" in node.keys and kind in ("url", "image"):
        faults.add(
            node.keys["max"], f"max means nothing for the type {kind}", "Only text, html, link and texts have it"
        )
    width, _, height = node.value("size", "").partition("x")
    return Field(
        name=name,
        type=kind,
        required=node.value("required", False),
        max=node.value("max"),
        size=(int(width), int(height)) if width else None,
    )


def placements_of(
    tree: Mapping,
    around: Surroundings,
    blocks: Mapping | None,
    actions: Sequence[Action],
    writer: Writer,
) -> dict[str, Placement]:
    """All placements by name. blocks: None when they could not be read."""
    placements = {}
    for name, node in tree.named():
        fields = around.fields[name]
        check_channel(node.scalar("channel"), around.channels, writer.faults)
        _check_default_url(node, fields, writer)
        quiet, quiet_color = _quiet(node, fields, around.channels, blocks, writer)
        placements[name] = Placement(
            name=name,
            channel=node.value("channel", ""),
            nothing_value=float(node.value("nothing_value", 0.0)),
            count=node.value("count", 1),
            fields=fields,
            fallback=_block(node, "fallback", fields, blocks, writer),
            quiet=quiet,
            quiet_color=quiet_color,
            default_url=node.value("default_url", ""),
            one_per_group=node.value("one_per_group", False),
            picture=picture_of(node, fields, writer.images, writer.faults),
            candidates=_candidates(name, node.value("channel", ""), actions),
        )
    if blocks is not None:
        _check_blocks(tree, around.fields, blocks, writer.faults)
    return placements


def _check_default_url(node: Mapping, fields: Names[str, Field], writer: Writer) -> None:
    url = node.scalar("default_url")
    is_led_from = "picture" in node.entries or any(field.type == "link" for field in fields.values())
    if url is not None:
        writer.check_address(url)
    elif "default_url" not in node.keys and is_led_from:
        way_out = "Add default_url: https://…, where a click leads when its link is gone"
        writer.faults.add(node.heading, "'default_url' is missing here", way_out)


def _quiet(
    node: Mapping, fields: Names[str, Field], channels: Names[str, Channel], blocks: Mapping | None, writer: Writer
) -> tuple[Content | None, str]:
    """What nothing looks like: fixed content, and the colour of an empty strip."""
    name = node.scalar("quiet")
    if name is None:
        return None, WHITE
    is_color = name.value.startswith("#")
    channel = channels.get(node.value("channel", ""))
    if not is_color and "picture" in node.entries:
        way_out = f'Write the colour of the mail around it, as in quiet: "{WHITE}"'
        writer.faults.add(name, "a mail that has nothing to say claims nothing, in any words", way_out)
    elif is_color and "picture" not in node.entries and channel is not None and channel.direction == "inbound":
        way_out = "Name a content block, or leave it out: what stands there stays"
        writer.faults.add(name, "a colour says nothing here, where no mail is drawn", way_out)
    return (None, str(name.value)) if is_color else (_block(node, "quiet", fields, blocks, writer), WHITE)


def _block(node: Mapping, key: str, fields: Names[str, Field], blocks: Mapping | None, writer: Writer) -> Content:
    """The block that a placement names under this key."""
    name = node.scalar(key)
    if name is None or blocks is None:
        return writer.block(Mapping(node.file, node.line, node.column), {})
    if name.value not in blocks.keys:
        writer.faults.add(name, f"unknown content block {name.value!r}", known(name.value, blocks.keys))
    return writer.block(blocks.mapping(name.value), fields if name.value in blocks.keys else {})


def _check_blocks(tree: Mapping, fields: Names[str, Names[str, Field]], blocks: Mapping, faults: Faults) -> None:
    """Each block, and each of its fields, is shown by some placement."""
    shown: dict[str, set[str]] = {}
    for placement, node in tree.named():
        for role in ("fallback", "quiet"):
            shown.setdefault(node.value(role, ""), set()).update(fields[placement])
    for name, block in blocks.named():
        if name not in shown:
            faults.add(
                blocks.keys[name],
                f"no placement refers to the content block {name!r}",
                "Name it as a fallback or as quiet, or remove it",
            )
            continue
        for field, key in block.keys.items():
            if field not in shown[name]:
                message = f"content field {field!r} is not declared by a placement that shows this block"
                faults.add(key, message, known(field, shown[name]))


def _candidates(placement: str, channel: str, actions: Sequence[Action]) -> Candidates:
    pairs = [
        (action, treatment)
        for action in actions
        if (treatment := action.treatments.get(channel)) is not None and placement in treatment.placements
    ]
    found = [action for action, _ in pairs]
    return Candidates(
        mask=mask_of(found),
        unsure_mask=mask_of([action for action, treatment in pairs if treatment.content.may_fail]),
        action_index=np.array([action.index for action in found], dtype=np.int64),
        treatments=tuple(treatment for _, treatment in pairs),
    )
