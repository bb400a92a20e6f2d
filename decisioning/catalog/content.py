"""Content: what a treatment shows, per language, with every inserted value escaped for its field's type.

Nothing is parsed at decision time: a language without expressions is one prepared dict that every render returns, so
nobody may change what `render` gives. Elsewhere a render copies the prepared dict and fills in the fields that have
expressions. `writing.py` compiles it at load.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import quote

from decisioning.errors import ContentUnknown
from rules import EvaluationError, Program, Timestamp

Activation = Mapping[str, Any]
Dynamic = Callable[[Activation], Any]  # a value that depends on the customer or the moment
Escape = Callable[[str], str]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Version:
    """Content in one language; `prepared` has every field in order, those in `dynamic` are filled in at render."""

    prepared: dict[str, Any]
    dynamic: tuple[tuple[str, Dynamic], ...]


@dataclass(frozen=True, slots=True)
class Content:
    """Content in every language of the strategy, ready to render."""

    versions: Mapping[str, Version]  # by language tag in lower case
    default: Version  # the strategy's first language
    reads: frozenset[str]  # what its expressions ask for
    may_fail: bool  # some expression has no default, so a missing value keeps the whole from being shown

    @property
    def languages(self) -> tuple[str, ...]:
        """Language tags, in lower case."""
        return tuple(self.versions)

    def render(self, language: str | None, activation: Activation) -> dict[str, Any]:
        """Field name -> value, ready for JSON; shared between callers, never to be changed.

        language: the customer's; falls back as `chain_of` says, then to the strategy's first language. Raises
        ContentUnknown when an expression meets a missing value and has no default.
        """
        version = self._version(language)
        if not version.dynamic:
            return version.prepared
        content = dict(version.prepared)
        for name, value in version.dynamic:
            content[name] = value(activation)
        return content

    def _version(self, language: str | None) -> Version:
        if language is None:
            return self.default
        if language in self.versions:  # mostly it is stated as the strategy has it
            return self.versions[language]
        return next((self.versions[tag] for tag in chain_of(language) if tag in self.versions), self.default)


def chain_of(language: str) -> Iterator[str]:
    """A language tag in lower case, then ever shorter (zh-hant-tw, zh-hant, zh); some sources write de_AT for de-AT."""
    tag = language.lower().replace("_", "-")
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def version_of(values: Mapping[str, Any]) -> Version:
    """Content in one language from its fields' values, dynamic ones among them."""
    dynamic = tuple((name, value) for name, value in values.items() if callable(value))
    return Version({name: None if callable(value) else value for name, value in values.items()}, dynamic)


class Showing:
    """Turns values of expressions into text for readers in one time zone."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone  # a customer's day begins at the bank's midnight, not at Greenwich

    def text(self, value: Any) -> str:
        """Readable text: 1234.5, 1234 for a whole double, 2026-03-01 for a time.

        Raises ContentUnknown for what has no reading.
        """
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, float) and math.isfinite(value):
            text = f"{value:.6f}".rstrip("0").rstrip(".")
            return "0" if text == "-0" else text
        if isinstance(value, Timestamp):
            return self._day(value)
        raise ContentUnknown(f"{value!r} cannot be shown as text")

    def _day(self, moment: Timestamp) -> str:
        try:
            return (_EPOCH + timedelta(milliseconds=moment.to_ms())).astimezone(self._zone).date().isoformat()
        except OverflowError:
            raise ContentUnknown(f"{moment} has no date in this time zone") from None


def _percent_encoded(text: str) -> str:
    return quote(text, safe="")


ESCAPES: Mapping[str, Escape] = {"text": str, "html": html.escape, "url": _percent_encoded}


def inserted(program: Program, default: str | None, show: Callable[[Any], str], escape: Escape) -> Dynamic:
    """One expression of a text; its default, escaped already, stands in for a missing value."""

    def insert(activation: Activation) -> str:
        try:
            return escape(show(program(activation)))
        except (EvaluationError, ContentUnknown) as error:
            if default is None:
                raise ContentUnknown(f"{{{{ {program.text} }}}} has no value and no default: {error}") from error
            return default

    return insert


def joined(parts: Sequence[str | Dynamic]) -> str | Dynamic:
    """A text of literal stretches and expressions."""
    if not any(callable(part) for part in parts):
        return "".join(part for part in parts if isinstance(part, str))

    def join(activation: Activation) -> str:
        return "".join([part if isinstance(part, str) else part(activation) for part in parts])

    return join


def listed(parts: Sequence[Any]) -> Any:
    """A list of values, dynamic when one of them is."""
    if not any(callable(part) for part in parts):
        return list(parts)
    return lambda activation: [part(activation) if callable(part) else part for part in parts]


def named(parts: Mapping[str, Any]) -> Any:
    """Named values, dynamic when one of them is."""
    if not any(callable(part) for part in parts.values()):
        return dict(parts)
    return lambda activation: {name: part(activation) if callable(part) else part for name, part in parts.items()}
