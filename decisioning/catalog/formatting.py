"""Formatting: the rules of a file in their normal spelling, everything else in it untouched.

Pure, from text to text. Only expressions that stand on one line are written anew, in place, so that the layout and the
comments of the YAML stay. What cannot be read is left to `nextbest check`, and a rule that holds a comment is
left alone, because the normal spelling has no place for it.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8

from decisioning.catalog.faults import Faults
from decisioning.catalog.layout import shape_of
from decisioning.catalog.shape import expressions_in
from decisioning.catalog.yaml_text import Node, Scalar, plain, read_yaml
from rules import RuleError, parse, unparse

_LINE_BREAK = re.compile("(\r\n|[\r\n])")  # where YAML ends a line


def normal_rule(text: str) -> str:
    """A rule in its normal spelling: the same tree, single spaces, double quotes, no needless parentheses."""
    if "//" in text:
        return text
    try:
        return unparse(parse(text))
    except RuleError:
        return text


def formatted(path: str, content: bytes) -> bytes:
    """The file of a strategy with its rules in their normal spelling."""
    _, shape = shape_of(path)
    tree = None if shape is None else read_yaml(path, content, Faults())
    if shape is None or tree is None:
        return content
    mark = BOM_UTF8 if content.startswith(BOM_UTF8) else b""
    lines = _LINE_BREAK.split(content.decode("utf-8-sig"))
    # From the end, so that what is still to be replaced keeps its place.
    for node in sorted(expressions_in(shape, tree), key=lambda each: (each.line, each.column), reverse=True):
        text = normal_rule(node.value)
        if node.source is not None and text != node.value:
            _replace(lines, node, _quoted(text, node.source))
            node.value = text
    changed = mark + "".join(lines).encode()
    return changed if _says(path, changed) == plain(tree) else content


def _replace(lines: list[str], node: Scalar, written: str) -> None:
    """Write a scalar anew. Lines alternate with their line breaks."""
    position, start = 2 * (node.line - 1), node.column - 1
    line = lines[position]
    lines[position] = line[:start] + written + line[start + len(node.source or "") :]


def _quoted(text: str, source: str) -> str:
    """A text in the quotes it had, if it can stand in them; rules have double quotes of their own, so mostly single."""
    if source.startswith('"') and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def _says(path: str, content: bytes) -> object:
    """What a file says as plain values, to see that it still says the same; None when it cannot be read."""
    faults = Faults()
    tree: Node | None = read_yaml(path, content, faults)
    return None if tree is None else plain(tree)
