"""Errors on the wire: one shape, `{"code", "message", "where"}`, and one table of status codes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from api.schemas import IN_WORDS
from decisioning.errors import (
    InvalidAttribute,
    InvalidIdentifier,
    NextbestError,
    StoreUnavailable,
    UnknownChannel,
    UnknownPlacement,
)

STATUS = {  # code -> status; the codes are documented in docs/api.md
    "malformed_json": 400,
    "invalid_field": 422,
    "unknown_channel": 422,
    "unknown_placement": 422,
    "invalid_attribute": 422,
    "invalid_identifier": 422,
    "invalid_token": 422,
    "unauthorised": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "erased": 410,
    "too_large": 413,
    "rate_limited": 429,
    "internal": 500,
    "not_ready": 503,
    "store_unavailable": 503,
}
CODES: dict[type[NextbestError], tuple[str, str]] = {  # what the core raises -> code and where
    UnknownChannel: ("unknown_channel", "channel"),
    UnknownPlacement: ("unknown_placement", "placements"),
    InvalidAttribute: ("invalid_attribute", "attributes"),
    InvalidIdentifier: ("invalid_identifier", "customer.id"),
}


@dataclass(slots=True)
class Problem(Exception):
    """An answer that is not a success."""

    code: str
    message: str
    where: str
    retry_after_s: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return STATUS[self.code]

    def body(self) -> dict[str, str]:
        """The answer's JSON."""
        return {"code": self.code, "message": self.message, "where": self.where}


def problem_of(error: Exception) -> Problem | None:
    """The answer for an expected error; None for one that nobody expected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, msgspec.ValidationError):
        message, _, path = str(error).partition(" - at `")
        message = f"{_in_words(message)}. The fields are described at /openapi.json."
        return Problem("invalid_field", message, path.removesuffix("`").removeprefix("$").removeprefix(".") or "body")
    if isinstance(error, msgspec.DecodeError | UnicodeDecodeError):
        return Problem("malformed_json", f"{error}. Send JSON in UTF-8.", "body")
    if isinstance(error, RecursionError):
        return Problem("malformed_json", "The body is nested too deeply. Send it flat.", "body")
    if isinstance(error, StoreUnavailable):
        message = "The store does not answer in time. Send this again; an idempotency_key keeps it from counting twice."
        return Problem("store_unavailable", message, "store", retry_after_s=1)
    if isinstance(error, NextbestError):
        code, where = CODES.get(type(error), ("internal", "server"))
        return Problem(code, str(error), where)
    return None


def _in_words(message: str) -> str:
    """msgspec shows the pattern itself, which says nothing to whoever typed the text."""
    for pattern, words in IN_WORDS.items():
        if message.endswith(f"matching regex {pattern!r}"):
            return f"Expected {words}"
    return message
