"""Template: literal text with `{{ expression | default }}` in it, split but not yet compiled.

There is no second language: what stands between the braces is CEL, so finding its end needs no more than skipping CEL's
strings and nested braces. `\\{{` writes two literal braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TEXT_LENGTH_MAX = 20_000  # characters of one content text

_OPENING = re.compile(r"\\?\{\{")
# Strings of CEL (raw ones, where a backslash is a backslash, first), and the signs that end or divide an expression.
_SIGN = re.compile(
    r"""[rR][bB]?(?:"[^"\n]*"|'[^'\n]*')"""
    r'''|"""(?:\\.|[^\\])*?"""'''
    r"""|'''(?:\\.|[^\\])*?'''"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
    r"""|\|\||[|{}]""",
    re.DOTALL,
)


class TemplateError(Exception):
    """The text cannot be split; `offset` is where in it."""

    def __init__(self, message: str, offset: int, way_out: str) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.way_out = way_out


@dataclass(frozen=True, slots=True)
class Piece:
    """Some CEL text and where it stands in the whole."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Insertion:
    """One `{{ expression | default }}`."""

    expression: Piece
    default: Piece | None


def split(text: str) -> list[str | Insertion]:
    """Literal stretches and insertions, in order. Raises TemplateError."""
    parts: list[str | Insertion] = []
    literal, position = "", 0
    while opening := _OPENING.search(text, position):
        literal += text[position : opening.start()]
        if opening.group() != "{{":
            literal, position = literal + "{{", opening.end()
            continue
        if literal:
            parts.append(literal)
        insertion, position = _insertion(text, opening.start())
        parts.append(insertion)
        literal = ""
    literal += text[position:]
    return [*parts, literal] if literal else parts


def _insertion(text: str, start: int) -> tuple[Insertion, int]:
    """The insertion that opens at `start`, and the offset behind its closing braces."""
    depth, bar, position = 0, None, start + 2
    while sign := _SIGN.search(text, position):
        found, at, position = sign.group(), sign.start(), sign.end()
        if found == "|":
            if bar is not None:
                raise TemplateError("a second default", at, "Write {{ expression | default }} with one |")
            bar = at
        elif found == "{":
            depth += 1
        elif found == "}" and depth:
            depth -= 1
        elif found == "}" and text.startswith("}}", at):
            expression = _piece(text, start + 2, at if bar is None else bar)
            return Insertion(expression, None if bar is None else _piece(text, bar + 1, at)), at + 2
    raise TemplateError("{{ has no closing }}", start, r"Close it with }}, or write \{{ for literal braces")


def _piece(text: str, start: int, end: int) -> Piece:
    piece = text[start:end]
    return Piece(piece.strip(), start + len(piece) - len(piece.lstrip()))
