"""Markup: what the fixed text of an `html` field may be made of. An allow list, so that nothing in it runs.

Pure. A browser mends markup in ways of its own, so each tag has to be written as plainly as every parser reads it the
same: what opens with `<` closes with `>`, and a value with blanks stands in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

ELEMENTS = frozenset({
    "a", "b", "blockquote", "br", "center", "div", "em", "font", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i",
    "img", "li", "ol", "p", "s", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th",
    "thead", "tr", "u", "ul",
})  # fmt: skip
ATTRIBUTES = frozenset({
    "align", "alt", "bgcolor", "border", "cellpadding", "cellspacing", "class", "color", "colspan", "dir", "height",
    "href", "lang", "role", "rowspan", "size", "src", "style", "target", "title", "valign", "width",
})  # fmt: skip
ADDRESSES = ("href", "src")

_GAP = r"[ \t\n\f\r]"  # HTML's own blanks; Python's \s has others, at which a browser begins no attribute
_ATTRIBUTE = rf"""{_GAP}+([a-zA-Z-]+)(?:{_GAP}*={_GAP}*("[^"<>]*"|'[^'<>]*'|[^ \t\n\f\r"'=<>`]+))?"""
_PLAIN_TAG = re.compile(rf"</?([a-zA-Z][a-zA-Z0-9]*)((?:{_ATTRIBUTE})*){_GAP}*/?>")
_EACH = re.compile(_ATTRIBUTE)


def flaw_of(markup: str, is_address: Callable[[str], bool]) -> str | None:
    """The first thing that has no place in content; None for sound markup. is_address: where a link may lead."""
    if (lone := _PLAIN_TAG.sub("", markup).find("<")) >= 0:
        return f"{_PLAIN_TAG.sub('', markup)[lone : lone + 20]!r} is no plain tag"
    for name, attributes, *_ in _PLAIN_TAG.findall(markup):
        if name.lower() not in ELEMENTS:
            return f"<{name} has no place in content"
        for attribute, value in _EACH.findall(attributes):
            if attribute.lower() not in ATTRIBUTES:
                return f"{attribute}= has no place in content"
            if attribute.lower() in ADDRESSES and not is_address(unescape(value.strip("\"'"))):
                return f"{value} is not an https address"
    return None
