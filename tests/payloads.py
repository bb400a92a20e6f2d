"""Payloads: texts that want to be more than text, and what tells whether one has become more.

tests/cases/payloads.json holds them, with the kind of place each is made for; every surface gets all of them.
"""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

RUN = "pwned()"  # what those that are scripts call
ROWS = json.loads((Path(__file__).parent / "cases" / "payloads.json").read_text())
PAYLOADS = [row["text"] for row in ROWS]


class Skeleton(HTMLParser):
    """The elements of a page and the names of their attributes, without what they say."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.addresses += [
            value or "" for name, value in attrs if name in ("href", "src", "action", "hx-get", "hx-post")
        ]

    def handle_decl(self, decl: str) -> None:
        self.elements.append(("!", decl))

    def handle_comment(self, data: str) -> None:
        self.elements.append(("!--", data))

    def handle_pi(self, data: str) -> None:
        self.elements.append(("?", data))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """Everything that is said."""
        return "".join(self.words)


def shown_as(payload: str) -> str:
    """A payload as a parser of HTML reads it back: line ends are of one kind there, and a null is nothing."""
    return payload.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def quoted(text: str) -> str:
    """A text as YAML reads it back, whose escapes know no pairs of surrogates."""
    return '"' + "".join(each if each.isascii() and each.isalnum() else f"\\U{ord(each):08x}" for each in text) + '"'


def bunches(count: int) -> list[str]:
    """All payloads in so few texts: each breaks out of the others' places as well."""
    return [" ".join(PAYLOADS[at::count]) for at in range(count)]
