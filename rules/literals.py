"""Literals of text, bytes and numbers: from their spelling to values and back."""

from __future__ import annotations

import re
from collections.abc import Callable

from rules.values import UInt, Value

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))?", re.DOTALL
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SPELLED = {
    **{ord(character): f"\\{letter}" for letter, character in _SIMPLE.items()},
    ord("\\"): "\\\\",
    ord('"'): '\\"',
}


def read_text(token: str) -> str | bytes:
    """The value of a text or bytes literal, prefix and quotes included. Raises ValueError with the reason."""
    quote_index = min(index for index in (token.find("'"), token.find('"')) if index >= 0)
    prefix, quoted = token[:quote_index].lower(), token[quote_index:]
    width = 3 if len(quoted) >= 6 and quoted[:3] in ('"""', "'''") else 1
    body = quoted[width:-width]
    if "b" in prefix:
        return body.encode() if "r" in prefix else _unescape_bytes(body)
    return body if "r" in prefix else _ESCAPE.sub(_code_point, body)


def _unescape_bytes(body: str) -> bytes:
    parts: list[bytes] = []
    end = 0
    for escape in _ESCAPE.finditer(body):
        parts += [body[end : escape.start()].encode(), _octet(escape)]
        end = escape.end()
    return b"".join([*parts, body[end:].encode()])


def _octet(escape: re.Match[str]) -> bytes:
    simple, hexadecimal, short, long, octal = escape.groups()
    if simple is not None:
        return _SIMPLE.get(simple, simple).encode()
    if short is not None or long is not None:
        raise ValueError("\\u escapes belong in text, not in bytes")
    return bytes([_number(hexadecimal, octal)])


def _code_point(escape: re.Match[str]) -> str:
    simple, hexadecimal, short, long, octal = escape.groups()
    if simple is not None:
        return _SIMPLE.get(simple, simple)
    number = _number(hexadecimal or short or long, octal)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"{escape[0]} is not a character")
    return chr(number)


def _number(hexadecimal: str | None, octal: str | None) -> int:
    if hexadecimal is not None:
        return int(hexadecimal, 16)
    if octal is not None:
        return int(octal, 8)
    raise ValueError("unknown escape after \\; write \\\\ for a backslash")


def read_int(token: str) -> int:
    """The value of an int or uint literal without its `u`, decimal or hexadecimal."""
    return int(token, 16) if token.startswith("0x") else int(token)


def spell(value: Value) -> str:
    """A literal that reads back as the same value."""
    return _SPELLING[type(value)](value)


def _spell_text(text: str) -> str:
    return '"' + "".join(_SPELLED.get(ord(character)) or _printable(character) for character in text) + '"'


def _printable(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _spell_bytes(octets: bytes) -> str:
    return 'b"' + "".join(f"\\x{octet:02x}" if octet not in _PLAIN else chr(octet) for octet in octets) + '"'


_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("\\"), ord('"')}
_SPELLING: dict[type, Callable[[Value], str]] = {
    str: _spell_text,
    bytes: _spell_bytes,
    int: str,
    UInt: lambda value: f"{int(value)}u",
    float: repr,
    bool: lambda value: "true" if value else "false",
    type(None): lambda value: "null",
}
