"""YAML lines: plain mappings, lists and scalars as a strategy file that people read, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

PLAIN = re.compile(r"[a-z][a-z0-9_./]*")  # text that needs no quotes: names of ours
WORDS = ("true", "false", "null")  # these would be read as something else


def yaml_text(tree: Mapping[str, Any], title: str) -> str:
    """A file: a comment, then one line per leaf; what holds only scalars stands on one line."""
    return f"# {title}\n" + "".join(f"{line}\n" for line in _lines(tree, ""))


def _lines(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and any(isinstance(each, Mapping | list) for each in value.values()):
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list) and value and not isinstance(value[0], str | int | float):
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {_flow(each)}" for each in value)
        else:
            yield f"{indent}{key}: {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        if PLAIN.fullmatch(value) and value not in WORDS:
            return value
        return json.dumps(value, ensure_ascii=False) if "'" in value else f"'{value}'"
    return json.dumps(value)
