"""The closed sets of words that texts and answers share: response outcomes, and reasons a candidate drops out."""

from __future__ import annotations

# Nobody did or saw anything in these: rules and contact policies cannot count them, learning may read them.
UNCOUNTED_OUTCOMES = ("machine_open", "no_response", "undelivered")
REPORTED_OUTCOMES = ("rendered", "impression", "clicked", "accepted", "rejected", "dismissed", "converted")
RESPONSE_OUTCOMES = (*REPORTED_OUTCOMES, *UNCOUNTED_OUTCOMES)
REMEMBERED_OUTCOMES = ("selected", *REPORTED_OUTCOMES)  # a decision remembers by itself what it selected

DROP_REASONS = (
    "not_live",
    "consent",
    "quiet_hours",
    "eligibility",
    "eligibility_unknown",
    "applicability",
    "applicability_unknown",
    "suitability",
    "suitability_unknown",
    "contact_policy",
    "volume_constraint",
    "volume_wait",
    "content_unknown",
    "holdout",
    "lease",
    "placed_elsewhere",
    "one_per_group",
)
