"""The closed sets of words that texts and answers share: response outcomes, and reasons a candidate drops out."""

from __future__ import annotations

REMEMBERED_OUTCOMES = ("rendered", "impression", "clicked", "accepted", "rejected", "dismissed", "converted")

# Nobody did or saw anything in the last three: rules and contact policies cannot count them, learning may read them.
RESPONSE_OUTCOMES = (*REMEMBERED_OUTCOMES, "machine_open", "no_response", "undelivered")

DROP_REASONS = (
    "not_live",
    "no_treatment",
    "consent",
    "eligibility",
    "eligibility_unknown",
    "applicability",
    "applicability_unknown",
    "suitability",
    "suitability_unknown",
    "contact_policy",
    "content_unknown",
    "holdout",
    "lease",
    "outranked",
)
