"""YAML text with the position of every key and value.

Built from the events of libyaml, which PyYAML carries: they let us refuse aliases, anchors, tags and further documents
before anything is expanded, so that no text can grow or hang. PyYAML's own reading of scalars is YAML 1.1 and not used:
ours follow the YAML 1.2 core schema, where `no`, `on` and `2026-01-01` are text.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from yaml.cyaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from yaml.events import CollectionEndEvent as EndEvent

from decisioning.catalog.faults import Faults

FILE_BYTES_MAX = 2 << 20  # 1,000 actions are about 1 MB; reading takes about 0.1 s per MB
DEPTH_MAX = 24  # the deepest form (the text of a link, per language) needs 10

# libyaml compares each directive with all others before it says anything. A value has no such line: its are indented.
_DIRECTIVE = re.compile("(?:^|[\r\n])\ufeff*(%)")
_ONE_DOCUMENT = "a file is one document without directives", "Remove lines that begin with --- or %"
_SEPARATORS = "\x85\u2028\u2029"  # end a line for libyaml and YAML 1.1, but not for YAML 1.2
_SEPARATOR = re.compile(f"[{_SEPARATORS}]")
_LINE_END = re.compile("([\r\n])")
_PRIVATE = range(0xE000, 0xF900)  # characters without a meaning
_PRIVATE_ESCAPE = re.compile(r"\\(?:u|U0000)([eEfF][0-9a-fA-F]{3})")

_SPECIAL: dict[str, bool | None] = {"null": None, "Null": None, "NULL": None, "~": None, "": None}
_SPECIAL |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_WHOLE = re.compile(r"[-+]?[0-9]{1,40}")  # more than any form takes, and little enough to be cheap
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+([eE][-+]?[0-9]+)?|[0-9]+(\.[0-9]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+))")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(slots=True)
class Node:
    """A value in a file; line and column are where it begins."""

    file: str
    line: int
    column: int

    @property
    def where(self) -> str:
        """file:line:column"""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True)
class Scalar(Node):
    """Text, a number, true, false or null."""

    value: Any
    source: str | None = None  # what stands in the file, quotes included; None when it spans lines

    def at(self, offset: int) -> Node:
        """Where the character at this offset of a text stands in the file; the start of a text of several lines."""
        if self.source is None:
            return self
        return Node(self.file, self.line, self.column + _source_offset(self.source, offset))


@dataclass(slots=True)
class Listing(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping(Node):
    """Named values in the order of the file; `keys` has the position of each name."""

    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Scalar] = field(default_factory=dict)
    name: Scalar | None = None  # under which the mapping itself stands

    @property
    def heading(self) -> Node:
        """Where to point at when something is missing inside."""
        return self.name or self

    def scalar(self, name: str) -> Scalar | None:
        """The scalar under a name, None where there is none."""
        node = self.entries.get(name)
        return node if isinstance(node, Scalar) else None

    def value(self, name: str, default: Any = None) -> Any:
        """The scalar value under a name."""
        node = self.scalar(name)
        return default if node is None else node.value

    def mapping(self, name: str) -> Mapping:
        """The mapping under a name, an empty one where there is none."""
        node = self.entries.get(name)
        return node if isinstance(node, Mapping) else Mapping(self.file, self.line, self.column)

    def named(self) -> list[tuple[str, Mapping]]:
        """The entries that are mappings."""
        return [(name, node) for name, node in self.entries.items() if isinstance(node, Mapping)]

    def scalars(self, name: str) -> list[Scalar]:
        """The scalars of the list under a name."""
        node = self.entries.get(name)
        return [item for item in node.items if isinstance(item, Scalar)] if isinstance(node, Listing) else []

    def mappings(self, name: str) -> list[Mapping]:
        """The mappings of the list under a name."""
        node = self.entries.get(name)
        return [item for item in node.items if isinstance(item, Mapping)] if isinstance(node, Listing) else []


class _Unreadable(Exception):
    """The rest of the file cannot be read; the fault is already noted."""


def read_yaml(file: str, content: bytes, faults: Faults) -> Node | None:
    """The tree of one file, None when it cannot be read; faults, duplicate keys among them, are noted."""
    start = Node(file, 1, 1)
    text = _decode(content, start, faults)
    if text is None:
        return None
    try:
        return _Reader(file, text, faults).read(_events(text))
    except _Unreadable:
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        faults.add(
            _place_of(mark, text, start) if mark else start,
            f"this is not YAML: {error.problem or error.context}",
            "Check indentation, quotes and brackets here",
        )
    except YAMLError as error:
        faults.add(
            start, f"this is not YAML: {' '.join(str(error).split())}", "Remove characters that cannot be printed"
        )
    return None


def _events(text: str) -> Iterator[Any]:
    """What libyaml finds in a text; separators that it would take for the end of a line are characters like others."""
    if not _SEPARATOR.search(text):
        yield from _found(text)
        return
    stand_ins = _stand_ins(text)
    meant = {ord(each): separator for separator, each in zip(_SEPARATORS, stand_ins, strict=True)}
    # At the end of a line they are blanks: editors leave them there, and what stands before may be a number.
    lines = (each.rstrip(_SEPARATORS).ljust(len(each)) for each in _LINE_END.split(text))
    for event in _found("".join(lines).translate(str.maketrans(_SEPARATORS, stand_ins))):
        if isinstance(event, ScalarEvent):
            event.value = event.value.translate(meant)
        yield event


def _found(text: str) -> Iterator[Any]:
    parser = CParser(text)
    while parser.check_event():
        yield parser.get_event()


def _stand_ins(text: str) -> str:
    """A character for each separator that the text has nowhere, not even as an escape."""
    taken = set(text) | {chr(int(each, 16)) for each in _PRIVATE_ESCAPE.findall(text)}
    free = [chr(each) for each in _PRIVATE if chr(each) not in taken][: len(_SEPARATORS)]
    if len(free) < len(_SEPARATORS):
        raise YAMLError("separators beside all private characters")
    return "".join(free)


def _place_of(mark: Any, text: str, start: Node) -> Node:
    """Where a mark of libyaml stands; behind the end of the text, which no editor can show, its last character."""
    end = len(text.rstrip())
    if mark.index < end or not end:
        return Node(start.file, mark.line + 1, mark.column + 1)
    return _at(text, end - 1, start)


def _at(text: str, index: int, start: Node) -> Node:
    return Node(start.file, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _decode(content: bytes, start: Node, faults: Faults) -> str | None:
    if len(content) > FILE_BYTES_MAX:
        faults.add(
            start, f"the file has {len(content)} bytes, at most {FILE_BYTES_MAX} are read", "Split it into several"
        )
        return None
    content = content.removeprefix(BOM_UTF8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = len(content[content.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        faults.add(Node(start.file, line, column), "this is not UTF-8", "Save the file as UTF-8")
        return None
    if found := _DIRECTIVE.search(text):
        faults.add(_at(text, found.start(1), start), *_ONE_DOCUMENT)
        return None
    return text


class _Reader:
    """Builds nodes from events."""

    def __init__(self, file: str, text: str, faults: Faults) -> None:
        self._file = file
        self._text = text
        self._faults = faults

    def read(self, events: Iterator[Any]) -> Node:
        root: Node = Mapping(self._file, 1, 1)  # what a file of comments alone means
        document_count = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                document_count += 1
                if document_count > 1:
                    self._refuse(event, *_ONE_DOCUMENT)
            elif isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent, AliasEvent)):
                root = self._node(event, events, 0)
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        if event.anchor is not None:
            self._refuse(event, "anchors and aliases (& and *) are not read here", "Write the value out")
        if event.tag is not None:
            self._refuse(event, "tags (!) are not read here", "Remove it; quote a number that is meant as text")
        if depth > DEPTH_MAX:
            self._refuse(
                event, f"more than {DEPTH_MAX} levels deep", "No form needs so many; check brackets and indentation"
            )
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, MappingStartEvent):
            return self._mapping(event, events, depth)
        listing = Listing(*self._position(event))
        while not isinstance(item := next(events), EndEvent):
            listing.items.append(self._node(item, events, depth + 1))
        return listing

    def _mapping(self, start: Any, events: Iterator[Any], depth: int) -> Mapping:
        mapping = Mapping(*self._position(start))
        while not isinstance(event := next(events), EndEvent):
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, Scalar):
                self._refuse(event, "a name must be text", "Write name: value; put a text with {{ … }} in quotes")
            name = event.value
            if name in mapping.entries:
                first = mapping.keys[name]
                self._faults.add(
                    key, f"duplicate key {name!r}, first on line {first.line}", "Remove or rename one of them"
                )
                continue
            if isinstance(value, Mapping):
                value.name = key
            elif isinstance(value, Scalar) and value.source == "" and value.line > key.line:
                value.line, value.column = key.line, key.column  # where it was left out, not behind comments
            mapping.keys[name] = key
            mapping.entries[name] = value
        return mapping

    def _scalar(self, event: Any) -> Scalar:
        start, end = event.start_mark, event.end_mark
        source = self._text[start.index : end.index] if start.line == end.line else None
        value = event.value if event.style else _core_value(event.value)
        return Scalar(self._file, start.line + 1, start.column + 1, value, source)

    def _position(self, event: Any) -> tuple[str, int, int]:
        return self._file, event.start_mark.line + 1, event.start_mark.column + 1

    def _refuse(self, event: Any, message: str, way_out: str) -> NoReturn:
        self._faults.add(Node(*self._position(event)), message, way_out)
        raise _Unreadable


def _core_value(text: str) -> Any:
    """What a plain scalar means in the core schema."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return float(text.lower().replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


_ESCAPE_LENGTH = {"x": 4, "u": 6, "U": 10}


def _source_offset(source: str, offset: int) -> int:
    """Where the character at `offset` of a scalar's value stands in its source text, quotes and escapes counted."""
    quote = source[:1]
    if quote not in ("'", '"'):
        return offset
    position = 1
    for _ in range(offset):
        if quote == "'":
            position += 2 if source.startswith("''", position) else 1
        elif source[position : position + 1] == "\\":
            position += _ESCAPE_LENGTH.get(source[position + 1 : position + 2], 2)
        else:
            position += 1
    return min(position, len(source) - 1)


def plain(node: Node | None) -> Any:
    """A tree as plain JSON values, without positions."""
    if isinstance(node, Mapping):
        return {name: plain(value) for name, value in node.entries.items()}
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return node.value if isinstance(node, Scalar) else None
