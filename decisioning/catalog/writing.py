"""Writing: compiles the content of treatments and blocks, as authors wrote it, into `Content`.

Checks what can be known before any customer comes: declared fields, languages, lengths of the literal parts, picture
files, addresses, and that an inserted value can only ever land where its escaping protects it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Names
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from decisioning.catalog.content import (
    ESCAPES,
    Content,
    Dynamic,
    Showing,
    Version,
    chain_of,
    inserted,
    joined,
    listed,
    named,
    version_of,
)
from decisioning.catalog.expressions import Expressions, Owner
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.markup import flaw_of
from decisioning.catalog.pixels import fits, size_of
from decisioning.catalog.shape import describe
from decisioning.catalog.strategy import Field
from decisioning.catalog.template import TEXT_LENGTH_MAX, Insertion, Piece, TemplateError, split
from decisioning.catalog.yaml_text import Listing, Mapping, Node, Scalar
from decisioning.errors import ContentUnknown
from rules import DOUBLE, INT, STRING, TIMESTAMP, UINT

_HTTPS = re.compile(r"https://[^\s/?#@\\\"<>]+([/?#][^\s\"<>]*)?")
_BEFORE_INSERTION = re.compile(r"https://[^\s/?#@\\\"<>]+[/?][^\s\"<>#]*|[a-z][a-z0-9+.-]*(?<!https):[^\s\"<>#]*")
_OTHER = re.compile(r"([a-z][a-z0-9+.-]*):[^\s\"<>]+")  # an address of another scheme than https
_SCHEMES = ("mailto", "tel")  # that content may use besides https, where the strategy does not say
# What sends in the clear, runs what it is given, or opens what lies on the reader's own machine.
_UNSAFE = frozenset(
    ("http", "javascript", "data", "vbscript", "blob", "file", "filesystem", "about", "view-source", "ftp", "intent")
)
_TAG = re.compile(r"""<(?:"[^"]*"|'[^']*'|[^"'>])*>""")
_RAW_ELEMENT = re.compile(r"<\s*(script|style)\b", re.IGNORECASE)
_SHOWN_TYPES = (STRING, INT, UINT, DOUBLE, TIMESTAMP)


def schemes_of(settings: Mapping, faults: Faults) -> tuple[str, ...]:
    """The schemes besides https that strategy.yaml allows addresses in content to have."""
    if "link_schemes" not in settings.entries:
        return _SCHEMES
    nodes = settings.scalars("link_schemes")
    for node in nodes:
        if node.value in _UNSAFE:
            faults.add(node, f"addresses with {node.value}: are not safe", "Leave it out; https is always allowed")
    return tuple(node.value for node in nodes if node.value not in ("https", *_UNSAFE))


@dataclass(frozen=True, slots=True)
class Writer:
    """Compiles content for one strategy."""

    languages: tuple[str, ...]
    images: Names[str, bytes]  # by name below content/images
    showing: Showing
    expressions: Expressions
    faults: Faults
    schemes: tuple[str, ...]  # of addresses, besides https

    def treatment(self, node: Mapping, declared: Sequence[Names[str, Field]], owner: Owner) -> Content:
        """Content of an action that fits every one of its placements, given by their declared fields."""
        fields: dict[str, Field] = {}
        for each in declared:
            for name in node.entries:
                if name not in each:
                    place = node.keys[name]
                    self.faults.add(
                        place, f"content field {name!r} is not declared by the placement", known(name, each)
                    )
            for name, field in each.items():
                fields[name] = self._stricter(fields.get(name, field), field, node)
            self._check_images(node, each)
        return self._compile(node, fields, owner)

    def check_address(self, node: Scalar, address: str | None = None) -> None:
        """Check an address: https, or of a scheme that the strategy allows. address: the node's text unless given."""
        written = node.value if address is None else address
        if not self.is_address(written):
            forms = " or ".join(("https://…", *(f"{each}:…" for each in self.schemes)))
            way_out = f"Write {forms}; link_schemes in strategy.yaml allows others"
            self.faults.add(node, f"{node.value!r} is not an https address", way_out)

    def is_address(self, written: str) -> bool:
        """True for an https address, or one of a scheme that the strategy allows."""
        other = _OTHER.fullmatch(written)
        return bool(_HTTPS.fullmatch(written) or (other and other[1] in self.schemes))

    def guess(self, node: Mapping, declared: Sequence[Names[str, Field]], owner: Owner) -> None:
        """Look for faults in content whose placements are faulty, going by what the channel's others declare."""
        fields = {name: replace(field, required=False, max=None) for each in declared for name, field in each.items()}
        self._compile(node, fields, owner)

    def block(self, node: Mapping, fields: Names[str, Field]) -> Content:
        """What a placement shows of a content block when the service is in trouble: it may need no customer."""
        self._check_images(node, fields)
        return self._compile(node, fields, None)

    def _check_images(self, node: Mapping, fields: Names[str, Field]) -> None:
        """The files that image fields show have the pixels that the placement leaves room for."""
        for field in fields.values():
            part = node.entries.get(field.name)
            if field.type == "image" and part is not None:
                for file in part.entries.values() if isinstance(part, Mapping) else (part,):
                    self._check_pixels(file, field)

    def _check_pixels(self, file: Node, field: Field) -> None:
        content = self.images.get(file.value) if isinstance(file, Scalar) and isinstance(file.value, str) else None
        if content is None or not isinstance(file, Scalar):
            return
        size = size_of(content)
        if size is None:
            self.faults.add(file, f"content/images/{file.value} is no picture that can be read", "Save it again as png")
        elif field.size is not None and not fits(file.value, size, field.size):
            width, height = field.size
            way_out = f"Save it with {width}x{height} pixels, or {2 * width}x{2 * height} for fine screens"
            message = f"content/images/{file.value} has {size[0]:g}x{size[1]:g} pixels, the placement {width}x{height}"
            self.faults.add(file, message, way_out)

    def _stricter(self, one: Field, other: Field, node: Mapping) -> Field:
        if one.type != other.type:
            place = node.keys.get(one.name, node)
            message = f"one placement declares {one.name!r} as {one.type}, another as {other.type}"
            self.faults.add(place, message, "Declare it alike, or leave one of the placements out")
        limits = [limit for limit in (one.max, other.max) if limit is not None]
        return replace(one, required=one.required or other.required, max=min(limits, default=None))

    def _compile(self, node: Mapping, fields: Names[str, Field], owner: Owner | None) -> Content:
        for field in fields.values():
            if field.required and field.name not in node.entries:
                self.faults.add(
                    node.heading, f"required content field {field.name!r} is missing", f"Add {field.name}: …"
                )
        parts = [(field, node.entries[name]) for name, field in fields.items() if name in node.entries]
        writing = _Writing(self, owner)
        versions: dict[str, Version] = {}
        for language in self.languages:
            if versions and not writing.is_translated:
                versions[language.lower()] = next(iter(versions.values()))
                continue
            values = {field.name: writing.value(field, part, language) for field, part in parts}
            versions[language.lower()] = version_of(values)
        default = next(iter(versions.values()), version_of({}))
        return Content(versions, default, frozenset(writing.reads), writing.may_fail)


class _Writing:
    """One content on its way: each text is compiled once, however many languages share it."""

    def __init__(self, writer: Writer, owner: Owner | None) -> None:
        self._writer = writer
        self._faults = writer.faults
        self._owner = owner
        self._compiled: dict[int, str | Dynamic] = {}  # by identity of the node
        self.reads: set[str] = set()
        self.may_fail = False
        self.is_translated = False

    def value(self, field: Field, node: Node, language: str) -> Any:
        """What a field shows in one language: a JSON value, or a function of the activation."""
        if field.type == "link":
            return self._link(field, node, language)
        if field.type == "texts":
            return self._texts(field, node, language)
        return self._text(field.type, field.max, node, language)

    def _link(self, field: Field, node: Node, language: str) -> Any:
        kinds = {"label": "text", "url": "url"}
        if not isinstance(node, Mapping):
            self._faults.add(node, f"expected a link, found {describe(node)}", "Write {label: …, url: …}")
            return {}
        for name in node.entries:
            if name not in kinds:
                self._faults.add(node.keys[name], f"unknown key {name!r}", known(name, kinds))
        for name in kinds:
            if name not in node.entries:
                self._faults.add(node.heading, f"{name!r} is missing here", f"Add {name}: …")
        return named(
            {
                name: self._text(kind, field.max if name == "label" else None, node.entries[name], language)
                for name, kind in kinds.items()
                if name in node.entries
            }
        )

    def _texts(self, field: Field, node: Node, language: str) -> Any:
        if not isinstance(node, Listing):
            self._faults.add(node, f"expected a list of texts, found {describe(node)}", "Write [one, two]")
            return []
        return listed([self._text("text", field.max, item, language) for item in node.items])

    def _text(self, kind: str, length_max: int | None, node: Node, language: str) -> str | Dynamic:
        scalar = self._in_language(node, language) if isinstance(node, Mapping) else node
        if scalar is None:
            return ""
        compiled = self._compiled.get(id(scalar))
        if compiled is None:
            compiled = self._compiled[id(scalar)] = self._compile(kind, length_max, scalar)
        return compiled

    def _in_language(self, node: Mapping, language: str) -> Node | None:
        self.is_translated = True
        languages = self._writer.languages
        for tag in node.entries:
            if tag not in languages:
                self._faults.add(node.keys[tag], f"unknown language {tag!r}", known(tag, languages))
        if languages[0] not in node.entries:
            way_out = f"Add {languages[0]}: …, which everyone gets whose language is missing"
            self._faults.add(node.heading, f"the strategy's first language {languages[0]!r} is missing here", way_out)
        written = {tag.lower(): part for tag, part in node.entries.items()}
        return next((written[tag] for tag in (*chain_of(language), *chain_of(languages[0])) if tag in written), None)

    def _compile(self, kind: str, length_max: int | None, node: Node) -> str | Dynamic:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            number = isinstance(node, Scalar) and node.value is not None
            self._faults.add(
                node, f"expected text, found {describe(node)}", "Put it in quotes" if number else "Write one text"
            )
            return ""
        parts = self._split(node)
        literal = "".join(part for part in parts if isinstance(part, str))
        if length_max is not None and len(literal) > length_max:
            self._faults.add(node, f"{len(literal)} characters, the placement shows {length_max}", "Shorten the text")
        if kind == "image":
            kind = self._image(node, parts)
        elif kind == "html":
            self._markup(node, parts)
        elif kind == "url":
            self._address(node, parts)
        return joined([part if isinstance(part, str) else self._insertion(kind, node, part) for part in parts])

    def _split(self, node: Scalar) -> list[str | Insertion]:
        if len(node.value) > TEXT_LENGTH_MAX:
            self._faults.add(node, f"more than {TEXT_LENGTH_MAX} characters", "Shorten the text")
            return []
        try:
            parts = split(node.value)
        except TemplateError as error:
            self._faults.add(node.at(error.offset), error.message, error.way_out)
            return []
        for part in parts:
            if isinstance(part, Insertion) and self._owner is None:
                way_out = "Write fixed text: it is shown when nothing is known of the customer"
                self._faults.add(node.at(part.expression.offset), "an expression in a fallback", way_out)
        return parts

    def _image(self, node: Scalar, parts: list[str | Insertion]) -> str:
        """Check a picture: a file of the strategy or an address; the type whose escaping its insertions get."""
        if node.value.startswith("https://"):
            self._address(node, parts)
        elif node.value not in self._writer.images:
            self._faults.add(
                node, f"content/images/{node.value} does not exist", known(node.value, self._writer.images)
            )
        return "url"

    def _address(self, node: Scalar, parts: list[str | Insertion]) -> None:
        """What is inserted into an address stands in its path or query, never in scheme or host."""
        so_far = ""
        for part in parts:
            if isinstance(part, str):
                so_far += part
                continue
            if not _BEFORE_INSERTION.fullmatch(so_far):
                way_out = "Write scheme and host out, as in https://bank.example/{{ … }}"
                self._faults.add(
                    node.at(part.expression.offset), "an expression outside path and query of an address", way_out
                )
            so_far += "x"
        if parts:
            self._writer.check_address(node, so_far)

    def _markup(self, node: Scalar, parts: list[str | Insertion]) -> None:
        """Escaping makes a value safe between tags; inside one, or in a script or style, it would not."""
        raw = next((found for part in parts if isinstance(part, str) and (found := _RAW_ELEMENT.search(part))), None)
        if raw:
            self._faults.add(node, f"{raw.group()} has no place in content", "Use markup and inline styles only")
        open_end = ""  # of the fixed text so far: what no tag has closed
        for part in parts:
            if isinstance(part, str):
                open_end = _TAG.sub("", open_end + part)
            elif "<" in open_end:
                way_out = "Insert values between tags only, and write &lt; for a lone <"
                self._faults.add(node.at(part.expression.offset), "an expression inside a tag", way_out)
                return
        text = "".join(part if isinstance(part, str) else "x" for part in parts)
        if not raw and (flaw := flaw_of(text, self._writer.is_address)):
            self._faults.add(node, flaw, "Use plain markup and https addresses only, and write &lt; for a lone <")

    def _insertion(self, kind: str, node: Scalar, part: Insertion) -> str | Dynamic:
        if self._owner is None:
            return ""
        program = self._writer.expressions.program(node, part.expression, self._owner, None)
        escape = ESCAPES[kind]
        default = None if part.default is None else escape(self._default(node, part.default))
        if program is None:
            return ""
        if program.type not in _SHOWN_TYPES:
            way_out = 'Turn it into text, as in customer.is_new ? "Welcome" : "Hello"'
            self._faults.add(node.at(part.expression.offset), f"a {program.type} cannot be shown as text", way_out)
        self.reads |= program.reads
        self.may_fail |= default is None
        return inserted(program, default, self._writer.showing.text, escape)

    def _default(self, node: Scalar, piece: Piece) -> str:
        value = self._writer.expressions.constant(node, piece)
        try:
            return "" if value is None else self._writer.showing.text(value)
        except ContentUnknown as error:
            self._faults.add(node.at(piece.offset), str(error), "Write a text in quotes, or a number")
            return ""
