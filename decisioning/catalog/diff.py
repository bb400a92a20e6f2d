"""Diff: what changed between two strategies, told in actions, rules, values, policies and treatments.

Pure, over the files of two bundles. Lines, comments, order, layout and the spelling of rules do not count: each file
becomes facts about subjects (`grow/cards/gold`, `contact policy fatigue`), and the facts of the same subject are
compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decisioning.catalog.faults import Faults
from decisioning.catalog.formatting import normal_rule
from decisioning.catalog.layout import shape_of
from decisioning.catalog.shape import expressions_in
from decisioning.catalog.yaml_text import plain, read_yaml

# What the names in a file stand for. A file that is not listed, such as a persona, is one subject of its own.
SUBJECTS = {
    "channels.yaml": "channel",
    "placements.yaml": "placement",
    "consents.yaml": "consents of",
    "contact_policies.yaml": "contact policy",
    "volume_constraints.yaml": "volume constraint",
    "experiments.yaml": "experiment",
    "content/blocks.yaml": "content block",
    "derived.yaml": "derived attribute",
}
SHOWN_LENGTH_MAX = 80  # of one value


def differences(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """One line a subject that changed, for example: grow/cards/gold: eligibility + `…`, action_value 85.0 -> 90.0"""
    before, after = _facts(old), _facts(new)
    lines = []
    for subject in sorted({*before, *after}):
        if subject not in before:
            lines.append(f"+ {subject}")
        elif subject not in after:
            lines.append(f"- {subject}")
        elif changes := list(_changes("", before[subject], after[subject])):
            lines.append(f"{subject}: {', '.join(changes)}")
    return lines


def _facts(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Subject -> what the strategy says about it, as plain values."""
    return {subject: facts for path, content in files.items() for subject, facts in _subjects(path, content)}


def _subjects(path: str, content: bytes) -> Iterator[tuple[str, Any]]:
    _, shape = shape_of(path)
    tree = None if shape is None else read_yaml(path, content, Faults())
    if shape is None or tree is None:
        yield path, {"content": content}
        return
    for node in expressions_in(shape, tree):
        node.value = normal_rule(node.value)
    said = plain(tree)
    if path.startswith("actions/"):
        for name, action in said["actions"].items():
            yield f"{said['issue']}/{said['group']}/{name}", _action(action)
    elif path == "schema.yaml":
        yield "purposes", {"": said["purposes"]}
        for root in ("customer", "context"):
            yield from ((f"{root}.{name}", each) for name, each in said.get(root, {}).items())
    elif path in SUBJECTS:
        yield from ((f"{SUBJECTS[path]} {name}", each) for name, each in said.items())
    else:
        yield path.removesuffix(".yaml"), said


def _action(said: Mapping[str, Any]) -> dict[str, Any]:
    """An action's facts in the words of its readers: rules set apart from values, weights by their condition."""
    facts = dict(said)
    for stage in ("eligibility", "applicability", "suitability"):
        facts[stage] = [_Rule(rule) for rule in said.get(stage, ())]
    facts["context_weight"] = {f"`{each['when']}`": each["weight"] for each in said.get("context_weights", ())}
    facts["treatment"] = facts.pop("treatments", {})
    facts.pop("context_weights", None)
    return facts


class _Rule(str):
    """A text that is shown as code."""


def _changes(name: str, old: Any, new: Any) -> Iterator[str]:
    """What became of one fact: entries of mappings and of lists on their own, else old -> new."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            yield from _entry(f"{name} {key}".strip(), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _listed(name, old, new)
    else:
        yield f"{name} {_shown(old)} -> {_shown(new)}".strip()


_ABSENT = object()


def _entry(name: str, old: Any, new: Any) -> Iterator[str]:
    if old is _ABSENT or new is _ABSENT:
        value = new if old is _ABSENT else old
        sign = "+" if old is _ABSENT else "-"
        yield f"{sign} {name}" if isinstance(value, (Mapping, list)) else f"{name} {sign} {_shown(value)}"
    else:
        yield from _changes(name, old, new)


def _listed(name: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    """Entries that came and went; the same entries in another order are worth a word where they are shown in it."""
    gone, come = [each for each in old if each not in new], [each for each in new if each not in old]
    yield from (f"{name} - {_shown(each)}".strip() for each in gone)
    yield from (f"{name} + {_shown(each)}".strip() for each in come)
    if not gone and not come and not isinstance(new[0], _Rule):
        yield f"{name} in another order".strip()


def _shown(value: Any) -> str:
    if isinstance(value, _Rule):
        return f"`{value}`"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_LENGTH_MAX else f"{text[: SHOWN_LENGTH_MAX - 1]}…"
