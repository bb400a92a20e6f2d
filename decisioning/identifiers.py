"""Which texts may name a customer: one rule for requests, loaded files and events.

Identifiers travel in URLs, store keys, logs and files of rejects, so they are visible ASCII, and those that look like
personal data are refused at every door: whoever only has an e-mail address or a telephone number hashes it first.
"""

from __future__ import annotations

import re

from decisioning.errors import InvalidIdentifier

# Who states a consent: the name of a system. It goes into history, which an erasure leaves, so it must name nobody.
SOURCE_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}(?!\n)$"
SOURCE_IN_WORDS = "the name of a system: 1 to 64 letters (a to z, A to Z), digits and _ . : -"
CUSTOMER_ID_LENGTH_MAX = 200
# Published in the schema of the API, so that callers can check first. A slash or a lone dot would be lost in a URL.
CUSTOMER_ID_PATTERN = r"^(?!.*\+[0-9]{7})(?!\.{1,2}$)[!-.0-?A-~]+$"

_ACCEPTED = re.compile(CUSTOMER_ID_PATTERN)


def checked_customer_id(customer_id: str) -> str:
    """The id itself when it may name a customer; raises InvalidIdentifier with the reason, without repeating the id."""
    if len(customer_id) > CUSTOMER_ID_LENGTH_MAX or not _ACCEPTED.fullmatch(customer_id):
        raise InvalidIdentifier(f"customer id: {_reason(customer_id)}")
    return customer_id


def _reason(customer_id: str) -> str:
    if not customer_id:
        return "is empty; give the key your systems know the customer by."
    if "@" in customer_id:
        return "contains '@' and reads like an e-mail address; send its hash or your own key."
    if re.search(r"\+[0-9]{7}", customer_id):
        return "contains '+' and 7 digits or more and reads like a telephone number; send its hash or your own key."
    if len(customer_id) > CUSTOMER_ID_LENGTH_MAX:
        return f"is longer than {CUSTOMER_ID_LENGTH_MAX} characters; send a shorter key or a hash."
    return "is a lone dot, or contains a space, a slash, a control character or a letter outside ASCII; send a hash."
