"""Which texts may name a customer: one rule for requests, loaded files and events.

Identifiers travel into logs, files of rejects and URLs, so those that look like personal data are refused at every
door: whoever only has an e-mail address or a telephone number hashes it first.
"""

from __future__ import annotations

import re

from decisioning.errors import InvalidIdentifier

CUSTOMER_ID_BYTES_MAX = 200

# One search on the hot path; the reason is worked out only for ids it refuses. The last class holds control characters,
# line and paragraph separators, and lone surrogates, which have no UTF-8 form.
_REFUSED = re.compile("@|\\+[0-9]{7}|[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def checked_customer_id(customer_id: str) -> str:
    """The id itself when it may name a customer; raises InvalidIdentifier with the reason, without repeating the id."""
    if _REFUSED.search(customer_id) or not 0 < len(customer_id.encode()) <= CUSTOMER_ID_BYTES_MAX:
        raise InvalidIdentifier(f"customer id: {_reason(customer_id)}")
    return customer_id


def _reason(customer_id: str) -> str:
    if not customer_id:
        return "is empty; give the key your systems know the customer by."
    if "@" in customer_id:
        return "contains '@' and reads like an e-mail address; send its hash or your own key."
    if re.search(r"\+[0-9]{7}", customer_id):
        return "contains '+' and 7 digits or more and reads like a telephone number; send its hash or your own key."
    if _REFUSED.search(customer_id):
        return "contains a control character, a line separator or half of a surrogate pair; remove it."
    return f"is longer than {CUSTOMER_ID_BYTES_MAX} bytes of UTF-8; send a shorter key or a hash."
