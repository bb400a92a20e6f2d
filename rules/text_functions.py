"""Functions of text. Positions count code points; everything is case-sensitive and nothing is normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import re2

from rules.conversions import text_octets
from rules.errors import EvaluationError
from rules.format import format_text
from rules.limits import MAX_PATTERN_LENGTH, MAX_PATTERN_MEMORY, MAX_VALUE_LENGTH
from rules.operators import ANY_LIST
from rules.overloads import Overload
from rules.types import BOOL, INT, STRING, list_of

_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_TO_LOWER, _TO_UPPER = str.maketrans(_UPPER, _LOWER), str.maketrans(_LOWER, _UPPER)
# The characters with Unicode's White_Space property; str.strip() would also take U+001C to U+001F.
_SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_QUOTED = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)


def bounded(length: int) -> None:
    """Refuse to make a value of this length before it is made."""
    if length > MAX_VALUE_LENGTH:
        raise EvaluationError(f"a value would be longer than {MAX_VALUE_LENGTH}")


@lru_cache(maxsize=256)
def pattern_of(pattern: str) -> Any:
    """A compiled pattern of RE2, linear in the text for every pattern. Raises EvaluationError."""
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise EvaluationError(f"a pattern has at most {MAX_PATTERN_LENGTH} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    try:
        return re2.compile(text_octets(pattern), options)
    except re2.error as error:
        raise EvaluationError(f"{pattern[:40]!r} is not a pattern: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else "unknown"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _matches(text: str, pattern: str) -> bool:
    return pattern_of(pattern).search(text_octets(text)) is not None


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise EvaluationError(f"index out of range: {index}")
    return text[index : index + 1]


def _index_of(text: str, part: str) -> int:
    return text.find(part)


def _index_of_from(text: str, part: str, start: int) -> int:
    _check_start(text, start)
    return text.find(part, start)


def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


def _last_index_of_from(text: str, part: str, start: int) -> int:
    _check_start(text, start)
    return text.rfind(part, 0, start + len(part))


def _check_start(text: str, start: int) -> None:
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")


def _join(parts: Sequence[Any], separator: str = "") -> str:
    if not all(isinstance(part, str) for part in parts):
        raise EvaluationError("join() takes a list of texts")
    bounded(sum(len(part) + len(separator) for part in parts))
    return separator.join(parts)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    found = text.count(old)
    count = found if limit < 0 else min(found, limit)
    bounded(len(text) + count * max(0, len(new) - len(old)))
    return text.replace(old, new, count)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    cuts = -1 if limit < 0 else limit - 1
    if separator:
        return text.split(separator, cuts)
    if cuts < 0 or cuts >= len(text):
        return list(text)
    return [*text[:cuts], text[cuts:]]


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    if not start <= stop <= len(text):
        raise EvaluationError(f"index out of range: {stop}")
    return text[start:stop]


def _quote(text: str) -> str:
    bounded(2 * len(text) + 2)
    return f'"{text.translate(_QUOTED)}"'


_TEXTS = list_of(STRING)
TEXT_METHODS: Mapping[str, tuple[Overload, ...]] = {
    "contains": (Overload((STRING, STRING), BOOL, str.__contains__),),
    "startsWith": (Overload((STRING, STRING), BOOL, str.startswith),),
    "endsWith": (Overload((STRING, STRING), BOOL, str.endswith),),
    "matches": (Overload((STRING, STRING), BOOL, _matches),),
    "charAt": (Overload((STRING, INT), STRING, _char_at),),
    "indexOf": (Overload((STRING, STRING), INT, _index_of), Overload((STRING, STRING, INT), INT, _index_of_from)),
    "lastIndexOf": (
        Overload((STRING, STRING), INT, _last_index_of),
        Overload((STRING, STRING, INT), INT, _last_index_of_from),
    ),
    "join": (Overload((_TEXTS,), STRING, _join), Overload((_TEXTS, STRING), STRING, _join)),
    "lowerAscii": (Overload((STRING,), STRING, lambda text: text.translate(_TO_LOWER)),),
    "upperAscii": (Overload((STRING,), STRING, lambda text: text.translate(_TO_UPPER)),),
    "replace": (
        Overload((STRING, STRING, STRING), STRING, _replace),
        Overload((STRING, STRING, STRING, INT), STRING, _replace),
    ),
    "split": (Overload((STRING, STRING), _TEXTS, _split), Overload((STRING, STRING, INT), _TEXTS, _split)),
    "substring": (Overload((STRING, INT), STRING, _substring), Overload((STRING, INT, INT), STRING, _substring)),
    "trim": (Overload((STRING,), STRING, lambda text: text.strip(_SPACES)),),
    "reverse": (Overload((STRING,), STRING, lambda text: text[::-1]),),
    "format": (Overload((STRING, ANY_LIST), STRING, format_text),),
}
TEXT_FUNCTIONS: Mapping[str, tuple[Overload, ...]] = {
    "matches": TEXT_METHODS["matches"],
    "strings.quote": (Overload((STRING,), STRING, _quote),),
}
