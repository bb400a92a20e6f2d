"""Sending: tokens for the recipients of a mail: a few by POST /v1/tokens, a file of them by `nextbest tokens seal`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TextIO

from msgspec import Meta, Struct

from api.email.snippets import FIELD
from api.email.tokens import (
    MESSAGE_MAX,
    VALID_DAYS_DEFAULT,
    VALID_DAYS_MAX,
    addresses,
    check_placement,
    expiry_of,
    sealed,
)
from api.endpoint import Call
from api.instants import text_of, wall_ms
from api.schemas import CustomerRef, Name, Strict
from api.tokens import Sealer
from decisioning.errors import InvalidIdentifier, NextbestError

RECIPIENTS_MAX = 1_000


class TokensRequest(Strict):
    """Tokens for the recipients of one mail."""

    placement: Name
    recipients: Annotated[list[CustomerRef], Meta(min_length=1, max_length=RECIPIENTS_MAX)]
    message: Annotated[str, Meta(max_length=MESSAGE_MAX, description="Your own name of the mail.")] = ""
    valid_days: Annotated[int, Meta(ge=1, le=VALID_DAYS_MAX)] = VALID_DAYS_DEFAULT


class TokenAnswer(Struct, kw_only=True):
    """One recipient's token, and where it leads below the address of this service."""

    customer_id: str
    token: str
    image: str
    image_2x: str
    link: str
    html: str
    json: str
    amp: str


class TokensAnswer(Struct, kw_only=True):
    """One token for each recipient, in their order."""

    expires_at: str
    tokens: list[TokenAnswer]


@dataclass(frozen=True, slots=True)
class Mailing:
    """One mail to many recipients."""

    placement: str
    message: str
    base: str  # scheme and host
    expires_ms: int
    made_ms: int


async def post_tokens(call: Call) -> dict[str, Any]:
    """Make tokens. Nothing is stored, so an order that is repeated makes others, and both are good."""
    body, now_ms = call.body, wall_ms()
    check_placement(call.service.deployed().strategy, body.placement)
    mailing = Mailing(body.placement, body.message, "", expiry_of(body.valid_days, now_ms=now_ms), now_ms)
    named = [(each.id, _token(call.service.seals, each.id, mailing)) for each in body.recipients]
    return {
        "expires_at": text_of(mailing.expires_ms),
        "tokens": [{"customer_id": customer, "token": token, **addresses("", token)} for customer, token in named],
    }


def seal_file(source: TextIO, target: TextIO, sealer: Sealer, mailing: Mailing, *, column: str) -> int:
    """Copy a CSV of recipients with their tokens and addresses in further columns, row by row; how many.

    Raises NextbestError naming the line of a customer id that cannot be one: a mail without its token would be broken.
    """
    reader = csv.reader(source)
    header = next(reader, [])
    if column not in header:
        raise NextbestError(f"no column {column!r}. There are: {', '.join(header) or 'none'}. Name one with --column.")
    added = [FIELD, *(f"nextbest_{name}" for name in addresses("", ""))]
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([*header, *added])
    count = 0
    for row in _sealed_rows(reader, header.index(column), sealer, mailing):
        writer.writerow(row)
        count += 1
    return count


def _sealed_rows(rows: Iterable[Sequence[str]], at: int, sealer: Sealer, mailing: Mailing) -> Iterator[list[str]]:
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            token = _token(sealer, row[at], mailing)
        except (InvalidIdentifier, IndexError) as error:
            raise NextbestError(f"line {line}: {str(error) if row[at:] else 'too few columns'}") from None
        yield [*row, token, *addresses(mailing.base, token).values()]


def _token(sealer: Sealer, customer_id: str, mailing: Mailing) -> str:
    times = {"expires_ms": mailing.expires_ms, "made_ms": mailing.made_ms}
    return sealed(sealer, customer_id, mailing.placement, message=mailing.message, **times)
